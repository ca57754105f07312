# SPDX-License-Identifier: LGPL-2.1-or-later
#
# vf_library(NAME [LINKS target...]): the static library vf_NAME of this folder's sources but
# main.cpp. Its headers are "NAME/file.h" for those that link it and for nobody else: each library
# has an include root of its own, so that the arrows of the design cannot be drawn backwards.

function(vf_library name)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  set(root ${PROJECT_BINARY_DIR}/include-roots/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${name} SYMBOLIC)
  if(sources)
    add_library(vf_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(vf_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(vf_${name} ${scope} ${root})
  target_link_libraries(vf_${name} ${scope} ${ARG_LINKS})
endfunction()

# For tests of sanitizer builds: what libraries that are not ours keep at their end, and what they do
# under locks that the sanitizer does not see.
if(VF_SANITIZE MATCHES thread)
  set(VF_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/unit/thread-suppressions")
else()
  set(VF_TEST_ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/e2e/lab/leak-suppressions:print_suppressions=0")
endif()

# vf_unit_tests(NAME [LINKS target...]): one test program of this folder's *_test.cpp, the test unit.NAME.
function(vf_unit_tests name)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(unit_${name} ${sources})
  target_link_libraries(unit_${name} PRIVATE ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  if(VF_SANITIZE MATCHES undefined)
    # What is checked is the libraries; in test code it would double the time to compile.
    target_compile_options(unit_${name} PRIVATE -fno-sanitize=undefined)
  endif()
  target_compile_definitions(unit_${name} PRIVATE VF_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                  VF_BINARY_DIR="${PROJECT_BINARY_DIR}")
  # The headers are half of what a test takes to compile: once for all programs, so with the same options.
  target_compile_options(unit_${name} PRIVATE -pthread)
  if(name STREQUAL "base")
    target_precompile_headers(unit_base PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
  else()
    target_precompile_headers(unit_${name} REUSE_FROM unit_base)
  endif()
  # One process for all of them: to start a sanitized one takes longer than most of its tests.
  add_test(NAME unit.${name}
    COMMAND unit_${name} --gtest_brief=1 --gtest_output=xml:${PROJECT_BINARY_DIR}/junit-unit-${name}.xml)
  set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 600 ENVIRONMENT ${VF_TEST_ENVIRONMENT})
endfunction()
