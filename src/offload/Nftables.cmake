# SPDX-License-Identifier: LGPL-2.1-or-later
# The nftables offload needs libnftables and libnetfilter_conntrack. Without them the library has an
# NftablesOffload that says so at its start.
set(VF_NFTABLES AUTO CACHE STRING "nftables offload: AUTO, ON (an error where it cannot be built) or OFF")
set_property(CACHE VF_NFTABLES PROPERTY STRINGS AUTO ON OFF)

set(VF_HAS_NFTABLES OFF CACHE INTERNAL "")
if(VF_NFTABLES)
  pkg_check_modules(NFTABLES IMPORTED_TARGET libnftables)
  pkg_check_modules(CONNTRACK IMPORTED_TARGET libnetfilter_conntrack)
  if(NFTABLES_FOUND AND CONNTRACK_FOUND)
    target_compile_definitions(vf_offload PRIVATE VF_HAVE_NFTABLES)
    target_link_libraries(vf_offload PRIVATE PkgConfig::NFTABLES PkgConfig::CONNTRACK)
    set(VF_HAS_NFTABLES ON CACHE INTERNAL "")
  elseif(NOT VF_NFTABLES STREQUAL AUTO)
    message(FATAL_ERROR "VF_NFTABLES=${VF_NFTABLES}: libnftables or libnetfilter_conntrack is missing")
  endif()
endif()
if(NOT VF_HAS_NFTABLES)
  message(STATUS "nftables offload: not built (VF_NFTABLES=${VF_NFTABLES})")
endif()
