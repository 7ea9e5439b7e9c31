#include "csrc/core/conv/im2col.h"
#include "csrc/cuda/conv/im2col.h"
#include "csrc/cuda/conv/sum_types.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

namespace {

// A thread fills all taps of one (plane, output position): neighbouring threads
// write neighbouring columns, and the divisions are paid once per position.
template <typename T>
__global__ void im2col_kernel(Im2ColAt<T> at, std::int64_t planes, T* columns) {
  const Window2d& window = at.window;
  const std::int64_t size = window.output_size();
  const std::int64_t work = planes * size;
  for (std::int64_t i = first_index(); i < work; i += index_stride()) {
    const std::int64_t plane = i / size;
    const std::int64_t place = i % size;
    const std::int64_t out_h = place / window.w.output;
    const std::int64_t out_w = place % window.w.output;
    T* column = columns + plane * window.taps() * size + place;
    for (std::int64_t tap_h = 0; tap_h < window.h.kernel; ++tap_h) {
      for (std::int64_t tap_w = 0; tap_w < window.w.kernel; ++tap_w) {
        *column = at(plane, tap_h, tap_w, out_h, out_w);
        column += size;
      }
    }
  }
}

template <typename T>
__global__ void col2im_kernel(Col2ImAt<T> at, std::int64_t planes, T* images) {
  const Window2d& window = at.window;
  const std::int64_t size = window.input_size();
  const std::int64_t work = planes * size;
  for (std::int64_t i = first_index(); i < work; i += index_stride()) {
    const std::int64_t place = i % size;
    images[i] = at(i / size, place / window.w.input, place % window.w.input);
  }
}

}  // namespace

template <typename T>
cudaError_t im2col_cuda(const Window2d& window, std::int64_t planes,
                        const T* images, T* columns, cudaStream_t stream) {
  const std::int64_t work = planes * window.output_size();
  if (work == 0) return cudaSuccess;
  im2col_kernel<<<blocks_for(work), kThreads, 0, stream>>>(
      Im2ColAt<T>{window, images}, planes, columns);
  return cudaGetLastError();
}

template <typename T>
cudaError_t col2im_cuda(const Window2d& window, std::int64_t planes,
                        const T* columns, T* images, cudaStream_t stream) {
  const std::int64_t work = planes * window.input_size();
  if (work == 0) return cudaSuccess;
  col2im_kernel<<<blocks_for(work), kThreads, 0, stream>>>(
      Col2ImAt<T>{window, columns}, planes, images);
  return cudaGetLastError();
}

#define DEEPLAB_INSTANTIATE(T)                                              \
  template cudaError_t im2col_cuda(const Window2d&, std::int64_t, const T*, \
                                   T*, cudaStream_t);                       \
  template cudaError_t col2im_cuda(const Window2d&, std::int64_t, const T*, \
                                   T*, cudaStream_t);

DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
DEEPLAB_INSTANTIATE(__half)
DEEPLAB_INSTANTIATE(__nv_bfloat16)

#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
