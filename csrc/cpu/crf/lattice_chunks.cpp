#include "csrc/cpu/crf/lattice_chunks.h"

#include <algorithm>
#include <atomic>

#include "csrc/core/crf/lattice.h"
#include "csrc/core/crf/lattice_key.h"
#include "csrc/cpu/crf/feature_range.h"
#include "csrc/cpu/crf/lattice_keys.h"
#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Many chunks balance the threads and keep a chunk's rows near; each more
// makes more vertices shared. A power of two of them suits most machines.
constexpr std::int64_t kLeastChunkPoints = 12288;
constexpr std::int64_t kMaxChunks = 32;
constexpr std::int64_t kVertexGrain = 1024;
// Look-ups in flight at once, so that they wait for memory together.
constexpr std::int64_t kBatch = 32;

// A power of two that is no less than `least`.
std::int64_t table_size(std::int64_t least) {
  std::int64_t size = 16;
  while (size < least) size *= 2;
  return size;
}

// Numbers keys in the order in which they first come.
template <typename Keys>
class KeyTable {
 public:
  using Element = typename Keys::Element;

  KeyTable(const Keys& policy, std::int64_t capacity)
      : policy_(policy), slots_(capacity, -1), mask_(capacity - 1) {}

  std::int64_t count() const { return count_; }
  const Element* key(std::int64_t id) const {
    return keys_.data() + id * policy_.size();
  }
  std::uint64_t hash(const Element* key) const { return policy_.hash(key); }
  void prefetch(std::uint64_t hash) const {
    __builtin_prefetch(&slots_[hash & mask_]);
  }
  void prefetch_key(std::uint64_t hash) const {
    const std::int32_t id = slots_[hash & mask_];
    if (id >= 0) __builtin_prefetch(key(id));
  }

  std::int32_t find(const Element* wanted, std::uint64_t hash) const {
    std::uint64_t slot = hash & mask_;
    while (slots_[slot] >= 0 && !policy_.same(key(slots_[slot]), wanted)) {
      slot = (slot + 1) & mask_;
    }
    return slots_[slot];
  }

  std::int32_t insert(const Element* wanted, std::uint64_t hash) {
    std::uint64_t slot = hash & mask_;
    while (slots_[slot] >= 0) {
      if (policy_.same(key(slots_[slot]), wanted)) return slots_[slot];
      slot = (slot + 1) & mask_;
    }
    const auto id = static_cast<std::int32_t>(count_++);
    slots_[slot] = id;
    keys_.insert(keys_.end(), wanted, wanted + policy_.size());
    if (2 * count_ > static_cast<std::int64_t>(slots_.size())) grow();
    return id;
  }

 private:
  void grow() {
    slots_.assign(2 * slots_.size(), -1);
    mask_ = slots_.size() - 1;
    for (std::int64_t id = 0; id < count_; ++id) {
      std::uint64_t slot = policy_.hash(key(id)) & mask_;
      while (slots_[slot] >= 0) slot = (slot + 1) & mask_;
      slots_[slot] = static_cast<std::int32_t>(id);
    }
  }

  const Keys& policy_;
  std::vector<std::int32_t> slots_;
  std::uint64_t mask_;
  std::vector<Element> keys_;
  std::int64_t count_ = 0;
};

// Embeds a chunk's points and numbers their vertices.
template <typename Keys, typename scalar_t>
bool number_rows(const scalar_t* features, int d, const PointChunks& chunks,
                 std::int64_t chunk, const Keys& policy, KeyTable<Keys>& table,
                 std::int32_t* rows, scalar_t* weights,
                 std::int32_t* tile_rows) {
  const int corners = d + 1;
  const std::int64_t stride = policy.size();
  std::vector<typename Keys::Element> keys(kEmbedBlock * corners * stride);
  std::vector<std::uint64_t> hashes(kPointTile * corners);
  for (std::int64_t block = chunks.begin(chunk); block < chunks.end(chunk);
       block += kEmbedBlock) {
    auto* own = keys.data();
    const std::int64_t points =
        std::min(kEmbedBlock, chunks.end(chunk) - block);
    if (!row_kernels<scalar_t>().embed(
            features + block * d, d, policy.packing(), policy.codes(own),
            policy.vectors(own), weights + block * corners, 0, points)) {
      return false;
    }
    for (std::int64_t first = block; first < block + points;
         first += kPointTile, own += kPointTile * corners * stride) {
      const std::int64_t n = std::min(kPointTile, block + points - first);
      for (std::int64_t e = 0; e < n * corners; ++e) {
        hashes[e] = table.hash(own + e * stride);
        table.prefetch(hashes[e]);
      }
      std::int32_t* out = rows + first * corners;
      for (std::int64_t e = 0; e < n * corners; ++e) {
        out[e] = table.insert(own + e * stride, hashes[e]);
      }
      tile_rows[first / kPointTile] = static_cast<std::int32_t>(table.count());
    }
  }
  return true;
}

// Numbers the vertices of all chunks by first appearance.
template <typename Keys>
KeyTable<Keys> merge(const Keys& policy,
                     const std::vector<KeyTable<Keys>>& tables,
                     ChunkedLattice& out) {
  KeyTable<Keys> all(policy, table_size(2 * out.row_count()));
  out.vertex_of_row = make_buffer<std::int32_t>(out.row_count());
  std::vector<std::uint64_t> hashes;
  for (std::size_t c = 0; c < tables.size(); ++c) {
    const KeyTable<Keys>& own = tables[c];
    hashes.resize(own.count());
    for (std::int64_t r = 0; r < own.count(); ++r) {
      hashes[r] = own.hash(own.key(r));
    }
    for (std::int64_t r = 0; r < own.count(); ++r) {
      if (r + kBatch < own.count()) all.prefetch(hashes[r + kBatch]);
      const std::int64_t row = out.first_row[c] + r;
      const std::int32_t vertex = all.insert(own.key(r), hashes[r]);
      out.vertex_of_row[row] = vertex;
      if (vertex == out.vertex_count()) {
        out.row_of_vertex.push_back(static_cast<std::int32_t>(row));
      }
    }
  }
  return all;
}

template <typename Keys>
void find_neighbors(const Keys& policy, const KeyTable<Keys>& table, int d,
                    std::int32_t* after) {
  const std::int64_t count = table.count();
  const std::int64_t stride = policy.size();
  parallel_for(
      0, count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<typename Keys::Element> wanted(kBatch * stride);
        std::uint64_t hashes[kBatch];
        for (std::int64_t first = begin; first < end; first += kBatch) {
          const std::int64_t n = std::min(kBatch, end - first);
          for (int axis = 0; axis <= d; ++axis) {
            for (std::int64_t i = 0; i < n; ++i) {
              policy.neighbor(table.key(first + i), axis,
                              wanted.data() + i * stride);
              hashes[i] = table.hash(wanted.data() + i * stride);
              table.prefetch(hashes[i]);
            }
            for (std::int64_t i = 0; i < n; ++i) table.prefetch_key(hashes[i]);
            for (std::int64_t i = 0; i < n; ++i) {
              after[axis * count + first + i] =
                  table.find(wanted.data() + i * stride, hashes[i]);
            }
          }
        }
      });
}

template <typename Keys, typename scalar_t>
bool build(const scalar_t* features, int d, const KeyPacking& packing,
           std::int32_t* rows, scalar_t* weights, ChunkedLattice& out) {
  const Keys policy(packing, d);
  const PointChunks& chunks = out.chunks;
  std::vector<KeyTable<Keys>> tables(
      chunks.count, KeyTable<Keys>(policy, table_size(chunks.chunk_points)));
  out.tile_rows.resize(tile_count(chunks.points));
  std::atomic<bool> good{true};
  parallel_tasks(chunks.count, [&](TaskQueue& queue) {
    for (std::int64_t chunk; queue.take(&chunk);) {
      if (!number_rows(features, d, chunks, chunk, policy, tables[chunk], rows,
                       weights, out.tile_rows.data())) {
        good = false;
      }
    }
  });
  if (!good) return false;
  out.first_row.assign(1, 0);
  for (const KeyTable<Keys>& table : tables) {
    out.first_row.push_back(out.first_row.back() + table.count());
  }
  const KeyTable<Keys> all = merge(policy, tables, out);
  tables.clear();
  out.after = make_buffer<std::int32_t>((d + 1) * all.count());
  find_neighbors(policy, all, d, out.after.get());
  return true;
}

}  // namespace

PointChunks::PointChunks(std::int64_t points) : points(points) {
  std::int64_t wanted = 1;
  while (wanted < kMaxChunks && 2 * wanted * kLeastChunkPoints <= points) {
    wanted *= 2;
  }
  const std::int64_t share = (points + wanted - 1) / wanted;
  chunk_points = std::max(kPointTile, tile_count(share) * kPointTile);
  count = (points + chunk_points - 1) / chunk_points;
}

template <typename scalar_t>
bool build_chunks(const scalar_t* features, int d, std::int32_t* rows,
                  scalar_t* weights, ChunkedLattice& out) {
  if (out.chunks.points == 0) {
    out.first_row.assign(1, 0);
    return true;
  }
  const FeatureRange<scalar_t> range =
      feature_range(features, out.chunks.points, d);
  const KeyPacking packing =
      key_packing(range.least.data(), range.most.data(), d);
  return packing.fits
             ? build<PackedKeys>(features, d, packing, rows, weights, out)
             : build<VectorKeys>(features, d, packing, rows, weights, out);
}

template bool build_chunks(const float*, int, std::int32_t*, float*,
                           ChunkedLattice&);
template bool build_chunks(const double*, int, std::int32_t*, double*,
                           ChunkedLattice&);

RowRuns blur_runs(const ChunkedLattice& lattice, int axis) {
  const std::int64_t count = lattice.vertex_count();
  const std::int32_t* after = lattice.after.get() + axis * count;
  std::vector<bool> follows(count);
  std::int64_t length = 0;
  for (std::int64_t v = 0; v < count; ++v) {
    if (after[v] >= 0) {
      follows[after[v]] = true;
      ++length;
    }
  }
  RowRuns runs;
  runs.reserve(2 * length);
  for (std::int64_t v = 0; v < count; ++v) {
    if (follows[v] || after[v] < 0) continue;
    std::int32_t at = static_cast<std::int32_t>(v);
    for (; after[at] >= 0; at = after[at]) {
      runs.push_back(lattice.row_of_vertex[at]);
    }
    runs.push_back(~lattice.row_of_vertex[at]);
  }
  runs.shrink_to_fit();
  return runs;
}

RowRuns shared_runs(const ChunkedLattice& lattice) {
  const std::int64_t rows = lattice.row_count();
  std::vector<std::int32_t> head(lattice.vertex_count(), -1);
  const auto next = make_buffer<std::int32_t>(rows);
  for (std::int64_t row = rows - 1; row >= 0; --row) {
    const std::int32_t vertex = lattice.vertex_of_row[row];
    next[row] = head[vertex];
    head[vertex] = static_cast<std::int32_t>(row);
  }
  RowRuns runs;
  for (std::int64_t v = 0; v < lattice.vertex_count(); ++v) {
    if (next[head[v]] < 0) continue;
    std::int32_t row = head[v];
    for (; next[row] >= 0; row = next[row]) runs.push_back(row);
    runs.push_back(~row);
  }
  return runs;
}

}  // namespace deeplab
