# SPDX-License-Identifier: Apache-2.0
# The compiler's settings and the two functions every folder uses.
#
# A folder is one static library that links only what the dependency law of
# docs/architecture.md allows it: outside libraries are linked PRIVATE as
# imported targets, so a forbidden include does not even find its header.

find_package(PkgConfig REQUIRED)
foreach(pair glib:glib-2.0 uv:libuv jansson:jansson libvirt:libvirt libvirt_qemu:libvirt-qemu libnbd:libnbd
             libxml2:libxml-2.0 openssl:openssl zstd:libzstd png:libpng xxhash:libxxhash sqlite:sqlite3
             curl:libcurl websockets:libwebsockets nftables:libnftables)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 name)
  list(GET pair 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  add_library(dep::${name} ALIAS PkgConfig::${name})
endforeach()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
# Hidden: a name of ours must never be picked up by a library that has one like it.
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(understudy_flags INTERFACE)
target_include_directories(understudy_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(understudy_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings
  -Wno-missing-field-initializers -fno-strict-aliasing -fstack-protector-strong)
target_compile_definitions(understudy_flags INTERFACE
  _GNU_SOURCE
  G_LOG_DOMAIN="understudy"
  GLIB_VERSION_MIN_REQUIRED=GLIB_VERSION_2_72
  GLIB_VERSION_MAX_ALLOWED=GLIB_VERSION_2_74
  UNDERSTUDY_VERSION="${PROJECT_VERSION}"
  $<$<BOOL:${UNDERSTUDY_STOP_POINTS}>:UNDERSTUDY_STOP_POINTS>)
if(DEFINED ENV{CI})
  target_compile_options(understudy_flags INTERFACE -Werror)
endif()
if(UNDERSTUDY_SANITIZE)
  target_compile_options(understudy_flags INTERFACE -fsanitize=${UNDERSTUDY_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -O1)
  target_link_options(understudy_flags INTERFACE -fsanitize=${UNDERSTUDY_SANITIZE})
endif()
if(UNDERSTUDY_COVERAGE)
  target_compile_options(understudy_flags INTERFACE --coverage -O0)
  target_link_options(understudy_flags INTERFACE --coverage)
endif()
if(UNDERSTUDY_FUZZ)
  target_compile_options(understudy_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# understudy_library(NAME SOURCES a.c … LINKS target …)
# All LINKS are public: who may use a folder may use what its headers show.
function(understudy_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC understudy_flags ${ARG_LINKS} PRIVATE ${ARG_PRIVATE})
endfunction()

# understudy_test(NAME SUITE unit|scenario|interop SOURCES a.c … LINKS target …)
# A test program is a GLib test: it speaks TAP, which tests/run counts.
function(understudy_test name)
  cmake_parse_arguments(ARG "" "SUITE" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE understudy_flags ${ARG_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/${ARG_SUITE})
  target_compile_definitions(${name} PRIVATE TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name} --tap)
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_SUITE} TIMEOUT 300
    ENVIRONMENT TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp)
endfunction()

# understudy_script(SCRIPT ret_name ret_deadline): a test that is a script says by a line "# deadline: SECONDS" how long it may take.
function(understudy_script script ret_name ret_deadline)
  get_filename_component(name ${script} NAME_WE)
  file(STRINGS ${script} deadline REGEX "^# deadline: [0-9]+$" LIMIT_COUNT 1)
  if(NOT deadline)
    message(FATAL_ERROR "${script} has no line '# deadline: SECONDS'")
  endif()
  string(REGEX REPLACE "[^0-9]" "" deadline ${deadline})
  set(${ret_name} ${name} PARENT_SCOPE)
  set(${ret_deadline} ${deadline} PARENT_SCOPE)
endfunction()

# understudy_fuzz(NAME SOURCES fuzz_x.c LINKS target …)
# With the fuzz preset a libFuzzer target; elsewhere the same function is run
# over its corpus as a unit test, so that a found crash stays found.
function(understudy_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  if(UNDERSTUDY_FUZZ)
    add_executable(${name} ${ARG_SOURCES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    add_test(NAME ${name} COMMAND ${name} ${corpus})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
  target_link_libraries(${name} PRIVATE understudy_flags ${ARG_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/fuzz)
endfunction()
