#include "csrc/cpu/lattice.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "csrc/core/hash_table.h"
#include "csrc/cpu/buffer.h"
#include "csrc/cpu/parallel.h"
#include "csrc/cpu/row_kernels.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 2048;
constexpr std::int64_t kVertexGrain = 1024;

using Slot = std::atomic<std::int32_t>;
static_assert(sizeof(Slot) == sizeof(std::int32_t),
              "find_slot reads the slots as plain integers");

// Writes the keys and weights of every point's simplex; false when a feature
// is out of range.
template <typename scalar_t>
bool embed_points(const scalar_t* features, std::int64_t points, int d,
                  std::int32_t* keys, scalar_t* weights) {
  scalar_t scales[kMaxFeatures];
  for (int j = 0; j < d; ++j) scales[j] = feature_scale<scalar_t>(j, d);
  std::atomic<bool> good{true};
  parallel_for(
      0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        Simplex<scalar_t, kMaxFeatures> simplex;
        for (std::int64_t i = begin; i < end; ++i) {
          if (!embed(features + i * d, scales, d, simplex)) {
            good = false;
            return;
          }
          for (int q = 0; q <= d; ++q) {
            const std::int64_t entry = i * (d + 1) + q;
            weights[entry] = simplex.barycentric[q];
            for (int j = 0; j < d; ++j) {
              keys[entry * d + j] = vertex_coordinate(simplex, q, j, d);
            }
          }
        }
      });
  return good;
}

// Claims a slot for `entry`, or lowers the claim of a later entry of the same
// key: in the end each slot holds its key's first entry.
std::int64_t insert(Slot* slots, std::int64_t capacity,
                    const std::int32_t* keys, std::int32_t entry, int d) {
  const std::int32_t* key = keys + static_cast<std::int64_t>(entry) * d;
  const std::uint64_t mask = static_cast<std::uint64_t>(capacity - 1);
  std::uint64_t slot = hash_key(key, d) & mask;
  while (true) {
    std::int32_t owner = slots[slot].load(std::memory_order_relaxed);
    if (owner == kEmptySlot && slots[slot].compare_exchange_strong(
                                   owner, entry, std::memory_order_relaxed)) {
      return static_cast<std::int64_t>(slot);
    }
    if (same_key(keys + static_cast<std::int64_t>(owner) * d, key, d)) {
      while (owner > entry && !slots[slot].compare_exchange_weak(
                                  owner, entry, std::memory_order_relaxed)) {
      }
      return static_cast<std::int64_t>(slot);
    }
    slot = (slot + 1) & mask;
  }
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

}  // namespace

template <typename scalar_t>
std::int64_t lattice_build_cpu(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out) {
  const std::int64_t entry_count = points * (d + 1);
  const Buffer<std::int32_t> keys = make_buffer<std::int32_t>(entry_count * d);
  if (!embed_points(features, points, d, keys.get(), out.weights)) return -1;

  const std::int64_t capacity = table_capacity(entry_count);
  const Buffer<std::int32_t> claims = make_buffer<std::int32_t>(capacity);
  // Plain integers once the insertions are over.
  Slot* slots = reinterpret_cast<Slot*>(claims.get());
  parallel_for(0, capacity, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      slots[s].store(kEmptySlot, std::memory_order_relaxed);
    }
  });
  std::vector<std::int32_t> slot_of(entry_count);
  parallel_for(
      0, entry_count, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t e = begin; e < end; ++e) {
          slot_of[e] = static_cast<std::int32_t>(insert(
              slots, capacity, keys.get(), static_cast<std::int32_t>(e), d));
        }
      });

  std::vector<std::int32_t> first_entry;
  std::vector<std::int32_t> id_of(entry_count);
  for (std::int64_t e = 0; e < entry_count; ++e) {
    const std::int32_t first = claims[slot_of[e]];
    if (first == e) {
      id_of[e] = static_cast<std::int32_t>(first_entry.size());
      first_entry.push_back(first);
    }
    out.vertices[e] = id_of[first];
  }
  const auto vertex_count = static_cast<std::int64_t>(first_entry.size());

  const std::int64_t row = 2 * (d + 1);
  std::fill(out.neighbors, out.neighbors + vertex_count * row, -1);
  parallel_for(
      0, vertex_count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        int key[kMaxFeatures];
        for (std::int64_t v = begin; v < end; ++v) {
          const std::int32_t* own =
              keys.get() + static_cast<std::int64_t>(first_entry[v]) * d;
          for (int axis = 0; axis <= d; ++axis) {
            for (int j = 0; j < d; ++j) {
              key[j] = neighbor_coordinate(own[j], j, axis, 1, d);
            }
            const std::int32_t found =
                claims[find_slot(claims.get(), capacity, keys.get(), key, d)];
            if (found == kEmptySlot) continue;
            // The neighbour's neighbour the other way is this vertex, so one
            // search serves both; no two vertices write the same place.
            const std::int32_t other = id_of[found];
            out.neighbors[v * row + 2 * axis + 1] = other;
            out.neighbors[other * row + 2 * axis] =
                static_cast<std::int32_t>(v);
          }
        }
      });

  group_entries(out.vertices, entry_count, vertex_count, out.entries,
                out.offsets);
  return vertex_count;
}

template <typename scalar_t>
BlurChains blur_chains(const LatticeView<scalar_t>& lattice) {
  const int axis_count = lattice.features + 1;
  const std::int64_t row = 2 * axis_count;
  BlurChains chains;
  chains.axes.resize(axis_count);
  parallel_for(0, axis_count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t axis = begin; axis < end; ++axis) {
      std::vector<std::int32_t>& chain = chains.axes[axis];
      chain.reserve(lattice.vertex_count);
      const std::int32_t* pairs = lattice.neighbors + 2 * axis;
      for (std::int64_t v = 0; v < lattice.vertex_count; ++v) {
        std::int32_t after = pairs[v * row + 1];
        if (pairs[v * row] != -1 || after == -1) continue;
        chain.push_back(static_cast<std::int32_t>(v));
        while (after != -1) {
          chain.push_back(after);
          after = pairs[after * row + 1];
        }
        chain.back() = ~chain.back();
      }
    }
  });
  return chains;
}

template <typename scalar_t>
SplatEntries<scalar_t>::SplatEntries(const LatticeView<scalar_t>& lattice,
                                     const scalar_t* point_scale)
    : offsets_(lattice.offsets),
      points_(lattice.points * (lattice.features + 1)),
      weights_(points_.size()) {
  const std::int32_t corners = lattice.features + 1;
  parallel_for(0, static_cast<std::int64_t>(points_.size()), kPointGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t k = begin; k < end; ++k) {
                   const std::int32_t entry = lattice.entries[k];
                   points_[k] = entry / corners;
                   weights_[k] = lattice.weights[entry];
                   if (point_scale != nullptr) {
                     weights_[k] *= point_scale[points_[k]];
                   }
                 }
               });
}

template <typename scalar_t>
SplatList<scalar_t> SplatEntries<scalar_t>::list() const {
  return {offsets_, points_.data(), weights_.data()};
}

template <typename scalar_t>
void lattice_splat_cpu(const SplatList<scalar_t>& list,
                       std::int64_t vertex_count, const scalar_t* values,
                       std::int64_t width, scalar_t* rows) {
  parallel_for(
      0, vertex_count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        row_kernels<scalar_t>().splat(list, values, width, rows, begin, end);
      });
}

template <typename scalar_t>
void lattice_blur_cpu(const BlurChains& chains, bool reverse,
                      std::int64_t width, scalar_t* rows) {
  const auto axis_count = static_cast<std::int64_t>(chains.axes.size());
  for (std::int64_t k = 0; k < axis_count; ++k) {
    const auto& chain = chains.axes[reverse ? axis_count - 1 - k : k];
    const auto length = static_cast<std::int64_t>(chain.size());
    parallel_for(0, length, kVertexGrain,
                 [&](std::int64_t begin, std::int64_t end) {
                   row_kernels<scalar_t>().blur(chain.data(), length, width,
                                                rows, begin, end);
                 });
  }
}

template <typename scalar_t>
void lattice_filter_cpu(const LatticeView<scalar_t>& lattice,
                        const BlurChains& chains, const scalar_t* values,
                        std::int64_t width, bool reverse, scalar_t* out) {
  const Buffer<scalar_t> rows =
      make_buffer<scalar_t>(lattice.vertex_count * width);
  const SplatEntries<scalar_t> entries(lattice, nullptr);
  lattice_splat_cpu(entries.list(), lattice.vertex_count, values, width,
                    rows.get());
  lattice_blur_cpu(chains, reverse, width, rows.get());
  parallel_for(0, lattice.points, kPointGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 row_kernels<scalar_t>().slice(
                     lattice, rows.get(),
                     slice_scale<scalar_t>(lattice.features), width, out, begin,
                     end);
               });
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                         \
  template std::int64_t lattice_build_cpu(const scalar_t*, std::int64_t, int, \
                                          const LatticeBuffers<scalar_t>&);   \
  template BlurChains blur_chains(const LatticeView<scalar_t>&);              \
  template class SplatEntries<scalar_t>;                                      \
  template void lattice_splat_cpu(const SplatList<scalar_t>&, std::int64_t,   \
                                  const scalar_t*, std::int64_t, scalar_t*);  \
  template void lattice_blur_cpu(const BlurChains&, bool, std::int64_t,       \
                                 scalar_t*);                                  \
  template void lattice_filter_cpu(const LatticeView<scalar_t>&,              \
                                   const BlurChains&, const scalar_t*,        \
                                   std::int64_t, bool, scalar_t*);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
