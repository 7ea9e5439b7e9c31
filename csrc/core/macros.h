// Host/device decoration shared by every formula in core/.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DEEPLAB_HD __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// Always inlined, so that code compiled for an instruction set takes its
// formulas along.
#define DEEPLAB_HD inline __attribute__((always_inline))
#else
#define DEEPLAB_HD inline
#endif

#if defined(__CUDACC__)
#define DEEPLAB_UNROLL _Pragma("unroll")
#else
#define DEEPLAB_UNROLL
#endif
