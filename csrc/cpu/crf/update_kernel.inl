// Included by row_kernels.inl: the mean-field update of a tile of points, from
// the rows that the points read to the rows they add to.

// a, b interleaved as `...` says: entries below kLanes are a's, the rest b's.
#if defined(__clang__)
#define DEEPLAB_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define DEEPLAB_SHUFFLE(a, b, ...) \
  __builtin_shuffle(a, b, typename VectorOf<scalar_t>::Mask{__VA_ARGS__})
#endif

// to[k, i] = from[i, k] for i, k < 8.
template <typename scalar_t>
inline void transpose8(const scalar_t* from, std::int64_t from_stride,
                       scalar_t* to, std::int64_t to_stride) {
  using Vector = typename VectorOf<scalar_t>::Type;
  static_assert(kLanes == 8, "three steps of pairs");
  Vector a[8], b[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = *reinterpret_cast<const Vector*>(from + i * from_stride);
  }
  for (int i = 0; i < 8; i += 2) {
    b[i] = DEEPLAB_SHUFFLE(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[i + 1] = DEEPLAB_SHUFFLE(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] =
          DEEPLAB_SHUFFLE(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2 * k + 1] =
          DEEPLAB_SHUFFLE(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    *reinterpret_cast<Vector*>(to + i * to_stride) =
        DEEPLAB_SHUFFLE(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Vector*>(to + (i + 4) * to_stride) =
        DEEPLAB_SHUFFLE(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#undef DEEPLAB_SHUFFLE

// Transposes matrices [rows, columns] that follow each other, in place; both
// sizes are whole vectors.
template <typename scalar_t>
void transpose(std::int64_t rows, std::int64_t columns, scalar_t* scratch,
               scalar_t* values, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = rows * columns;
  for (std::int64_t matrix = begin; matrix < end; ++matrix) {
    scalar_t* own = values + matrix * size;
    for (std::int64_t k = 0; k < size; ++k) scratch[k] = own[k];
    for (std::int64_t r = 0; r < rows; r += kLanes) {
      for (std::int64_t c = 0; c < columns; c += kLanes) {
        transpose8(scratch + r * columns + c, columns, own + c * rows + r,
                   rows);
      }
    }
  }
}

// The number of corners as a constant where kCorners is one.
template <int kCorners, typename scalar_t>
inline std::int64_t corners_of(const ChunkKernel<scalar_t>& kernel) {
  return kCorners > 0 ? kCorners : kernel.corners;
}

// tile [n, width] = (added to, unless first) the messages of one kernel to the
// points from `begin` on; the points end at `end`.
template <typename Piece, int kCorners, typename scalar_t>
inline __attribute__((always_inline)) void gather_tile(
    const ChunkKernel<scalar_t>& kernel, std::int64_t width, std::int64_t c,
    bool first, bool scatters, std::int64_t begin, std::int64_t n,
    std::int64_t end, scalar_t* tile) {
  const std::int64_t corners = corners_of<kCorners>(kernel);
  for (std::int64_t i = begin; i < begin + n; ++i) {
    const std::int32_t* rows = kernel.rows + i * corners;
    const scalar_t* weights = kernel.weights + i * corners;
    if (i + kPointsAhead < end) {
      const std::int32_t* next = rows + kPointsAhead * corners;
      for (std::int64_t q = 0; q < corners; ++q) {
        prefetch_row(kernel.from + next[q] * width + c, sizeof(Piece));
      }
    }
    if (scatters) {
      for (std::int64_t q = 0; q < corners; ++q) {
        prefetch_row(kernel.to + rows[q] * width + c, sizeof(Piece));
      }
    }
    Piece sum;
    sum.clear();
    for (std::int64_t q = 0; q < corners; ++q) {
      sum.add_scaled(Piece::load(kernel.from + rows[q] * width + c),
                     weights[q]);
    }
    const scalar_t scale = kernel.output_scale != nullptr
                               ? kernel.output_scale[i]
                               : kernel.constant_scale;
    scalar_t* place = tile + (i - begin) * width + c;
    Piece message;
    if (first) {
      message.clear();
    } else {
      message = Piece::load(place);
    }
    message.add_scaled(sum, scale);
    message.store(place);
  }
}

// Adds weight * tile row to the rows of each point's corners.
template <typename Piece, int kCorners, typename scalar_t>
inline __attribute__((always_inline)) void scatter_tile(
    const ChunkKernel<scalar_t>& kernel, std::int64_t width, std::int64_t c,
    std::int64_t begin, std::int64_t n, const scalar_t* tile) {
  const std::int64_t corners = corners_of<kCorners>(kernel);
  for (std::int64_t i = begin; i < begin + n; ++i) {
    const std::int32_t* rows = kernel.rows + i * corners;
    const scalar_t* weights = kernel.weights + i * corners;
    const Piece value = Piece::load(tile + (i - begin) * width + c);
    const scalar_t scale =
        kernel.input_scale != nullptr ? kernel.input_scale[i] : scalar_t(1);
    for (std::int64_t q = 0; q < corners; ++q) {
      scalar_t* place = kernel.to + rows[q] * width + c;
      Piece row = Piece::load(place);
      row.add_scaled(value, weights[q] * scale);
      row.store(place);
    }
  }
}

template <typename scalar_t>
void gather_kernel(const ChunkKernel<scalar_t>& kernel, std::int64_t width,
                   bool first, bool scatters, std::int64_t begin,
                   std::int64_t n, std::int64_t end, scalar_t* tile) {
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    constexpr std::int64_t kWhole = decltype(vectors)::value * kLanes;
    if (width == kWhole && kernel.corners == 3) {
      gather_tile<Piece, 3>(kernel, kWhole, c, first, scatters, begin, n, end,
                            tile);
    } else if (width == kWhole && kernel.corners == 6) {
      gather_tile<Piece, 6>(kernel, kWhole, c, first, scatters, begin, n, end,
                            tile);
    } else {
      gather_tile<Piece, 0>(kernel, width, c, first, scatters, begin, n, end,
                            tile);
    }
  });
}

template <typename scalar_t>
void scatter_kernel(const ChunkKernel<scalar_t>& kernel, std::int64_t width,
                    std::int64_t begin, std::int64_t n, const scalar_t* tile) {
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t c) {
    using Piece = Row<scalar_t, decltype(vectors)::value>;
    constexpr std::int64_t kWhole = decltype(vectors)::value * kLanes;
    if (width == kWhole && kernel.corners == 3) {
      scatter_tile<Piece, 3>(kernel, kWhole, c, begin, n, tile);
    } else if (width == kWhole && kernel.corners == 6) {
      scatter_tile<Piece, 6>(kernel, kWhole, c, begin, n, tile);
    } else {
      scatter_tile<Piece, 0>(kernel, width, c, begin, n, tile);
    }
  });
}

struct Sum {
  template <typename Piece>
  static void take(Piece& all, const Piece& other) {
    all.add(other);
  }
};
struct Highest {
  template <typename Piece>
  static void take(Piece& all, const Piece& other) {
    all.raise(other);
  }
};

// out [kPointTile] = the elements of each row taken together.
template <typename Fold, typename scalar_t>
inline __attribute__((always_inline)) void fold_rows(const scalar_t* rows,
                                                     std::int64_t width,
                                                     scalar_t* out) {
  using Piece = Row<scalar_t, 1>;
  scalar_t lanes[kPointTile * kLanes], turned[kLanes * kLanes];
  for (std::int64_t i = 0; i < kPointTile; ++i) {
    Piece all = Piece::load(rows + i * width);
    for (std::int64_t c = kLanes; c < width; c += kLanes) {
      Fold::take(all, Piece::load(rows + i * width + c));
    }
    all.store(lanes + i * kLanes);
  }
  for (std::int64_t first = 0; first < kPointTile; first += kLanes) {
    transpose8(lanes + first * kLanes, kLanes, turned, kLanes);
    Piece all = Piece::load(turned);
    for (std::int64_t k = 1; k < kLanes; ++k) {
      Fold::take(all, Piece::load(turned + k * kLanes));
    }
    all.store(out + first);
  }
}

// Softmax of each row of logits [kPointTile, width], in place; channels of
// minus infinity get 0.
template <typename scalar_t>
inline __attribute__((always_inline)) void softmax_rows(
    std::int64_t width, scalar_t* __restrict rows) {
  using Vector = typename VectorOf<scalar_t>::Type;
  scalar_t of_point[kPointTile];
  fold_rows<Highest>(rows, width, of_point);
  for (std::int64_t i = 0; i < kPointTile; ++i) {
    for (std::int64_t c = 0; c < width; c += kLanes) {
      *reinterpret_cast<Vector*>(rows + i * width + c) -= of_point[i];
    }
  }
  for (std::int64_t k = 0; k < kPointTile * width; ++k) {
    rows[k] = exp_nonpositive(rows[k]);
  }
  fold_rows<Sum>(rows, width, of_point);
  for (std::int64_t i = 0; i < kPointTile; ++i) {
    of_point[i] = scalar_t(1) / of_point[i];
  }
  for (std::int64_t i = 0; i < kPointTile; ++i) {
    for (std::int64_t c = 0; c < width; c += kLanes) {
      *reinterpret_cast<Vector*>(rows + i * width + c) *= of_point[i];
    }
  }
}

// rows [kPointTile, width] = softmax(rows - unary).
template <typename scalar_t>
void marginals_of(std::int64_t width, const scalar_t* __restrict unary,
                  scalar_t* __restrict rows) {
  for (std::int64_t k = 0; k < kPointTile * width; ++k) rows[k] -= unary[k];
  if (width > kMaxVectors<scalar_t> * kLanes) {
    softmax_rows(width, rows);
    return;
  }
  // The width of few labels as a constant.
  for_each_piece<scalar_t>(width, [&](auto vectors, std::int64_t) {
    softmax_rows(decltype(vectors)::value * kLanes, rows);
  });
}

// rows [kPointTile, width] = minus the pairwise energy of messages [kPointTile,
// width].
template <typename scalar_t>
inline void pairwise_rows(const UpdateArguments<scalar_t>& arguments,
                          const scalar_t* messages, scalar_t* rows) {
  const int labels = static_cast<int>(arguments.labels);
  for (std::int64_t i = 0; i < kPointTile; ++i) {
    for (int l = 0; l < labels; ++l) {
      rows[i * arguments.width + l] =
          -pairwise_energy(messages + i * arguments.width, l, labels,
                           arguments.kind, arguments.compatibility);
    }
  }
}

template <typename scalar_t>
void update(const UpdateArguments<scalar_t>& arguments, scalar_t* scratch,
            std::int64_t begin, std::int64_t end) {
  const std::int64_t width = arguments.width;
  const std::int64_t size = kPointTile * width;
  const bool scatters = arguments.scatters;
  for (std::int64_t first = begin; first < end; first += kPointTile) {
    const std::int64_t n = end - first < kPointTile ? end - first : kPointTile;
    scalar_t* rows = scratch;
    prefetch_row(arguments.unary + first * width,
                 size * static_cast<std::int64_t>(sizeof(scalar_t)));
    const bool messages = arguments.message != nullptr || arguments.gathers;
    if (arguments.message != nullptr) {
      const scalar_t* message = arguments.message + first * width;
      for (std::int64_t k = 0; k < n * width; ++k) rows[k] = message[k];
    } else if (!messages) {
      for (std::int64_t k = 0; k < size; ++k) rows[k] = 0;
    }
    if (arguments.gathers) {
      for (int m = 0; m < arguments.kernel_count; ++m) {
        gather_kernel(arguments.kernels[m], width, m == 0, scatters, first, n,
                      end, rows);
      }
    }
    if (messages && arguments.kind != Compatibility::kPotts) {
      rows = scratch + size;
      pairwise_rows(arguments, scratch, rows);
    }
    marginals_of(width, arguments.unary + first * width, rows);
    if (arguments.marginals != nullptr) {
      scalar_t* marginals = arguments.marginals + first * width;
      for (std::int64_t k = 0; k < n * width; ++k) marginals[k] = rows[k];
    }
    if (!scatters) continue;
    const std::int64_t tile = first / kPointTile;
    for (int m = 0; m < arguments.kernel_count; ++m) {
      const ChunkKernel<scalar_t>& kernel = arguments.kernels[m];
      // Rows are numbered as the points reach them.
      const std::int64_t used = first == begin ? 0 : kernel.tile_rows[tile - 1];
      for (std::int64_t k = used * width; k < kernel.tile_rows[tile] * width;
           ++k) {
        kernel.to[k] = 0;
      }
      scatter_kernel(kernel, width, first, n, rows);
    }
  }
}
