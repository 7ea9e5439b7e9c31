// Building the lattice of a batch, one work item at a time: each functor's
// operator()(k) handles item k, in any order and all at once. batch/sequence.h
// puts them in their order.
#pragma once

#include <cstdint>
#include <limits>

#include "csrc/core/atomics.h"
#include "csrc/core/crf/batch/keys.h"
#include "csrc/core/crf/lattice.h"
#include "csrc/core/macros.h"

namespace deeplab {

// Items of the two stages of a minimum and maximum over all points.
constexpr std::int64_t kCoarseParts = 4096;
constexpr std::int64_t kFineParts = 64;

// Everything the numbering of the vertices reads and writes. An entry is a
// corner of a point's simplex: point * (d + 1) + corner.
template <typename scalar_t>
struct BatchBuild {
  const scalar_t* features;   // [points, d]
  std::int64_t points;        // of all images
  std::int64_t image_points;  // of one
  int d;

  // Of corner q of point i, at i * point_stride + q * corner_stride.
  std::int32_t* vertices;
  scalar_t* weights;
  std::int64_t point_stride;
  std::int64_t corner_stride;
  std::int64_t* count;  // vertices; -1 where a feature is out of range

  // Scratch.
  scalar_t* coarse;  // [kCoarseParts, 2, d] least and most
  scalar_t* fine;    // [kFineParts, 2, d]
  scalar_t* scales;  // [d] feature_scale
  BatchKeys* keys;
  std::int32_t* bad;
  std::uint64_t* codes;        // [entries], packed keys, or
  std::int32_t* vectors;       // [entries, d], in the same memory
  std::uint64_t* slot_code;    // [capacity] kNoCode where free (packed)
  std::int32_t* slot_first;    // [capacity] first entry of the slot's key
  std::int64_t capacity;       // a power of two
  std::int32_t* slot_of;       // [entries]
  std::int32_t* first;         // [entries] 1 for the first entry of a key
  std::int32_t* number;        // [entries] firsts before the entry
  std::int32_t* first_entry;   // [entries] of each vertex
  std::int32_t* entry_vertex;  // [entries]
  std::int32_t* sequence;      // [entries] 0, 1, ...

  DEEPLAB_HD std::int64_t entries() const { return points * (d + 1); }
  DEEPLAB_HD std::int64_t images() const {
    return image_points > 0 ? points / image_points : 0;
  }
  DEEPLAB_HD std::int64_t image_of(std::int64_t entry) const {
    return entry / (image_points * (d + 1));
  }
};

// One of `parts` shares of rows [count, d]: its least and most of feature j.
template <typename scalar_t>
struct LeastMostAt {
  const scalar_t* least;  // [count, d], rows `stride` apart
  const scalar_t* most;
  std::int64_t count;
  std::int64_t stride;
  int d;
  std::int64_t parts;
  scalar_t* out;  // [parts, 2, d]

  static constexpr scalar_t kMost = std::numeric_limits<scalar_t>::max();

  DEEPLAB_HD void operator()(std::int64_t k) const {
    const std::int64_t part = k / d;
    const std::int64_t j = k - part * d;
    scalar_t low = kMost;
    scalar_t high = -kMost;
    for (std::int64_t i = part; i < count; i += parts) {
      const scalar_t a = least[i * stride + j];
      const scalar_t b = most[i * stride + j];
      low = a < low ? a : low;
      high = b > high ? b : high;
    }
    out[part * 2 * d + j] = low;
    out[(part * 2 + 1) * d + j] = high;
  }
};

// Chooses the packing; one item.
template <typename scalar_t>
struct BudgetAt {
  BatchBuild<scalar_t> build;

  DEEPLAB_HD void operator()(std::int64_t) const {
    const int d = build.d;
    scalar_t least[kMaxFeatures], most[kMaxFeatures];
    for (int j = 0; j < d; ++j) {
      build.scales[j] = feature_scale<scalar_t>(j, d);
      least[j] = build.fine[j];
      most[j] = build.fine[d + j];
      for (std::int64_t part = 1; part < kFineParts; ++part) {
        const scalar_t a = build.fine[part * 2 * d + j];
        const scalar_t b = build.fine[(part * 2 + 1) * d + j];
        least[j] = a < least[j] ? a : least[j];
        most[j] = b > most[j] ? b : most[j];
      }
    }
    *build.keys = batch_keys(least, most, d, build.images());
  }
};

// Item: a point. kFeatures > 0 fixes d, so that a point's scratch is indexed by
// constants; otherwise d <= kCapacity.
template <typename scalar_t, int kFeatures, int kCapacity>
struct EmbedAt {
  BatchBuild<scalar_t> build;

  DEEPLAB_HD void operator()(std::int64_t i) const {
    const int d = kFeatures > 0 ? kFeatures : build.d;
    Simplex<scalar_t, kCapacity> simplex;
    const bool good = embed(build.features + i * d, build.scales, d, simplex);
    if (!good) *build.bad = 1;
    for (int q = 0; q <= d; ++q) {
      build.weights[i * build.point_stride + q * build.corner_stride] =
          good ? simplex.barycentric[q] : scalar_t(0);
    }
    const std::int64_t entry = i * (d + 1);
    if (build.keys->packing.fits) {
      std::uint64_t codes[kCapacity + 1];
      if (good) pack_vertices(simplex, d, build.keys->packing, codes);
      const std::uint64_t image =
          image_code(*build.keys, build.image_of(entry));
      for (int q = 0; q <= d; ++q) {
        build.codes[entry + q] = image + (good ? codes[q] : 0);
      }
      return;
    }
    for (int q = 0; q <= d; ++q) {
      for (int j = 0; j < d; ++j) {
        build.vectors[(entry + q) * d + j] =
            good ? vertex_coordinate(simplex, q, j, d) : 0;
      }
    }
  }
};

// Item: an entry. Claims a slot for its key and leaves there the key's first
// entry, whatever the order of the threads.
template <typename scalar_t>
struct InsertAt {
  BatchBuild<scalar_t> build;

  DEEPLAB_HD void operator()(std::int64_t e) const {
    const auto mask = static_cast<std::uint64_t>(build.capacity - 1);
    const auto entry = static_cast<std::int32_t>(e);
    std::uint64_t slot;
    if (build.keys->packing.fits) {
      const std::uint64_t code = build.codes[e];
      slot = hash_code(code) & mask;
      while (true) {
        // A slot's code never changes again, so a plain read that sees one
        // spares the atomic.
        std::uint64_t owner = build.slot_code[slot];
        if (owner == kNoCode) {
          owner = atomic_claim(build.slot_code + slot, kNoCode, code);
        }
        if (owner == kNoCode || owner == code) break;
        slot = (slot + 1) & mask;
      }
      if (build.slot_first[slot] > entry) {
        atomic_lower(build.slot_first + slot, entry);
      }
    } else {
      const int d = build.d;
      const std::int32_t* key = build.vectors + e * d;
      const std::int64_t image = build.image_of(e);
      slot = hash_image_key(key, d, image) & mask;
      while (true) {
        const std::int32_t owner =
            atomic_claim(build.slot_first + slot, kNoEntry, entry);
        if (owner == kNoEntry) break;
        if (build.image_of(owner) == image &&
            same_key(build.vectors + std::int64_t{owner} * d, key, d)) {
          atomic_lower(build.slot_first + slot, entry);
          break;
        }
        slot = (slot + 1) & mask;
      }
    }
    build.slot_of[e] = static_cast<std::int32_t>(slot);
  }
};

// Item: an entry.
template <typename scalar_t>
struct MarkFirstAt {
  BatchBuild<scalar_t> build;

  DEEPLAB_HD void operator()(std::int64_t e) const {
    build.first[e] = build.slot_first[build.slot_of[e]] == e ? 1 : 0;
  }
};

// Item: an entry; `number` holds the exclusive sums of `first`, so vertices are
// numbered by first appearance.
template <typename scalar_t>
struct NumberAt {
  BatchBuild<scalar_t> build;

  DEEPLAB_HD void operator()(std::int64_t e) const {
    const std::int32_t vertex =
        build.number[build.slot_first[build.slot_of[e]]];
    const std::int64_t i = e / (build.d + 1);
    const std::int64_t q = e - i * (build.d + 1);
    build.vertices[i * build.point_stride + q * build.corner_stride] = vertex;
    build.entry_vertex[e] = vertex;
    build.sequence[e] = static_cast<std::int32_t>(e);
    if (build.first[e]) build.first_entry[vertex] = build.sequence[e];
    if (e == build.entries() - 1) {
      *build.count = *build.bad ? -1 : build.number[e] + build.first[e];
    }
  }
};

// A built lattice's vertices beside each other, and the entries of each.
struct BatchLinks {
  std::int64_t vertex_count;
  // Before and after vertex v along an axis (-1: none), at v * vertex_stride +
  // axis * axis_stride and the next place.
  std::int32_t* neighbors;
  std::int64_t vertex_stride;
  std::int64_t axis_stride;
  std::int32_t* sorted_vertices;  // [entries] scratch
  std::int32_t* entries;          // [entries] grouped by vertex, ascending
  std::int32_t* offsets;          // [V + 1] into entries
};

// Item: vertex * (d + 1) + axis. Looks up the neighbour after it; that one's
// neighbour before it is the vertex itself, so that no two items write the same
// place. `neighbors` must hold -1.
template <typename scalar_t, int kCapacity>
struct NeighborAt {
  BatchBuild<scalar_t> build;
  BatchLinks links;

  DEEPLAB_HD void operator()(std::int64_t k) const {
    const int d = build.d;
    const std::int64_t v = k / (d + 1);
    const int axis = static_cast<int>(k - v * (d + 1));
    const std::int64_t own = build.first_entry[v];
    const auto mask = static_cast<std::uint64_t>(build.capacity - 1);
    std::uint64_t slot;
    if (build.keys->packing.fits) {
      const std::uint64_t code =
          build.codes[own] + packed_neighbor_step(build.keys->packing, axis, d);
      slot = hash_code(code) & mask;
      while (build.slot_code[slot] != code) {
        if (build.slot_code[slot] == kNoCode) return;
        slot = (slot + 1) & mask;
      }
    } else {
      int key[kCapacity];
      for (int j = 0; j < d; ++j) {
        key[j] = neighbor_coordinate(build.vectors[own * d + j], j, axis, 1, d);
      }
      const std::int64_t image = build.image_of(own);
      slot = hash_image_key(key, d, image) & mask;
      while (true) {
        const std::int32_t owner = build.slot_first[slot];
        if (owner == kNoEntry) return;
        if (build.image_of(owner) == image &&
            same_key(build.vectors + std::int64_t{owner} * d, key, d)) {
          break;
        }
        slot = (slot + 1) & mask;
      }
    }
    const std::int64_t after = build.number[build.slot_first[slot]];
    std::int32_t* pair = links.neighbors + axis * links.axis_stride;
    pair[v * links.vertex_stride + 1] = static_cast<std::int32_t>(after);
    pair[after * links.vertex_stride] = static_cast<std::int32_t>(v);
  }
};

// Item: a position of the entries sorted by vertex.
struct OffsetAt {
  BatchLinks links;
  std::int64_t entry_count;

  DEEPLAB_HD void operator()(std::int64_t k) const {
    const std::int32_t vertex = links.sorted_vertices[k];
    if (k == 0 || links.sorted_vertices[k - 1] != vertex) {
      links.offsets[vertex] = static_cast<std::int32_t>(k);
    }
    if (k == entry_count - 1) {
      links.offsets[links.vertex_count] =
          static_cast<std::int32_t>(entry_count);
    }
  }
};

}  // namespace deeplab
