// Division by a number known before a kernel starts, as a multiplication and a
// shift (Granlund and Montgomery 1994, figure 4.1): indices are split millions
// of times, and a GPU divides slowly.
#pragma once

#include <cstdint>

#include "csrc/core/macros.h"

namespace deeplab {

// Dividends below 2^32, divisors 1 .. 2^31.
struct Divider {
  struct Parts {
    std::uint32_t quotient;
    std::uint32_t remainder;
  };

  std::uint32_t divisor = 1;
  std::uint32_t multiplier = 1;
  std::uint32_t shift = 0;

  Divider() = default;
  explicit Divider(std::int64_t value)
      : divisor(static_cast<std::uint32_t>(value)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    const std::uint64_t excess = (std::uint64_t{1} << shift) - divisor;
    multiplier =
        static_cast<std::uint32_t>((excess << 32) / divisor + std::uint64_t{1});
  }

  DEEPLAB_HD Parts operator()(std::uint32_t value) const {
    const std::uint64_t high =
        (static_cast<std::uint64_t>(value) * multiplier) >> 32;
    const std::uint32_t quotient =
        static_cast<std::uint32_t>((high + value) >> shift);
    return {quotient, value - quotient * divisor};
  }
};

}  // namespace deeplab
