# The target bitsmith_torch: LibTorch out of the PyTorch wheel in the project's virtual environment.
# Not by find_package(Torch): the package of the CUDA wheel stops where no CUDA toolkit is installed,
# and its find_library(c10) takes a system libtorch for the wheel's. CUDA libraries are linked where
# the wheel has them; they are untested.
set(BITSMITH_PYTHON ${CMAKE_SOURCE_DIR}/.venv/bin/python CACHE FILEPATH
    "Python whose torch package holds LibTorch")
if(NOT EXISTS ${BITSMITH_PYTHON})
  message(FATAL_ERROR "No LibTorch (${BITSMITH_PYTHON} is missing): run ./setup, or build the runtime "
                      "alone with -DBITSMITH_COMPRESSOR=OFF")
endif()
execute_process(
  COMMAND ${BITSMITH_PYTHON} -c
          "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
  OUTPUT_VARIABLE torch_root OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
set(torch_libraries torch torch_cpu c10)
list(TRANSFORM torch_libraries REPLACE "(.+)" "${torch_root}/lib/lib\\1.so")
foreach(file ${torch_root}/include/torch/csrc/api/include/torch/torch.h ${torch_libraries})
  if(failed OR NOT EXISTS ${file})
    message(FATAL_ERROR "${BITSMITH_PYTHON} has no usable torch package (${file}): run ./setup")
  endif()
endforeach()
file(STRINGS ${torch_root}/version.py torch_version REGEX "^__version__")
message(STATUS "LibTorch: ${torch_root} (${torch_version})")

# SYSTEM: the wheel's headers are not ours to warn about.
add_library(bitsmith_torch INTERFACE)
target_include_directories(bitsmith_torch SYSTEM INTERFACE
                           ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_libraries(bitsmith_torch INTERFACE ${torch_libraries})
# at::parallel_for is a header: without OpenMP it compiles, and runs on one thread. The runtime library
# must be LibTorch's own copy, or two pools of threads would fight for the cores.
find_package(OpenMP REQUIRED COMPONENTS CXX)
file(GLOB torch_openmp ${torch_root}/lib/libgomp*.so* ${torch_root}/../torch.libs/libgomp*.so*)
if(NOT torch_openmp)
  set(torch_openmp ${OpenMP_CXX_LIBRARIES})
endif()
target_compile_options(bitsmith_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
target_link_libraries(bitsmith_torch INTERFACE ${torch_openmp})
if(EXISTS ${torch_root}/lib/libtorch_cuda.so)
  # No symbol of ours names them: the linker must be told to keep them.
  target_link_libraries(bitsmith_torch INTERFACE -Wl,--no-as-needed ${torch_root}/lib/libtorch_cuda.so
                        ${torch_root}/lib/libc10_cuda.so -Wl,--as-needed)
endif()
