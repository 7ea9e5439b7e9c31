#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "csrc/core/hash_table.h"
#include "csrc/core/lattice_key.h"
#include "csrc/cpu/buffer.h"
#include "csrc/cpu/lattice.h"
#include "csrc/cpu/parallel.h"
#include "csrc/cpu/row_kernels.h"
#include "csrc/cpu/stages.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 2048;
constexpr std::int64_t kVertexGrain = 1024;
// Look-ups in flight at once, so that they wait for memory together.
constexpr std::int64_t kBatch = 32;

using Slot = std::atomic<std::int32_t>;
static_assert(sizeof(Slot) == sizeof(std::int32_t),
              "slots are read as plain integers after the insertions");

// Keys of entries (or vertices) in 64 bits each.
class PackedKeys {
 public:
  using Key = std::uint64_t;

  PackedKeys(const KeyPacking& packing, int d, std::int64_t count)
      : codes_(make_buffer<std::uint64_t>(count)), steps_(d + 1) {
    for (int axis = 0; axis <= d; ++axis) {
      steps_[axis] = packed_neighbor_step(packing, axis, d);
    }
  }
  // The keys of some entries of others, in their order.
  PackedKeys(const PackedKeys& others, const std::vector<std::int32_t>& which)
      : codes_(make_buffer<std::uint64_t>(which.size())),
        steps_(others.steps_) {
    for (std::size_t i = 0; i < which.size(); ++i) {
      codes_[i] = others.codes_[which[i]];
    }
  }

  std::uint64_t* codes() { return codes_.get(); }
  std::int32_t* vectors() { return nullptr; }
  Key key(std::int64_t i) const { return codes_[i]; }
  bool same(std::int64_t i, Key key) const { return codes_[i] == key; }
  void prefetch(std::int64_t i) const { __builtin_prefetch(&codes_[i]); }
  Key neighbor(std::int64_t i, int axis, int*) const {
    return codes_[i] + steps_[axis];
  }
  std::uint64_t hash(Key key) const { return hash_code(key); }

 private:
  Buffer<std::uint64_t> codes_;
  std::vector<std::uint64_t> steps_;
};

// Keys as vectors of d coordinates.
class VectorKeys {
 public:
  using Key = const std::int32_t*;

  VectorKeys(const KeyPacking&, int d, std::int64_t count)
      : d_(d), keys_(make_buffer<std::int32_t>(count * d)) {}
  VectorKeys(const VectorKeys& others, const std::vector<std::int32_t>& which)
      : d_(others.d_), keys_(make_buffer<std::int32_t>(which.size() * d_)) {
    for (std::size_t i = 0; i < which.size(); ++i) {
      std::copy_n(others.key(which[i]), d_, keys_.get() + i * d_);
    }
  }

  std::uint64_t* codes() { return nullptr; }
  std::int32_t* vectors() { return keys_.get(); }
  Key key(std::int64_t i) const { return keys_.get() + i * d_; }
  bool same(std::int64_t i, Key other) const {
    return same_key(key(i), other, d_);
  }
  void prefetch(std::int64_t i) const { __builtin_prefetch(key(i)); }
  Key neighbor(std::int64_t i, int axis, int* place) const {
    for (int j = 0; j < d_; ++j) {
      place[j] = neighbor_coordinate(key(i)[j], j, axis, 1, d_);
    }
    return place;
  }
  std::uint64_t hash(Key key) const { return hash_key(key, d_); }

 private:
  int d_;
  Buffer<std::int32_t> keys_;
};

template <typename scalar_t>
KeyPacking packing_of(const scalar_t* features, std::int64_t points, int d) {
  std::vector<scalar_t> least(d, std::numeric_limits<scalar_t>::max());
  std::vector<scalar_t> most(d, std::numeric_limits<scalar_t>::lowest());
  for (std::int64_t i = 0; i < points; ++i) {
    for (int j = 0; j < d; ++j) {
      const scalar_t value = features[i * d + j];
      least[j] = value < least[j] ? value : least[j];
      most[j] = value > most[j] ? value : most[j];
    }
  }
  return key_packing(least.data(), most.data(), d);
}

// Claims a slot for `entry`, or lowers the claim of a later entry of the same
// key: in the end each slot holds its key's first entry.
template <typename Keys>
std::int32_t insert(Slot* slots, std::uint64_t mask, const Keys& keys,
                    std::int32_t entry) {
  const typename Keys::Key key = keys.key(entry);
  std::uint64_t slot = keys.hash(key) & mask;
  while (true) {
    std::int32_t owner = slots[slot].load(std::memory_order_relaxed);
    if (owner == kEmptySlot && slots[slot].compare_exchange_strong(
                                   owner, entry, std::memory_order_relaxed)) {
      break;
    }
    if (keys.same(owner, key)) {
      while (owner > entry && !slots[slot].compare_exchange_weak(
                                  owner, entry, std::memory_order_relaxed)) {
      }
      break;
    }
    slot = (slot + 1) & mask;
  }
  return static_cast<std::int32_t>(slot);
}

// Numbers the keys by first appearance: writes each entry's vertex and returns
// the first entry of each.
template <typename Keys>
std::vector<std::int32_t> number_vertices(const Keys& keys, std::int64_t count,
                                          int corners, std::int32_t* vertices) {
  const std::int64_t capacity = table_capacity(count);
  const auto mask = static_cast<std::uint64_t>(capacity - 1);
  const auto claims = make_buffer<std::int32_t>(capacity);
  std::fill(claims.get(), claims.get() + capacity, kEmptySlot);
  Slot* slots = reinterpret_cast<Slot*>(claims.get());
  // `vertices` holds the slots until the first entries are known.
  parallel_for(
      0, count, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t e = begin; e < end; ++e) {
          if (e + kBatch < end) {
            __builtin_prefetch(slots +
                               (keys.hash(keys.key(e + kBatch)) & mask));
          }
          // Points next to each other often share a vertex.
          const std::int64_t before = e - corners;
          vertices[e] =
              before >= begin && keys.same(before, keys.key(e))
                  ? vertices[before]
                  : insert(slots, mask, keys, static_cast<std::int32_t>(e));
        }
      });
  std::vector<std::int32_t> first_entry;
  for (std::int64_t e = 0; e < count; ++e) {
    // A slot turns from its first entry into ~vertex where that is reached,
    // which is before any other entry of the key.
    std::int32_t& claim = claims[vertices[e]];
    if (claim == e) {
      claim = ~static_cast<std::int32_t>(first_entry.size());
      first_entry.push_back(static_cast<std::int32_t>(e));
    }
    vertices[e] = ~claim;
  }
  return first_entry;
}

// Fills neighbors [V, d + 1, 2] by looking up each vertex's neighbour after it
// along each axis: the neighbour's neighbour before it is the vertex itself, so
// one search serves both, and no two vertices write the same place.
template <typename Keys>
void find_neighbors(const Keys& keys, std::int64_t count, int d,
                    std::int32_t* neighbors) {
  const std::int64_t row = 2 * (d + 1);
  const std::int64_t capacity = table_capacity(count);
  const auto mask = static_cast<std::uint64_t>(capacity - 1);
  const auto slots = make_buffer<std::int32_t>(capacity);
  std::fill(slots.get(), slots.get() + capacity, kEmptySlot);
  for (std::int64_t v = 0; v < count; ++v) {
    std::uint64_t slot = keys.hash(keys.key(v)) & mask;
    while (slots[slot] != kEmptySlot) slot = (slot + 1) & mask;
    slots[slot] = static_cast<std::int32_t>(v);
  }
  std::fill(neighbors, neighbors + count * row, -1);
  parallel_for(
      0, count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        int places[kBatch][kMaxFeatures];
        typename Keys::Key wanted[kBatch];
        std::uint64_t at[kBatch];
        for (std::int64_t first = begin; first < end; first += kBatch) {
          const std::int64_t n = std::min(kBatch, end - first);
          for (int axis = 0; axis <= d; ++axis) {
            for (std::int64_t i = 0; i < n; ++i) {
              wanted[i] = keys.neighbor(first + i, axis, places[i]);
              at[i] = keys.hash(wanted[i]) & mask;
              __builtin_prefetch(&slots[at[i]]);
            }
            for (std::int64_t i = 0; i < n; ++i) {
              const std::int32_t found = slots[at[i]];
              if (found != kEmptySlot) keys.prefetch(found);
            }
            for (std::int64_t i = 0; i < n; ++i) {
              std::int32_t found = slots[at[i]];
              while (found != kEmptySlot && !keys.same(found, wanted[i])) {
                at[i] = (at[i] + 1) & mask;
                found = slots[at[i]];
              }
              if (found == kEmptySlot) continue;
              neighbors[(first + i) * row + 2 * axis + 1] = found;
              neighbors[found * row + 2 * axis] =
                  static_cast<std::int32_t>(first + i);
            }
          }
        }
      });
}

// Groups the entries by vertex, ascending within each: a counting sort.
void group_entries(const std::int32_t* vertices, std::int64_t entry_count,
                   std::int64_t vertex_count, std::int32_t* entries,
                   std::int32_t* offsets) {
  std::fill(offsets, offsets + vertex_count + 1, 0);
  for (std::int64_t e = 0; e < entry_count; ++e) ++offsets[vertices[e] + 1];
  for (std::int64_t v = 0; v < vertex_count; ++v) offsets[v + 1] += offsets[v];
  std::vector<std::int32_t> next(offsets, offsets + vertex_count);
  for (std::int64_t e = 0; e < entry_count; ++e) {
    entries[next[vertices[e]]++] = static_cast<std::int32_t>(e);
  }
}

template <typename Keys, typename scalar_t>
std::int64_t build(const scalar_t* features, std::int64_t points, int d,
                   const KeyPacking& packing,
                   const LatticeBuffers<scalar_t>& out) {
  const std::int64_t entry_count = points * (d + 1);
  Keys keys(packing, d, entry_count);
  std::atomic<bool> good{true};
  parallel_for(
      0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        if (!row_kernels<scalar_t>().embed(
                features, d, keys.codes() != nullptr ? &packing : nullptr,
                keys.codes(), keys.vectors(), out.weights, begin, end)) {
          good = false;
        }
      });
  if (!good) return -1;
  const std::vector<std::int32_t> first_entry =
      number_vertices(keys, entry_count, d + 1, out.vertices);
  const auto vertex_count = static_cast<std::int64_t>(first_entry.size());
  find_neighbors(Keys(keys, first_entry), vertex_count, d, out.neighbors);
  group_entries(out.vertices, entry_count, vertex_count, out.entries,
                out.offsets);
  return vertex_count;
}

}  // namespace

template <typename scalar_t>
std::int64_t lattice_build_cpu(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out) {
  const Stage stage("build");
  const KeyPacking packing = packing_of(features, points, d);
  return packing.fits ? build<PackedKeys>(features, points, d, packing, out)
                      : build<VectorKeys>(features, points, d, packing, out);
}

template std::int64_t lattice_build_cpu(const float*, std::int64_t, int,
                                        const LatticeBuffers<float>&);
template std::int64_t lattice_build_cpu(const double*, std::int64_t, int,
                                        const LatticeBuffers<double>&);

}  // namespace deeplab
