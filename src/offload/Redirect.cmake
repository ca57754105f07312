# SPDX-License-Identifier: LGPL-2.1-or-later
# Socket redirection needs clang and bpftool to build and libbpf to run. Without them the library has
# a RedirectOffload that says so.
set(VF_REDIRECT AUTO CACHE STRING "Socket redirection by eBPF: AUTO, ON (an error where it cannot be built) or OFF")
set_property(CACHE VF_REDIRECT PROPERTY STRINGS AUTO ON OFF)

set(VF_HAS_REDIRECT OFF CACHE INTERNAL "")
set(missing)
if(VF_REDIRECT)
  find_program(VF_BPF_CLANG NAMES clang clang-19 clang-16 clang-14)
  find_program(VF_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin)
  pkg_check_modules(LIBBPF IMPORTED_TARGET GLOBAL libbpf>=1.0)
  foreach(need VF_BPF_CLANG VF_BPFTOOL LIBBPF_FOUND)
    if(NOT ${need})
      list(APPEND missing ${need})
    endif()
  endforeach()
  if(missing AND NOT VF_REDIRECT STREQUAL AUTO)
    message(FATAL_ERROR "VF_REDIRECT=${VF_REDIRECT}: missing ${missing}")
  endif()
endif()
if(NOT VF_REDIRECT OR missing)
  message(STATUS "Socket redirection: not built (VF_REDIRECT=${VF_REDIRECT}; missing: ${missing})")
  set_source_files_properties(redirect.cpp redirect_failures.cpp redirect_program.cpp redirect_sockets.cpp
                              PROPERTIES HEADER_FILE_ONLY ON)
  return()
endif()

set_source_files_properties(redirect_absent.cpp PROPERTIES HEADER_FILE_ONLY ON)
set(skeleton ${PROJECT_BINARY_DIR}/generated/redirect.skel.h)
set(object ${PROJECT_BINARY_DIR}/generated/redirect.bpf.o)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/generated)
# -g is what relocation by field names needs; linking drops the rest of what it brings.
add_custom_command(
  OUTPUT ${skeleton}
  COMMAND ${VF_BPF_CLANG} -target bpf -O2 -g -Wall -Wextra -Werror
          -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
          -c ${CMAKE_CURRENT_SOURCE_DIR}/redirect.bpf.c -o ${object}.debug
  COMMAND ${VF_BPFTOOL} gen object ${object} ${object}.debug
  COMMAND sh -c "echo '// NOLINTBEGIN: not ours'; \"$1\" gen skeleton \"$2\" name redirect_bpf && echo '// NOLINTEND'"
          skeleton ${VF_BPFTOOL} ${object} > ${skeleton}
  DEPENDS redirect.bpf.c redirect_map.h
  COMMENT "eBPF programs of socket redirection" VERBATIM)
target_sources(vf_offload PRIVATE ${skeleton})
target_include_directories(vf_offload SYSTEM PRIVATE ${PROJECT_BINARY_DIR}/generated)
target_link_libraries(vf_offload PUBLIC PkgConfig::LIBBPF)
set(VF_HAS_REDIRECT ON CACHE INTERNAL "")
