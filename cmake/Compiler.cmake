# SPDX-License-Identifier: LGPL-2.1-or-later
# Warnings, hardening and instrumentation, the same for every target.

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
                    -Wno-missing-field-initializers)
if(VF_WERROR)
  add_compile_options(-Werror)
endif()

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-fstack-protector-strong -fvisibility=hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_link_options(-Wl,-z,relro -Wl,-z,now)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT VF_SANITIZE)
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()

if(VF_SANITIZE)
  add_compile_options(-fsanitize=${VF_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${VF_SANITIZE})
endif()
if(VF_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(VF_COVERAGE)
  add_compile_definitions(VF_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
