// IEEE half precision as a storage format: 16 bits in memory, float in
// arithmetic.
#pragma once

#include <cstdint>
#include <cstring>

#include "csrc/core/macros.h"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace deeplab {

struct Half {
  std::uint16_t bits;
};

// Greatest finite value.
constexpr float kHalfMax = 65504.0f;

DEEPLAB_HD float half_to_float(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = value.bits & 0x3ffu;
  std::uint32_t bits;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    std::memcpy(&bits, &magnitude, sizeof(bits));
  } else if (exponent == 0x1f) {
    bits = 0x7f800000u | (mantissa << 13);
  } else {
    bits = ((exponent + 112) << 23) | (mantissa << 13);
  }
  bits |= sign;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
#endif
}

// Nearest, ties to even; beyond kHalfMax infinity.
DEEPLAB_HD Half float_to_half(float value) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(value))};
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (bits >= 0x47800000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (bits < 0x38800000u) {
    // Subnormal: adding 1/2 aligns the mantissa so that the sum rounds it.
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof(magnitude));
    magnitude += 0.5f;
    std::memcpy(&bits, &magnitude, sizeof(bits));
    return {static_cast<std::uint16_t>(sign | (bits - 0x3f000000u))};
  }
  bits += ((bits >> 13) & 1u) + 0xfffu - (std::uint32_t{112} << 23);
  return {static_cast<std::uint16_t>(sign | (bits >> 13))};
#endif
}

}  // namespace deeplab
