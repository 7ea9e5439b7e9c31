// Keys of lattice vertices as the CPU build stores them, one after the other:
// packed into 64 bits where the features' range allows it, else as vectors of
// int32.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/core/crf/lattice.h"
#include "csrc/core/crf/lattice_key.h"

namespace deeplab {

class PackedKeys {
 public:
  using Element = std::uint64_t;

  PackedKeys(const KeyPacking& packing, int d)
      : packing_(&packing), steps_(d + 1) {
    for (int axis = 0; axis <= d; ++axis) {
      steps_[axis] = packed_neighbor_step(packing, axis, d);
    }
  }

  // Elements of a key.
  static constexpr int size() { return 1; }
  const KeyPacking* packing() const { return packing_; }
  static std::uint64_t* codes(Element* keys) { return keys; }
  static std::int32_t* vectors(Element*) { return nullptr; }

  static bool same(const Element* a, const Element* b) { return *a == *b; }
  static std::uint64_t hash(const Element* key) { return hash_code(*key); }
  // The key of the neighbour after `key` along `axis`.
  void neighbor(const Element* key, int axis, Element* out) const {
    *out = *key + steps_[axis];
  }

 private:
  const KeyPacking* packing_;
  std::vector<Element> steps_;
};

class VectorKeys {
 public:
  using Element = std::int32_t;

  VectorKeys(const KeyPacking&, int d) : d_(d) {}

  int size() const { return d_; }
  static const KeyPacking* packing() { return nullptr; }
  static std::uint64_t* codes(Element*) { return nullptr; }
  static std::int32_t* vectors(Element* keys) { return keys; }

  bool same(const Element* a, const Element* b) const {
    return same_key(a, b, d_);
  }
  std::uint64_t hash(const Element* key) const { return hash_key(key, d_); }
  void neighbor(const Element* key, int axis, Element* out) const {
    for (int j = 0; j < d_; ++j) {
      out[j] = neighbor_coordinate(key[j], j, axis, 1, d_);
    }
  }

 private:
  int d_;
};

}  // namespace deeplab
