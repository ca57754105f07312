# SPDX-License-Identifier: LGPL-2.1-or-later
# cmake -DSTAGE=DIR -DBUILD=DIR -P stage.cmake: installs the build into a fresh STAGE as a package
# would be made (DESTDIR), for lab/enter --stage.
file(REMOVE_RECURSE ${STAGE})
set(ENV{DESTDIR} ${STAGE})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
if(NOT EXISTS ${STAGE}/usr/sbin/virt-forwardd)
  message(FATAL_ERROR "the lab wants the prefix /usr (as the presets have it); installed is no ${STAGE}/usr/sbin/virt-forwardd")
endif()
