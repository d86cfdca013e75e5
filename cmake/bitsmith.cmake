# How every folder is built: bitsmith_folder(NAME DEPENDS ...) makes the library bitsmith_NAME from the
# folder's *.cpp, and NAME_test from its *_test.cpp. Files named *_avx2.cpp, *_avxvnni.cpp,
# *_avx512.cpp, *_avx512vbmi.cpp and *_neon.cpp get their instruction set, are left out for processors
# of another family, and must include only small C-like headers (an inline function compiled here may be the
# copy that the linker keeps for old processors). With UNITY N the compiler sees N files at a time
# (their anonymous namespaces are one then): where every file includes heavy headers, that is most of
# the build time. With SHARDS N the tests run in N processes, for ctest N tests: loading LibTorch
# takes longer than most of them. Without it each is a test of its own.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)  # the installed program still finds the wheel's LibTorch
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # Without this sloppiness ccache refuses files that use a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(HTTPLIB IMPORTED_TARGET cpp-httplib)  # without it there is no `serve`
pkg_check_modules(LIBEDIT IMPORTED_TARGET libedit)      # without it `run` reads plain lines
if(BITSMITH_COMPRESSOR)
  find_package(MPI COMPONENTS CXX)  # without it the compressor works as one process
endif()
if(BITSMITH_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
find_package(benchmark QUIET)  # without it there is no target `benchmarks`

add_library(bitsmith_flags INTERFACE)
target_compile_options(bitsmith_flags INTERFACE -Wall -Wextra -Wno-unused-parameter -Werror -fno-math-errno
                       -ffp-contract=off)
target_include_directories(bitsmith_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The first for ccache, see above. The second: GCC 12 takes "literal" + string for an overlap.
  target_compile_options(bitsmith_flags INTERFACE -fpch-preprocess -Wno-restrict)
endif()
if(BITSMITH_FUZZ)
  target_compile_options(bitsmith_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(BITSMITH_SANITIZE)
  target_compile_options(bitsmith_flags INTERFACE -fsanitize=${BITSMITH_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(bitsmith_flags INTERFACE -fsanitize=${BITSMITH_SANITIZE})
endif()

# Instruction sets above what every processor of the family has, and their flags.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(BITSMITH_ISAS avx2 avxvnni avx512 avx512vbmi)
  set(BITSMITH_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(BITSMITH_FLAGS_avxvnni ${BITSMITH_FLAGS_avx2} -mavxvnni)
  set(BITSMITH_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
                            ${BITSMITH_FLAGS_avx2} -mprefer-vector-width=512)
  set(BITSMITH_FLAGS_avx512vbmi ${BITSMITH_FLAGS_avx512} -mavx512vbmi)
elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64)
  set(BITSMITH_ISAS neon)
  set(BITSMITH_FLAGS_neon -march=armv8.2-a+dotprod)
endif()

function(bitsmith_unity target files)
  if(files)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${files})
  endif()
endfunction()

# The tests of a googletest program, as PREFIX.NAME or PREFIX.shard_I_of_N. OpenMP has one thread
# unless a test asks for more: the threads of two tests at once on two cores wait for one another,
# which takes twenty times as long.
function(bitsmith_gtest program prefix shards)
  if(NOT shards)
    gtest_discover_tests(${program} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                         TEST_PREFIX ${prefix}. PROPERTIES TIMEOUT 600
                         ENVIRONMENT OMP_NUM_THREADS=1)
    return()
  endif()
  foreach(shard RANGE 1 ${shards})
    math(EXPR index "${shard} - 1")
    set(test ${prefix}.shard_${shard}_of_${shards})
    add_test(NAME ${test} COMMAND ${program} --gtest_brief=1)
    set_tests_properties(${test} PROPERTIES TIMEOUT 1800 ENVIRONMENT
                         "OMP_NUM_THREADS=1;GTEST_TOTAL_SHARDS=${shards};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()

function(bitsmith_folder name)
  cmake_parse_arguments(ARG "" "UNITY;SHARDS" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp kinds/*.cpp rules/*.cpp families/*.cpp tasks/*.cpp jinja/*.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cpp$")
  foreach(source ${sources})
    if(source MATCHES "_(avx2|avxvnni|avx512|avx512vbmi|neon)\\.cpp$")
      if(CMAKE_MATCH_1 IN_LIST BITSMITH_ISAS)
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
                                                         "${BITSMITH_FLAGS_${CMAKE_MATCH_1}}")
      else()
        list(REMOVE_ITEM sources ${source})
      endif()
    endif()
  endforeach()
  add_library(bitsmith_${name} STATIC ${sources})
  target_link_libraries(bitsmith_${name} PUBLIC ${ARG_DEPENDS} bitsmith_flags)
  bitsmith_unity(bitsmith_${name} "${ARG_UNITY}")
  if(BITSMITH_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE bitsmith_${name} GTest::gtest GTest::gtest_main)
    bitsmith_unity(${name}_test "${ARG_UNITY}")
    target_compile_definitions(${name}_test PRIVATE
      BITSMITH_TESTDATA="${CMAKE_SOURCE_DIR}/testdata" BITSMITH_BINARY_DIR="${CMAKE_BINARY_DIR}")
    bitsmith_gtest(${name}_test ${name} "${ARG_SHARDS}")
  endif()
endfunction()
