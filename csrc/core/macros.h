// Host/device decoration shared by every formula in core/.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DEEPLAB_HD __host__ __device__ __forceinline__
#else
#define DEEPLAB_HD inline
#endif
