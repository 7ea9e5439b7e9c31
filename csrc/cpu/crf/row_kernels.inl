// Included by row_kernels_*.cpp inside a namespace of their instruction set.

// Channels of one vector; rows of whole vectors take the fast paths.
constexpr std::int64_t kLanes = 8;
// Rows fetched ahead of their use: they come in no order the processor knows.
constexpr std::int64_t kAhead = 6;
constexpr std::int64_t kRunsAhead = 32;
constexpr std::int64_t kPointsAhead = 3;

template <typename scalar_t>
struct VectorOf {
  // Aligned as its elements: rows start anywhere.
  typedef scalar_t Type __attribute__((vector_size(kLanes * sizeof(scalar_t)),
                                       aligned(sizeof(scalar_t))));
  // Two at once, where a register holds as much.
  typedef scalar_t Wide __attribute__((
      vector_size(2 * kLanes * sizeof(scalar_t)), aligned(sizeof(scalar_t))));
  using Integer = typename std::conditional<sizeof(scalar_t) == 4, std::int32_t,
                                            std::int64_t>::type;
  typedef Integer Mask __attribute__((vector_size(kLanes * sizeof(scalar_t))));
};

// Vectors of a row kept in registers at once: they fill half of AVX2's 16, or
// of SSE's.
template <typename scalar_t>
constexpr int kMaxVectors = std::min<int>(8, 8 * DEEPLAB_VECTOR_BYTES /
                                                 (kLanes * sizeof(scalar_t)));

// kVectors vectors, in registers where it is a local variable.
template <typename scalar_t, int kVectors>
struct Row {
  using Vector = typename VectorOf<scalar_t>::Type;
  using Wide = typename VectorOf<scalar_t>::Wide;
  static constexpr int kWide =
      sizeof(Wide) <= DEEPLAB_VECTOR_BYTES ? kVectors / 2 : 0;
  static constexpr int kRest = kVectors - 2 * kWide;
  Wide wide[kWide > 0 ? kWide : 1];
  Vector rest[kRest > 0 ? kRest : 1];

  static Row load(const scalar_t* from) {
    Row row;
    for (int k = 0; k < kWide; ++k) {
      row.wide[k] = *reinterpret_cast<const Wide*>(from + 2 * k * kLanes);
    }
    for (int k = 0; k < kRest; ++k) {
      row.rest[k] =
          *reinterpret_cast<const Vector*>(from + (2 * kWide + k) * kLanes);
    }
    return row;
  }
  void store(scalar_t* to) const {
    for (int k = 0; k < kWide; ++k) {
      *reinterpret_cast<Wide*>(to + 2 * k * kLanes) = wide[k];
    }
    for (int k = 0; k < kRest; ++k) {
      *reinterpret_cast<Vector*>(to + (2 * kWide + k) * kLanes) = rest[k];
    }
  }
  void clear() {
    for (int k = 0; k < kWide; ++k) wide[k] = Wide{};
    for (int k = 0; k < kRest; ++k) rest[k] = Vector{};
  }
  void add(const Row& other) {
    for (int k = 0; k < kWide; ++k) wide[k] += other.wide[k];
    for (int k = 0; k < kRest; ++k) rest[k] += other.rest[k];
  }
  void add_scaled(const Row& other, scalar_t factor) {
    for (int k = 0; k < kWide; ++k) wide[k] += factor * other.wide[k];
    for (int k = 0; k < kRest; ++k) rest[k] += factor * other.rest[k];
  }
  // The larger of each element and the other's.
  void raise(const Row& other) {
    for (int k = 0; k < kWide; ++k) {
      wide[k] = other.wide[k] > wide[k] ? other.wide[k] : wide[k];
    }
    for (int k = 0; k < kRest; ++k) {
      rest[k] = other.rest[k] > rest[k] ? other.rest[k] : rest[k];
    }
  }
};

// blur_step on whole rows.
template <typename scalar_t, int kVectors>
inline Row<scalar_t, kVectors> blurred(const Row<scalar_t, kVectors>& center,
                                       const Row<scalar_t, kVectors>& before,
                                       const Row<scalar_t, kVectors>& after) {
  using Piece = Row<scalar_t, kVectors>;
  Piece sides = before;
  sides.add(after);
  Piece row = center;
  row.add_scaled(sides, scalar_t(0.5));
  return row;
}

inline void prefetch_row(const void* row, std::int64_t bytes) {
  const char* line = static_cast<const char*>(row);
  for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(line + at);
}

// n, and the most there is where no row comes as far.
template <typename scalar_t, int n>
using Vectors = std::integral_constant<int, std::min(n, kMaxVectors<scalar_t>)>;

// Calls fn(constant vector count, first channel) for pieces of a row whose
// width is a multiple of kLanes.
template <typename scalar_t, typename Function>
inline void for_each_piece(std::int64_t width, const Function& fn) {
  constexpr std::int64_t most = kMaxVectors<scalar_t>;
  for (std::int64_t c = 0; c < width; c += most * kLanes) {
    switch (std::min((width - c) / kLanes, most)) {
      case 1:
        fn(Vectors<scalar_t, 1>(), c);
        break;
      case 2:
        fn(Vectors<scalar_t, 2>(), c);
        break;
      case 3:
        fn(Vectors<scalar_t, 3>(), c);
        break;
      case 4:
        fn(Vectors<scalar_t, 4>(), c);
        break;
      case 5:
        fn(Vectors<scalar_t, 5>(), c);
        break;
      case 6:
        fn(Vectors<scalar_t, 6>(), c);
        break;
      case 7:
        fn(Vectors<scalar_t, 7>(), c);
        break;
      default:
        fn(Vectors<scalar_t, 8>(), c);
        break;
    }
  }
}

#include "csrc/cpu/crf/embed_kernel.inl"

// Lattice coordinates round alike on every machine; sums of rows need not, and
// fused multiply-adds halve their instructions.
#if DEEPLAB_VECTOR_BYTES >= 32
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#endif

template <typename scalar_t>
void splat(const SplatList<scalar_t>& list, const scalar_t* values,
           std::int64_t width, scalar_t* rows, std::int64_t begin,
           std::int64_t end) {
  const std::int32_t* offsets = list.offsets;
  if (width % kLanes != 0) {
    for (std::int64_t v = begin; v < end; ++v) {
      for (std::int64_t c = 0; c < width; ++c) {
        scalar_t sum = 0;
        for (std::int64_t k = offsets[v]; k < offsets[v + 1]; ++k) {
          sum += list.weights[k] * values[list.points[k] * width + c];
        }
        rows[v * width + c] = sum;
      }
    }
    return;
  }
  const std::int64_t total = offsets[end];
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for (std::int64_t v = begin; v < end; ++v) {
      Piece sum;
      sum.clear();
      for (std::int64_t k = offsets[v]; k < offsets[v + 1]; ++k) {
        if (k + kAhead < total) {
          prefetch_row(values + list.points[k + kAhead] * width + c,
                       sizeof(Piece));
        }
        sum.add_scaled(Piece::load(values + list.points[k] * width + c),
                       list.weights[k]);
      }
      sum.store(rows + v * width + c);
    }
  });
}

// Vertex of a chain's position; ~id marks the last of a run.
inline std::int64_t chain_vertex(std::int32_t id) { return id >= 0 ? id : ~id; }

// First position of [begin, end) at which a run starts.
inline std::int64_t first_run(const std::int32_t* runs, std::int64_t begin,
                              std::int64_t end) {
  while (begin > 0 && begin < end && runs[begin - 1] >= 0) ++begin;
  return begin;
}

template <typename scalar_t>
void blur(const std::int32_t* chain, std::int64_t length, std::int64_t width,
          scalar_t* rows, std::int64_t begin, std::int64_t end) {
  const std::int64_t first = first_run(chain, begin, end);
  if (width % kLanes != 0) {
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t k = first; k < end;) {
        scalar_t before = 0;
        bool last = false;
        while (!last) {
          last = chain[k] < 0;
          scalar_t& value = rows[chain_vertex(chain[k]) * width + c];
          const scalar_t after =
              last ? scalar_t(0) : rows[chain_vertex(chain[k + 1]) * width + c];
          const scalar_t center = value;
          value = blur_step(center, before, after);
          before = center;
          ++k;
        }
      }
    }
    return;
  }
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for (std::int64_t k = first; k < end;) {
      Piece before;
      before.clear();
      scalar_t* place = rows + chain_vertex(chain[k]) * width + c;
      Piece center = Piece::load(place);
      bool last = false;
      while (!last) {
        last = chain[k] < 0;
        if (k + kRunsAhead < length) {
          prefetch_row(rows + chain_vertex(chain[k + kRunsAhead]) * width + c,
                       sizeof(Piece));
        }
        scalar_t* next = place;
        Piece after;
        if (last) {
          after.clear();
        } else {
          next = rows + chain_vertex(chain[k + 1]) * width + c;
          after = Piece::load(next);
        }
        blurred(center, before, after).store(place);
        before = center;
        center = after;
        place = next;
        ++k;
      }
    }
  });
}

// Calls fn(row, first row of its run) for the rows of runs that start within
// [begin, end), but for the first rows.
template <typename Function>
inline void for_each_other(const std::int32_t* runs, std::int64_t length,
                           std::int64_t begin, std::int64_t end,
                           const Function& fn) {
  for (std::int64_t k = first_run(runs, begin, end); k < end; ++k) {
    const std::int64_t first = runs[k];
    do {
      ++k;
      fn(chain_vertex(runs[k]), first,
         k + kRunsAhead < length ? chain_vertex(runs[k + kRunsAhead]) : first);
    } while (runs[k] >= 0);
  }
}

template <typename scalar_t>
void combine(const std::int32_t* runs, std::int64_t length, std::int64_t width,
             scalar_t* rows, std::int64_t begin, std::int64_t end) {
  if (width % kLanes != 0) {
    for_each_other(runs, length, begin, end,
                   [&](std::int64_t row, std::int64_t first, std::int64_t) {
                     for (std::int64_t c = 0; c < width; ++c) {
                       rows[first * width + c] += rows[row * width + c];
                     }
                   });
    return;
  }
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for_each_other(
        runs, length, begin, end,
        [&](std::int64_t row, std::int64_t first, std::int64_t ahead) {
          prefetch_row(rows + ahead * width + c, sizeof(Piece));
          Piece sum = Piece::load(rows + first * width + c);
          sum.add(Piece::load(rows + row * width + c));
          sum.store(rows + first * width + c);
        });
  });
}

template <typename scalar_t>
void spread(const std::int32_t* runs, std::int64_t length, std::int64_t width,
            scalar_t* rows, std::int64_t begin, std::int64_t end) {
  if (width % kLanes != 0) {
    for_each_other(runs, length, begin, end,
                   [&](std::int64_t row, std::int64_t first, std::int64_t) {
                     for (std::int64_t c = 0; c < width; ++c) {
                       rows[row * width + c] = rows[first * width + c];
                     }
                   });
    return;
  }
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for_each_other(
        runs, length, begin, end,
        [&](std::int64_t row, std::int64_t first, std::int64_t ahead) {
          prefetch_row(rows + ahead * width + c, sizeof(Piece));
          Piece::load(rows + first * width + c).store(rows + row * width + c);
        });
  });
}

// sum over point i's simplex of weight * row, for one piece of the rows.
template <typename Piece, typename scalar_t>
inline Piece gather(const LatticeView<scalar_t>& lattice, const scalar_t* rows,
                    std::int64_t width, std::int64_t i) {
  const std::int64_t corners = lattice.features + 1;
  Piece sum;
  sum.clear();
  for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
    sum.add_scaled(Piece::load(rows + lattice.vertices[q] * width),
                   lattice.weights[q]);
  }
  return sum;
}

template <typename scalar_t>
void slice(const LatticeView<scalar_t>& lattice, const scalar_t* rows,
           scalar_t scale, std::int64_t width, scalar_t* out,
           std::int64_t begin, std::int64_t end) {
  const std::int64_t corners = lattice.features + 1;
  if (width % kLanes != 0) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t c = 0; c < width; ++c) {
        scalar_t sum = 0;
        for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
          sum += lattice.weights[q] * rows[lattice.vertices[q] * width + c];
        }
        out[i * width + c] = scale * sum;
      }
    }
    return;
  }
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for (std::int64_t i = begin; i < end; ++i) {
      Piece scaled;
      scaled.clear();
      scaled.add_scaled(gather<Piece>(lattice, rows + c, width, i), scale);
      scaled.store(out + i * width + c);
    }
  });
}

#include "csrc/cpu/crf/update_kernel.inl"

// weights [kExactBlock, kExactBlock] of rows i0.. against columns j0..
template <typename scalar_t>
inline void block_weights(const ExactBlocks<scalar_t>& blocks, std::int64_t i0,
                          std::int64_t rows, std::int64_t j0,
                          std::int64_t columns, scalar_t* weights) {
  for (std::int64_t i = 0; i < rows; ++i) {
    scalar_t* __restrict row = weights + i * kExactBlock;
    for (std::int64_t j = 0; j < columns; ++j) row[j] = 0;
    for (int f = 0; f < blocks.features; ++f) {
      const scalar_t* __restrict feature =
          blocks.by_feature + f * blocks.points;
      const scalar_t own = feature[i0 + i];
      for (std::int64_t j = 0; j < columns; ++j) {
        const scalar_t gap = feature[j0 + j] - own;
        row[j] += gap * gap;
      }
    }
    for (std::int64_t j = 0; j < columns; ++j) row[j] = gaussian_weight(row[j]);
  }
}

template <typename scalar_t>
void exact(const ExactBlocks<scalar_t>& blocks, const scalar_t* values,
           std::int64_t width, scalar_t* out, scalar_t* skipped,
           std::int64_t begin, std::int64_t end) {
  const std::int64_t points = blocks.points;
  const std::int64_t box = 2 * blocks.features;
  for (std::int64_t b = begin; b < end; ++b) {
    const std::int64_t i0 = b * kExactBlock;
    const std::int64_t rows =
        points - i0 < kExactBlock ? points - i0 : kExactBlock;
    for (std::int64_t k = 0; k < rows * width; ++k) out[i0 * width + k] = 0;
    scalar_t left_out = 0;
    for (std::int64_t j0 = 0; j0 < points; j0 += kExactBlock) {
      const std::int64_t columns =
          points - j0 < kExactBlock ? points - j0 : kExactBlock;
      if (blocks.skip_below > 0) {
        const scalar_t most = gaussian_weight(box_distance(
            blocks.boxes + b * box, blocks.boxes + j0 / kExactBlock * box,
            blocks.features));
        if (most < blocks.skip_below) {
          left_out += most * static_cast<scalar_t>(columns);
          continue;
        }
      }
      scalar_t weights[kExactBlock * kExactBlock];
      block_weights(blocks, i0, rows, j0, columns, weights);
      if (width % kLanes != 0) {
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) {
            const scalar_t weight = weights[i * kExactBlock + j];
            for (std::int64_t c = 0; c < width; ++c) {
              out[(i0 + i) * width + c] +=
                  weight * values[(j0 + j) * width + c];
            }
          }
        }
        continue;
      }
      for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
        using Piece = Row<scalar_t, decltype(vectors)::value>;
        for (std::int64_t i = 0; i < rows; ++i) {
          scalar_t* place = out + (i0 + i) * width + c;
          Piece sum = Piece::load(place);
          for (std::int64_t j = 0; j < columns; ++j) {
            sum.add_scaled(Piece::load(values + (j0 + j) * width + c),
                           weights[i * kExactBlock + j]);
          }
          sum.store(place);
        }
      });
    }
    if (skipped != nullptr) {
      for (std::int64_t i = 0; i < rows; ++i) skipped[i0 + i] = left_out;
    }
  }
}

template <typename scalar_t>
constexpr RowKernels<scalar_t> table() {
  return {embed_points<scalar_t>, splat<scalar_t>,     blur<scalar_t>,
          slice<scalar_t>,        combine<scalar_t>,   spread<scalar_t>,
          update<scalar_t>,       transpose<scalar_t>, exact<scalar_t>};
}

#if DEEPLAB_VECTOR_BYTES >= 32
#pragma GCC pop_options
#endif
