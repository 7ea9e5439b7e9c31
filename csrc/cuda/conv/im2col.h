// CUDA launchers of im2col and col2im: device pointers and a stream, no torch.
// Contiguous arrays, layouts as in core/conv/im2col.h. Instantiated for float,
// double, __half and __nv_bfloat16.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "csrc/core/conv/window.h"

namespace deeplab {

template <typename T>
cudaError_t im2col_cuda(const Window2d& window, std::int64_t planes,
                        const T* images, T* columns, cudaStream_t stream);

template <typename T>
cudaError_t col2im_cuda(const Window2d& window, std::int64_t planes,
                        const T* columns, T* images, cudaStream_t stream);

}  // namespace deeplab
