// Vertex keys of a batch of images in one lattice: the image's number stands
// above the packed coordinates, so images never share a vertex. Where the bits
// do not suffice, keys stay vectors of int32 beside the image's number.
#pragma once

#include <cstdint>

#include "csrc/core/crf/lattice_key.h"
#include "csrc/core/macros.h"

namespace deeplab {

// A slot nobody claimed; kNoEntry exceeds every entry (kMaxLatticeEntries), and
// no packed key has all 64 bits.
constexpr std::uint64_t kNoCode = ~std::uint64_t{0};
constexpr std::int32_t kNoEntry = 0x7f7f7f7f;

struct BatchKeys {
  KeyPacking packing;  // fits: of the whole key, the image included
  int image_shift;
};

// Bits needed to tell `count` things apart.
DEEPLAB_HD int bits_for(std::int64_t count) {
  int bits = 0;
  while ((std::int64_t{1} << bits) < count) ++bits;
  return bits;
}

// The packing for d features within [least, most] (each [d]) of `images`
// images.
template <typename scalar_t>
DEEPLAB_HD BatchKeys batch_keys(const scalar_t* least, const scalar_t* most,
                                int d, std::int64_t images) {
  BatchKeys keys{key_packing(least, most, d), 0};
  keys.image_shift = keys.packing.bits;
  // The 64th bit tells keys from kNoCode.
  if (keys.packing.bits + bits_for(images) > 63) keys.packing.fits = false;
  return keys;
}

DEEPLAB_HD std::uint64_t image_code(const BatchKeys& keys, std::int64_t image) {
  return static_cast<std::uint64_t>(image) << keys.image_shift;
}

// Hash of an unpacked key of one image.
DEEPLAB_HD std::uint64_t hash_image_key(const int* key, int d,
                                        std::int64_t image) {
  return hash_code(hash_key(key, d) + static_cast<std::uint64_t>(image));
}

// Images that one lattice takes: entries must stay below kMaxLatticeEntries.
// `corners` is the largest d + 1 of the kernels. 0 where not even one fits.
inline std::int64_t images_per_lattice(std::int64_t images,
                                       std::int64_t image_points,
                                       std::int64_t corners) {
  if (image_points == 0) return images;
  const std::int64_t most = (kMaxLatticeEntries - 1) / corners / image_points;
  return most < images ? most : images;
}

}  // namespace deeplab
