// Host/device decoration shared by every formula in core/.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DEEPLAB_HD __host__ __device__ __forceinline__
// Arrays indexed by an unrolled loop's variable stay in registers.
#define DEEPLAB_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
// Always inlined, so that code compiled for an instruction set takes its
// formulas along.
#define DEEPLAB_HD inline __attribute__((always_inline))
#else
#define DEEPLAB_HD inline
#endif

#if !defined(DEEPLAB_UNROLL)
#define DEEPLAB_UNROLL
#endif
