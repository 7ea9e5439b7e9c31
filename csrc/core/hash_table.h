// Open addressing over lattice entries. A slot holds the index of the entry
// (point * (d + 1) + q) that claimed it, so keys are compared in full and no
// coordinate range can overflow.
#pragma once

#include <cstdint>

#include "csrc/core/lattice.h"
#include "csrc/core/macros.h"

namespace deeplab {

constexpr std::int32_t kEmptySlot = -1;

// Slots for `entries` insertions at a load of at most one half.
inline std::int64_t table_capacity(std::int64_t entries) {
  std::int64_t capacity = 16;
  while (capacity < 2 * entries) capacity *= 2;
  return capacity;
}

// Slot where `key` is, or the empty one where it would go.
DEEPLAB_HD std::int64_t find_slot(const std::int32_t* slots,
                                  std::int64_t capacity,
                                  const std::int32_t* keys, const int* key,
                                  int d) {
  const std::uint64_t mask = static_cast<std::uint64_t>(capacity - 1);
  std::uint64_t slot = hash_key(key, d) & mask;
  while (slots[slot] != kEmptySlot &&
         !same_key(keys + static_cast<std::int64_t>(slots[slot]) * d, key, d)) {
    slot = (slot + 1) & mask;
  }
  return static_cast<std::int64_t>(slot);
}

}  // namespace deeplab
