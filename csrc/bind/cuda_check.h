// Turns a launcher's cudaError_t into an exception that names the operator.
#pragma once

#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

namespace deeplab {

inline void check_cuda(const char* op, cudaError_t status) {
  TORCH_CHECK(status == cudaSuccess, op,
              ": CUDA error: ", cudaGetErrorString(status));
}

}  // namespace deeplab
