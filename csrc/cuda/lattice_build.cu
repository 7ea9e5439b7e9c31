#include <cuda_runtime.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "csrc/core/hash_table.h"
#include "csrc/cuda/lattice.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {
namespace {

// Most lattices have few features; their simplex then fits registers.
constexpr int kSmallFeatures = 6;

template <typename scalar_t, int kCapacity>
__global__ void embed_kernel(const scalar_t* features, std::int64_t points,
                             int d, std::int32_t* keys, scalar_t* weights,
                             int* bad) {
  scalar_t scales[kCapacity];
  for (int j = 0; j < d; ++j) scales[j] = feature_scale<scalar_t>(j, d);
  for (std::int64_t i = first_index(); i < points; i += index_stride()) {
    Simplex<scalar_t, kCapacity> simplex;
    const bool good = embed(features + i * d, scales, d, simplex);
    if (!good) *bad = 1;
    for (int q = 0; q <= d; ++q) {
      const std::int64_t entry = i * (d + 1) + q;
      weights[entry] = good ? simplex.barycentric[q] : scalar_t(0);
      for (int j = 0; j < d; ++j) {
        keys[entry * d + j] = good ? vertex_coordinate(simplex, q, j, d) : 0;
      }
    }
  }
}

// Claims a slot for each entry, or lowers the claim of a later entry of the
// same key: in the end each slot holds its key's first entry, whatever the
// order of the threads.
__global__ void insert_kernel(std::int32_t* slots, std::int64_t capacity,
                              const std::int32_t* keys, std::int64_t entries,
                              int d, std::int32_t* slot_of) {
  const std::uint64_t mask = static_cast<std::uint64_t>(capacity - 1);
  for (std::int64_t e = first_index(); e < entries; e += index_stride()) {
    const std::int32_t* key = keys + e * d;
    std::uint64_t slot = hash_key(key, d) & mask;
    while (true) {
      const std::int32_t owner =
          atomicCAS(slots + slot, kEmptySlot, static_cast<std::int32_t>(e));
      if (owner == kEmptySlot) break;
      if (same_key(keys + std::int64_t(owner) * d, key, d)) {
        atomicMin(slots + slot, static_cast<std::int32_t>(e));
        break;
      }
      slot = (slot + 1) & mask;
    }
    slot_of[e] = static_cast<std::int32_t>(slot);
  }
}

__global__ void mark_first_kernel(const std::int32_t* slots,
                                  const std::int32_t* slot_of,
                                  std::int64_t entries, std::int32_t* first) {
  for (std::int64_t e = first_index(); e < entries; e += index_stride()) {
    first[e] = slots[slot_of[e]] == e ? 1 : 0;
  }
}

__global__ void number_kernel(const std::int32_t* slots,
                              const std::int32_t* slot_of,
                              const std::int32_t* first,
                              const std::int32_t* id_of, std::int64_t entries,
                              const int* bad, std::int32_t* vertices,
                              std::int32_t* first_entry, std::int32_t* sequence,
                              std::int64_t* count) {
  for (std::int64_t e = first_index(); e < entries; e += index_stride()) {
    vertices[e] = id_of[slots[slot_of[e]]];
    sequence[e] = static_cast<std::int32_t>(e);
    if (first[e]) first_entry[id_of[e]] = static_cast<std::int32_t>(e);
    if (e == entries - 1) *count = *bad ? -1 : id_of[e] + first[e];
  }
}

template <int kCapacity>
__global__ void neighbors_kernel(
    const std::int32_t* slots, std::int64_t capacity, const std::int32_t* keys,
    const std::int32_t* first_entry, const std::int32_t* id_of,
    std::int64_t entries, int d, const std::int64_t* count,
    std::int32_t* neighbors) {
  const std::int64_t row = 2 * (d + 1);
  for (std::int64_t k = first_index(); k < entries * row; k += index_stride()) {
    const std::int64_t v = k / row;
    std::int32_t neighbor = -1;
    if (v < *count) {
      const int axis = static_cast<int>(k % row) / 2;
      const int direction = k % 2 == 0 ? -1 : 1;
      const std::int32_t* own = keys + std::int64_t(first_entry[v]) * d;
      int key[kCapacity];
      for (int j = 0; j < d; ++j) {
        key[j] = neighbor_coordinate(own[j], j, axis, direction, d);
      }
      const std::int32_t found =
          slots[find_slot(slots, capacity, keys, key, d)];
      if (found != kEmptySlot) neighbor = id_of[found];
    }
    neighbors[k] = neighbor;
  }
}

// Position where each vertex's group begins in the sorted entries.
__global__ void offsets_kernel(const std::int32_t* sorted_vertices,
                               std::int64_t entries, const std::int64_t* count,
                               std::int32_t* offsets) {
  for (std::int64_t k = first_index(); k <= entries; k += index_stride()) {
    if (k >= *count) offsets[k] = static_cast<std::int32_t>(entries);
    if (k < entries &&
        (k == 0 || sorted_vertices[k] != sorted_vertices[k - 1])) {
      offsets[sorted_vertices[k]] = static_cast<std::int32_t>(k);
    }
  }
}

std::int64_t aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Where everything lies in the workspace.
struct Layout {
  std::int64_t keys, slots, slot_of, first, id_of, first_entry, sequence,
      sorted_vertices, bad, temporary, total;
  std::size_t temporary_bytes;
  std::int64_t capacity;
};

int key_bits(std::int64_t entries) {
  int bits = 1;
  while ((std::int64_t{1} << bits) < entries) ++bits;
  return bits;
}

Layout layout(std::int64_t points, int d) {
  const std::int64_t entries = points * (d + 1);
  const std::int64_t ints = aligned(entries * sizeof(std::int32_t));
  Layout l{};
  l.capacity = table_capacity(entries);
  std::size_t scan = 0, sort = 0;
  const auto* in = static_cast<const std::int32_t*>(nullptr);
  auto* out = static_cast<std::int32_t*>(nullptr);
  cub::DeviceScan::ExclusiveSum(nullptr, scan, in, out,
                                static_cast<int>(entries));
  cub::DeviceRadixSort::SortPairs(nullptr, sort, in, out, in, out,
                                  static_cast<int>(entries), 0,
                                  key_bits(entries));
  l.temporary_bytes = scan > sort ? scan : sort;
  std::int64_t at = 0;
  const auto take = [&at](std::int64_t bytes) {
    const std::int64_t here = at;
    at += bytes;
    return here;
  };
  l.keys = take(aligned(entries * d * sizeof(std::int32_t)));
  l.slots = take(aligned(l.capacity * sizeof(std::int32_t)));
  l.slot_of = take(ints);
  l.first = take(ints);
  l.id_of = take(ints);
  l.first_entry = take(ints);
  l.sequence = take(ints);
  l.sorted_vertices = take(ints);
  l.bad = take(256);
  l.temporary = take(aligned(static_cast<std::int64_t>(l.temporary_bytes)));
  l.total = at;
  return l;
}

}  // namespace

std::int64_t lattice_workspace_bytes(std::int64_t points, int d) {
  return layout(points, d).total;
}

template <typename scalar_t>
cudaError_t lattice_build_cuda(const scalar_t* features, std::int64_t points,
                               int d, const LatticeBuffers<scalar_t>& out,
                               std::int64_t* count, void* workspace,
                               std::int64_t workspace_bytes,
                               cudaStream_t stream) {
  const std::int64_t entries = points * (d + 1);
  const Layout l = layout(points, d);
  if (workspace_bytes < l.total) return cudaErrorInvalidValue;
  if (entries == 0) {
    const cudaError_t status =
        cudaMemsetAsync(count, 0, sizeof(*count), stream);
    if (status != cudaSuccess) return status;
    return cudaMemsetAsync(out.offsets, 0, sizeof(std::int32_t), stream);
  }
  char* base = static_cast<char*>(workspace);
  const auto ints = [base](std::int64_t at) {
    return reinterpret_cast<std::int32_t*>(base + at);
  };
  std::int32_t* keys = ints(l.keys);
  std::int32_t* slots = ints(l.slots);
  int* bad = ints(l.bad);

  cudaError_t status = cudaMemsetAsync(bad, 0, sizeof(int), stream);
  if (status != cudaSuccess) return status;
  // All bits set is kEmptySlot.
  status =
      cudaMemsetAsync(slots, 0xff, l.capacity * sizeof(std::int32_t), stream);
  if (status != cudaSuccess) return status;

  const auto embed_with = [&](auto* kernel) {
    kernel<<<blocks_for(points), kThreads, 0, stream>>>(features, points, d,
                                                        keys, out.weights, bad);
  };
  if (d <= kSmallFeatures) {
    embed_with(embed_kernel<scalar_t, kSmallFeatures>);
  } else {
    embed_with(embed_kernel<scalar_t, kMaxFeatures>);
  }
  const unsigned blocks = blocks_for(entries);
  insert_kernel<<<blocks, kThreads, 0, stream>>>(slots, l.capacity, keys,
                                                 entries, d, ints(l.slot_of));
  mark_first_kernel<<<blocks, kThreads, 0, stream>>>(slots, ints(l.slot_of),
                                                     entries, ints(l.first));
  std::size_t temporary_bytes = l.temporary_bytes;
  status = cub::DeviceScan::ExclusiveSum(
      base + l.temporary, temporary_bytes,
      static_cast<const std::int32_t*>(ints(l.first)), ints(l.id_of),
      static_cast<int>(entries), stream);
  if (status != cudaSuccess) return status;
  number_kernel<<<blocks, kThreads, 0, stream>>>(
      slots, ints(l.slot_of), ints(l.first), ints(l.id_of), entries, bad,
      out.vertices, ints(l.first_entry), ints(l.sequence), count);
  const auto neighbors_with = [&](auto* kernel) {
    kernel<<<blocks_for(entries * 2 * (d + 1)), kThreads, 0, stream>>>(
        slots, l.capacity, keys, ints(l.first_entry), ints(l.id_of), entries, d,
        count, out.neighbors);
  };
  if (d <= kSmallFeatures) {
    neighbors_with(neighbors_kernel<kSmallFeatures>);
  } else {
    neighbors_with(neighbors_kernel<kMaxFeatures>);
  }
  // The radix sort is stable: entries stay ascending within a vertex, so the
  // splat adds in the same order every time.
  temporary_bytes = l.temporary_bytes;
  status = cub::DeviceRadixSort::SortPairs(
      base + l.temporary, temporary_bytes,
      static_cast<const std::int32_t*>(out.vertices), ints(l.sorted_vertices),
      static_cast<const std::int32_t*>(ints(l.sequence)), out.entries,
      static_cast<int>(entries), 0, key_bits(entries), stream);
  if (status != cudaSuccess) return status;
  offsets_kernel<<<blocks_for(entries + 1), kThreads, 0, stream>>>(
      ints(l.sorted_vertices), entries, count, out.offsets);
  return cudaGetLastError();
}

template cudaError_t lattice_build_cuda(const float*, std::int64_t, int,
                                        const LatticeBuffers<float>&,
                                        std::int64_t*, void*, std::int64_t,
                                        cudaStream_t);
template cudaError_t lattice_build_cuda(const double*, std::int64_t, int,
                                        const LatticeBuffers<double>&,
                                        std::int64_t*, void*, std::int64_t,
                                        cudaStream_t);

}  // namespace deeplab
