// The order of the steps that build a batch's lattice and filter over it. An
// Executor runs a step's items:
//   for_each(n, f), for_each(n, layers, f)   f(k) or f(k, layer) for every
//   item,
//                                            in any order and all at once
//   fill(places, byte, bytes)
//   exclusive_sum(in, out, n)                int32
//   sort_pairs(keys, sorted_keys, values, sorted_values, n, bits)
//                                            stable, by the low `bits` bits
// each after the one before is done. The CUDA launchers run them as kernels on
// a stream, the C++ tests as loops.
#pragma once

#include <cstdint>
#include <utility>

#include "csrc/core/arena.h"
#include "csrc/core/crf/batch/build.h"
#include "csrc/core/crf/batch/rows.h"

namespace deeplab {

// Takes the scratch memory of a build whose inputs and outputs are set.
// Slots for `entries` insertions at a load of at most one half.
inline std::int64_t table_capacity(std::int64_t entries) {
  std::int64_t capacity = 16;
  while (capacity < 2 * entries) capacity *= 2;
  return capacity;
}

template <typename scalar_t>
void take_scratch(Arena& arena, BatchBuild<scalar_t>& build) {
  const std::int64_t entries = build.entries();
  const int d = build.d;
  build.coarse = arena.take<scalar_t>(kCoarseParts * 2 * d);
  build.fine = arena.take<scalar_t>(kFineParts * 2 * d);
  build.scales = arena.take<scalar_t>(d);
  build.keys = arena.take<BatchKeys>(1);
  build.bad = arena.take<std::int32_t>(1);
  // Packed keys need 8 bytes an entry, vectors 4 d.
  build.codes = arena.take<std::uint64_t>(entries * (d > 2 ? (d + 1) / 2 : 1));
  build.vectors = reinterpret_cast<std::int32_t*>(build.codes);
  build.capacity = table_capacity(entries);
  build.slot_code = arena.take<std::uint64_t>(build.capacity);
  build.slot_first = arena.take<std::int32_t>(build.capacity);
  for (std::int32_t** each :
       {&build.slot_of, &build.first, &build.number, &build.first_entry,
        &build.entry_vertex, &build.sequence}) {
    *each = arena.take<std::int32_t>(entries);
  }
}

// Embeds the points, numbers the vertices by first appearance and writes their
// count.
template <typename Executor, typename scalar_t>
void number_vertices(Executor& run, const BatchBuild<scalar_t>& build) {
  const int d = build.d;
  const std::int64_t entries = build.entries();
  run.fill(build.bad, 0, sizeof(*build.bad));
  run.fill(build.slot_code, 0xff, build.capacity * sizeof(*build.slot_code));
  run.fill(build.slot_first, 0x7f, build.capacity * sizeof(*build.slot_first));
  run.for_each(
      kCoarseParts * d,
      LeastMostAt<scalar_t>{build.features, build.features, build.points, d, d,
                            kCoarseParts, build.coarse});
  run.for_each(kFineParts * d, LeastMostAt<scalar_t>{
                                   build.coarse, build.coarse + d, kCoarseParts,
                                   2 * d, d, kFineParts, build.fine});
  run.for_each(1, BudgetAt<scalar_t>{build});
  // DeepLab's two kernels have 2 and 5 features.
  if (d == 2) {
    run.for_each(build.points, EmbedAt<scalar_t, 2, 2>{build});
  } else if (d == 5) {
    run.for_each(build.points, EmbedAt<scalar_t, 5, 5>{build});
  } else if (d <= 6) {
    run.for_each(build.points, EmbedAt<scalar_t, 0, 6>{build});
  } else {
    run.for_each(build.points, EmbedAt<scalar_t, 0, kMaxFeatures>{build});
  }
  run.for_each(entries, InsertAt<scalar_t>{build});
  run.for_each(entries, MarkFirstAt<scalar_t>{build});
  run.exclusive_sum(build.first, build.number, entries);
  run.for_each(entries, NumberAt<scalar_t>{build});
}

// Links the numbered vertices to their neighbours and entries.
template <typename Executor, typename scalar_t>
void link_vertices(Executor& run, const BatchBuild<scalar_t>& build,
                   const BatchLinks& links) {
  const int d = build.d;
  const std::int64_t entries = build.entries();
  const std::int64_t pairs = links.vertex_count * (d + 1);
  run.fill(links.neighbors, 0xff, 2 * pairs * sizeof(*links.neighbors));
  if (d <= 6) {
    run.for_each(pairs, NeighborAt<scalar_t, 6>{build, links});
  } else {
    run.for_each(pairs, NeighborAt<scalar_t, kMaxFeatures>{build, links});
  }
  run.sort_pairs(build.entry_vertex, links.sorted_vertices, build.sequence,
                 links.entries, entries,
                 links.vertex_count > 1 ? bits_for(links.vertex_count) : 1);
  run.for_each(entries, OffsetAt{links, entries});
}

// Fills the splat's reading list of a linked lattice; counts [V + 1] is
// scratch.
template <typename Executor, typename scalar_t>
void list_splat(Executor& run, const BatchLattice<scalar_t>& lattice,
                const std::int32_t* entries, std::int32_t* counts) {
  const std::int64_t vertices = lattice.vertex_count;
  run.for_each(lattice.entries(), SplatEntryAt<scalar_t>{lattice, entries});
  run.for_each(vertices + 1, PieceCountAt<scalar_t>{lattice, counts});
  run.exclusive_sum(counts, lattice.piece_offsets, vertices + 1);
  run.for_each(vertices, PieceOwnerAt<scalar_t>{lattice});
}

// One kernel's memory while `blocks` blocks of labels are filtered. The result
// of an even number of axes lies in `rows`, of an odd one there too: the splat
// begins where the last axis then ends in it.
template <typename scalar_t, typename storage_t>
struct FilterRows {
  BatchLattice<scalar_t> lattice;
  std::int64_t copies;
  storage_t* rows;    // [blocks, copies * V, 8]
  storage_t* spare;   // likewise
  scalar_t* partial;  // [blocks, copies * piece_bound, 8]
};

// rows = splat and blur of values [blocks, points, 8] (null: ones in the first
// label) of `count` kernels, each step of all in one launch.
template <typename Executor, typename scalar_t, typename storage_t>
void splat_and_blur(Executor& run,
                    const FilterRows<scalar_t, storage_t>* kernels, int count,
                    const storage_t* values, int blocks, bool reverse) {
  Parts<SplatAt<scalar_t, storage_t>> splat;
  Parts<CombineAt<scalar_t, storage_t>> combine;
  int axes = 0;
  for (int m = 0; m < count; ++m) {
    const FilterRows<scalar_t, storage_t>& kernel = kernels[m];
    const int corners = kernel.lattice.corners();
    axes = corners > axes ? corners : axes;
    storage_t* first = corners % 2 == 0 ? kernel.rows : kernel.spare;
    splat.add({kernel.lattice, kernel.copies, values, first, kernel.partial});
    combine.add({kernel.lattice, kernel.copies, kernel.partial, first});
  }
  run.for_each(splat.total(), blocks, splat);
  run.for_each(combine.total(), blocks, combine);
  for (int k = 0; k < axes; ++k) {
    Parts<BlurAt<scalar_t, storage_t>> blur;
    for (int m = 0; m < count; ++m) {
      const FilterRows<scalar_t, storage_t>& kernel = kernels[m];
      const int corners = kernel.lattice.corners();
      if (k >= corners) continue;
      const bool from_rows = (corners - k) % 2 == 0;
      blur.add({kernel.lattice, kernel.copies, reverse ? corners - 1 - k : k,
                from_rows ? kernel.rows : kernel.spare,
                from_rows ? kernel.spare : kernel.rows});
    }
    run.for_each(blur.total(), blocks, blur);
  }
}

// The memory in which values [points, channels] of one lattice are filtered,
// `blocks` blocks of them: the values in blocks, and the rows.
template <typename scalar_t>
std::pair<scalar_t*, FilterRows<scalar_t, scalar_t>> take_filter_rows(
    Arena& arena, const BatchLattice<scalar_t>& lattice, int blocks) {
  const std::int64_t rows = blocks * lattice.vertex_count * kRowBlock;
  scalar_t* blocked = arena.take<scalar_t>(blocks * lattice.points * kRowBlock);
  return {blocked,
          {lattice, 1, arena.take<scalar_t>(rows), arena.take<scalar_t>(rows),
           arena.take<scalar_t>(blocks * lattice.piece_bound() * kRowBlock)}};
}

// out [points, channels] = splat, blur, slice of values.
template <typename Executor, typename scalar_t>
void filter_values(Executor& run, const FilterRows<scalar_t, scalar_t>& rows,
                   const scalar_t* values, std::int64_t channels,
                   scalar_t* blocked, bool reverse, scalar_t* out) {
  const BatchLattice<scalar_t>& lattice = rows.lattice;
  const int blocks = static_cast<int>((channels + kRowBlock - 1) / kRowBlock);
  run.for_each(lattice.points, blocks,
               ToBlocksAt<scalar_t>{values, lattice.points, channels, blocked});
  splat_and_blur(run, &rows, 1, static_cast<const scalar_t*>(blocked), blocks,
                 reverse);
  run.for_each(lattice.points, blocks,
               SliceAt<scalar_t>{lattice, rows.rows,
                                 slice_scale<scalar_t>(lattice.features),
                                 channels, out});
}

}  // namespace deeplab
