// The atomic operations the data-parallel functors need, on either side; where
// a host compiler has no builtins for them, for one thread alone.
#pragma once

#include <cstdint>
#include <cstring>

#include "csrc/core/macros.h"

namespace deeplab {

// Writes `wanted` where `expected` stands; returns what stood there.
DEEPLAB_HD std::uint64_t atomic_claim(std::uint64_t* place,
                                      std::uint64_t expected,
                                      std::uint64_t wanted) {
#if defined(__CUDA_ARCH__)
  return atomicCAS(reinterpret_cast<unsigned long long*>(place),
                   static_cast<unsigned long long>(expected),
                   static_cast<unsigned long long>(wanted));
#elif defined(__GNUC__)
  __atomic_compare_exchange_n(place, &expected, wanted, false, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
  return expected;
#else
  const std::uint64_t before = *place;
  if (before == expected) *place = wanted;
  return before;
#endif
}

DEEPLAB_HD std::int32_t atomic_claim(std::int32_t* place, std::int32_t expected,
                                     std::int32_t wanted) {
#if defined(__CUDA_ARCH__)
  return atomicCAS(place, expected, wanted);
#elif defined(__GNUC__)
  __atomic_compare_exchange_n(place, &expected, wanted, false, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
  return expected;
#else
  const std::int32_t before = *place;
  if (before == expected) *place = wanted;
  return before;
#endif
}

DEEPLAB_HD void atomic_lower(std::int32_t* place, std::int32_t value) {
#if defined(__CUDA_ARCH__)
  atomicMin(place, value);
#elif defined(__GNUC__)
  std::int32_t before = *place;
  while (value < before &&
         !__atomic_compare_exchange_n(place, &before, value, true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
#else
  if (value < *place) *place = value;
#endif
}

// Raises the bits of a float that is not negative: these order as integers.
DEEPLAB_HD void atomic_raise(std::int32_t* place, float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
#if defined(__CUDA_ARCH__)
  atomicMax(place, bits);
#elif defined(__GNUC__)
  std::int32_t before = *place;
  while (bits > before &&
         !__atomic_compare_exchange_n(place, &before, bits, true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
#else
  if (bits > *place) *place = bits;
#endif
}

}  // namespace deeplab
