// Runs a functor of core/ over indices where a tensor lives: in a kernel on
// CUDA, in a plain loop on the CPU. What is built on it is one code for both.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>
#include <c10/util/Half.h>

#include <cstdint>
#include <limits>
#include <type_traits>

#include "csrc/core/conv/batched.h"
#include "csrc/core/conv/im2col.h"
#include "csrc/cpu/parallel.h"

#ifdef WITH_CUDA
#include <c10/cuda/CUDAStream.h>

#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/conv/for_each.h"
#endif

namespace deeplab {

template <>
struct SumOf<at::Half> {
  using Type = float;
  static float widen(at::Half value) { return static_cast<float>(value); }
  static at::Half narrow(float sum) { return at::Half(sum); }
};

template <>
struct SumOf<at::BFloat16> {
  using Type = float;
  static float widen(at::BFloat16 value) { return static_cast<float>(value); }
  static at::BFloat16 narrow(float sum) { return at::BFloat16(sum); }
};

// The CUDA toolkit's type for a torch scalar type; a type of its own otherwise.
template <typename T>
struct CudaType {
  using Type = T;
};
#ifdef WITH_CUDA
template <>
struct CudaType<at::Half> {
  using Type = __half;
};
template <>
struct CudaType<at::BFloat16> {
  using Type = __nv_bfloat16;
};
#endif

// Calls body(T()) with the type that stands for scalar_t where `tensor` lives.
template <typename scalar_t, typename Body>
void with_type_there(const at::Tensor& tensor, const Body& body) {
  if (tensor.is_cuda()) {
    body(typename CudaType<scalar_t>::Type());
  } else {
    body(scalar_t());
  }
}

// Calls body(Unit()) with the widest unit of which `bytes` is a multiple.
template <typename Body>
void with_unit(std::uint64_t bytes, const Body& body) {
  if (bytes % 16 == 0) {
    body(Unit16());
  } else if (bytes % 8 == 0) {
    body(std::uint64_t());
  } else if (bytes % 4 == 0) {
    body(std::uint32_t());
  } else {
    body(std::uint16_t());
  }
}

template <typename T>
T* data_as(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}
template <typename T>
const T* const_data_as(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// Functors on torch's own reduced types are the CPU's.
template <typename Functor>
struct HasKernel : std::true_type {};
template <template <typename> class Functor>
struct HasKernel<Functor<at::Half>> : std::false_type {};
template <template <typename> class Functor>
struct HasKernel<Functor<at::BFloat16>> : std::false_type {};

template <typename Functor>
void for_each_index(const char* op, [[maybe_unused]] const at::Tensor& on,
                    std::int64_t count, const Functor& functor) {
  TORCH_CHECK(count <= std::numeric_limits<std::uint32_t>::max(), op,
              ": needs indices below 2^32, got ", count);
#ifdef WITH_CUDA
  if constexpr (HasKernel<Functor>::value) {
    if (on.is_cuda()) {
      check_cuda(
          op, for_each_cuda(functor, count, c10::cuda::getCurrentCUDAStream()));
      return;
    }
  }
#endif
  constexpr std::int64_t kGrain = 4096;
  parallel_for(0, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      functor(static_cast<std::uint32_t>(i));
    }
  });
}

}  // namespace deeplab
