// Included by row_kernels_*.cpp inside a namespace of their instruction set.

// Channels of one vector; rows of whole vectors take the fast paths.
constexpr std::int64_t kLanes = 8;
// Vectors of a row kept in registers at once.
constexpr std::int64_t kMaxVectors = 8;
// Rows fetched ahead of their use: they come in no order the processor knows.
constexpr std::int64_t kAhead = 6;
constexpr std::int64_t kPointsAhead = 3;

template <typename scalar_t>
struct VectorOf {
  // Aligned as its elements: rows start anywhere.
  typedef scalar_t Type __attribute__((vector_size(kLanes * sizeof(scalar_t)),
                                       aligned(sizeof(scalar_t))));
};

// kVectors vectors, in registers where it is a local variable.
template <typename scalar_t, int kVectors>
struct Row {
  using Vector = typename VectorOf<scalar_t>::Type;
  Vector part[kVectors];

  static Row load(const scalar_t* from) {
    Row row;
    for (int k = 0; k < kVectors; ++k) {
      row.part[k] = *reinterpret_cast<const Vector*>(from + k * kLanes);
    }
    return row;
  }
  void store(scalar_t* to) const {
    for (int k = 0; k < kVectors; ++k) {
      *reinterpret_cast<Vector*>(to + k * kLanes) = part[k];
    }
  }
  void clear() {
    for (int k = 0; k < kVectors; ++k) part[k] = Vector{};
  }
  void add_scaled(const Row& other, scalar_t factor) {
    for (int k = 0; k < kVectors; ++k) part[k] += factor * other.part[k];
  }
};

inline void prefetch_row(const void* row, std::int64_t bytes) {
  const char* line = static_cast<const char*>(row);
  for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(line + at);
}

// Calls fn(constant vector count, first channel) for pieces of a row whose
// width is a multiple of kLanes.
template <typename Function>
inline void for_each_piece(std::int64_t width, const Function& fn) {
  for (std::int64_t c = 0; c < width; c += kMaxVectors * kLanes) {
    const std::int64_t vectors = (width - c) / kLanes;
    switch (vectors < kMaxVectors ? vectors : kMaxVectors) {
      case 1:
        fn(std::integral_constant<int, 1>(), c);
        break;
      case 2:
        fn(std::integral_constant<int, 2>(), c);
        break;
      case 3:
        fn(std::integral_constant<int, 3>(), c);
        break;
      case 4:
        fn(std::integral_constant<int, 4>(), c);
        break;
      case 5:
        fn(std::integral_constant<int, 5>(), c);
        break;
      case 6:
        fn(std::integral_constant<int, 6>(), c);
        break;
      case 7:
        fn(std::integral_constant<int, 7>(), c);
        break;
      default:
        fn(std::integral_constant<int, 8>(), c);
        break;
    }
  }
}

// `features` is a constant where kFeatures is one, so that loops unroll.
template <typename scalar_t, int kFeatures>
bool embed_some(const scalar_t* features, int d, const KeyPacking* packing,
                std::uint64_t* codes, std::int32_t* keys, scalar_t* weights,
                std::int64_t begin, std::int64_t end) {
  constexpr int kCapacity = kFeatures > 0 ? kFeatures : kMaxFeatures;
  if (kFeatures > 0) d = kFeatures;
  scalar_t scales[kCapacity];
  for (int j = 0; j < d; ++j) scales[j] = feature_scale<scalar_t>(j, d);
  Simplex<scalar_t, kCapacity> simplex;
  for (std::int64_t i = begin; i < end; ++i) {
    if (!deeplab::embed(features + i * d, scales, d, simplex)) return false;
    for (int q = 0; q <= d; ++q) {
      weights[i * (d + 1) + q] = simplex.barycentric[q];
    }
    if (packing != nullptr) {
      pack_vertices(simplex, d, *packing, codes + i * (d + 1));
      continue;
    }
    for (int q = 0; q <= d; ++q) {
      for (int j = 0; j < d; ++j) {
        keys[(i * (d + 1) + q) * d + j] = vertex_coordinate(simplex, q, j, d);
      }
    }
  }
  return true;
}

template <typename scalar_t>
bool embed_points(const scalar_t* features, int d, const KeyPacking* packing,
                  std::uint64_t* codes, std::int32_t* keys, scalar_t* weights,
                  std::int64_t begin, std::int64_t end) {
  switch (d) {
    case 2:
      return embed_some<scalar_t, 2>(features, d, packing, codes, keys, weights,
                                     begin, end);
    case 5:
      return embed_some<scalar_t, 5>(features, d, packing, codes, keys, weights,
                                     begin, end);
    default:
      return embed_some<scalar_t, 0>(features, d, packing, codes, keys, weights,
                                     begin, end);
  }
}

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
  for_each_piece(width, [&](auto vectors, std::int64_t c) {
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

template <typename scalar_t>
void blur(const std::int32_t* chain, std::int64_t length, std::int64_t width,
          scalar_t* rows, std::int64_t begin, std::int64_t end) {
  std::int64_t first = begin;
  while (first > 0 && first < end && chain[first - 1] >= 0) ++first;
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
  for_each_piece(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for (std::int64_t k = first; k < end;) {
      Piece before;
      before.clear();
      scalar_t* place = rows + chain_vertex(chain[k]) * width + c;
      Piece center = Piece::load(place);
      bool last = false;
      while (!last) {
        last = chain[k] < 0;
        if (k + kAhead < length) {
          prefetch_row(rows + chain_vertex(chain[k + kAhead]) * width + c,
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
        Piece blurred;
        for (int p = 0; p < decltype(vectors)::value; ++p) {
          blurred.part[p] =
              center.part[p] + scalar_t(0.5) * (before.part[p] + after.part[p]);
        }
        blurred.store(place);
        before = center;
        center = after;
        place = next;
        ++k;
      }
    }
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
inline void prefetch_corners(const LatticeView<scalar_t>& lattice,
                             const scalar_t* rows, std::int64_t width,
                             std::int64_t bytes, std::int64_t i) {
  if (i >= lattice.points) return;
  const std::int64_t corners = lattice.features + 1;
  for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
    prefetch_row(rows + lattice.vertices[q] * width, bytes);
  }
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
  for_each_piece(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    for (std::int64_t i = begin; i < end; ++i) {
      Piece scaled;
      scaled.clear();
      scaled.add_scaled(gather<Piece>(lattice, rows + c, width, i), scale);
      scaled.store(out + i * width + c);
    }
  });
}

// Largest and, below, the sum of a row of `width` (a multiple of kLanes)
// values, over kLanes interleaved parts: the same for every instruction set.
template <typename scalar_t>
inline scalar_t row_max(const scalar_t* row, std::int64_t width) {
  using Vector = typename VectorOf<scalar_t>::Type;
  Vector part = *reinterpret_cast<const Vector*>(row);
  for (std::int64_t c = kLanes; c < width; c += kLanes) {
    const Vector next = *reinterpret_cast<const Vector*>(row + c);
    part = next > part ? next : part;
  }
  scalar_t max = part[0];
  for (int k = 1; k < kLanes; ++k) max = part[k] > max ? part[k] : max;
  return max;
}

template <typename scalar_t>
inline scalar_t row_sum(const scalar_t* row, std::int64_t width) {
  using Vector = typename VectorOf<scalar_t>::Type;
  Vector part{};
  for (std::int64_t c = 0; c < width; c += kLanes) {
    part += *reinterpret_cast<const Vector*>(row + c);
  }
  scalar_t sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += part[k];
  return sum;
}

// marginals [n, width] = softmax of logits [n, width], which it overwrites.
// Row after row would wait for each row's maximum and sum; step after step over
// all rows, the processor overlaps them.
template <typename scalar_t>
inline void softmax_rows(scalar_t* __restrict logits, std::int64_t n,
                         std::int64_t width, scalar_t* __restrict marginals) {
  for (std::int64_t i = 0; i < n; ++i) {
    scalar_t* __restrict row = logits + i * width;
    const scalar_t max = row_max(row, width);
    for (std::int64_t c = 0; c < width; ++c) row[c] -= max;
  }
  for (std::int64_t k = 0; k < n * width; ++k) {
    marginals[k] = exp_nonpositive(logits[k]);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    scalar_t* __restrict row = marginals + i * width;
    const scalar_t inverse = scalar_t(1) / row_sum(row, width);
    for (std::int64_t c = 0; c < width; ++c) row[c] *= inverse;
  }
}

template <typename scalar_t>
void update(const UpdateArguments<scalar_t>& arguments, scalar_t* scratch,
            std::int64_t begin, std::int64_t end) {
  const std::int64_t width = arguments.width;
  const int labels = static_cast<int>(arguments.labels);
  scalar_t* message = scratch;
  scalar_t* logits = scratch + kUpdateTile * width;
  for (std::int64_t first = begin; first < end; first += kUpdateTile) {
    const std::int64_t n =
        end - first < kUpdateTile ? end - first : kUpdateTile;
    for_each_piece(width, [&](auto vectors, std::int64_t c) {
      using Piece = Row<scalar_t, decltype(vectors)::value>;
      for (std::int64_t i = first; i < first + n; ++i) {
        Piece sum;
        if (arguments.message != nullptr) {
          sum = Piece::load(arguments.message + i * width + c);
        } else {
          sum.clear();
        }
        for (int m = 0; m < arguments.kernel_count; ++m) {
          const KernelRows<scalar_t>& kernel = arguments.kernels[m];
          prefetch_corners(kernel.lattice, kernel.rows + c, width,
                           sizeof(Piece), i + kPointsAhead);
          const scalar_t scale = kernel.output_scale != nullptr
                                     ? kernel.output_scale[i]
                                     : kernel.constant_scale;
          sum.add_scaled(
              gather<Piece>(kernel.lattice, kernel.rows + c, width, i), scale);
        }
        sum.store(message + (i - first) * width + c);
      }
    });
    const scalar_t* base = arguments.logits + first * width;
    if (arguments.kind == Compatibility::kPotts) {
      for (std::int64_t k = 0; k < n * width; ++k) {
        logits[k] = base[k] + message[k];
      }
    } else {
      for (std::int64_t k = 0; k < n * width; ++k) logits[k] = base[k];
      for (std::int64_t i = 0; i < n; ++i) {
        for (int l = 0; l < labels; ++l) {
          logits[i * width + l] -=
              pairwise_energy(message + i * width, l, labels, arguments.kind,
                              arguments.compatibility);
        }
      }
    }
    softmax_rows(logits, n, width, arguments.marginals + first * width);
  }
}

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
      for_each_piece(width, [&](auto vectors, std::int64_t c) {
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
  return {embed_points<scalar_t>, splat<scalar_t>,  blur<scalar_t>,
          slice<scalar_t>,        update<scalar_t>, exact<scalar_t>};
}
