// Asynchronous copies from device memory to shared memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "csrc/core/conv/pyramid_stage.h"

namespace deeplab {

constexpr int kPyramidStages = 3;

// 16 bytes into shared memory, zeros where not `valid`.
struct CopyUnit {
  __device__ __forceinline__ void operator()(void* to, const void* from,
                                             bool valid) const {
#if __CUDA_ARCH__ >= 800
    const unsigned address =
        static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int bytes = valid ? kPyramidUnitBytes : 0;
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address),
        "l"(from), "r"(bytes)
        : "memory");
#else
    *static_cast<uint4*>(to) =
        valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
  }
};

__device__ __forceinline__ void end_of_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Until at most `kPending` of the latest groups of copies are under way.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
#endif
}

}  // namespace deeplab
