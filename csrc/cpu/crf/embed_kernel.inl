// Included by row_kernels.inl: the simplexes of points, a block of them at once
// where the number of features is a constant, so that each step of core/'s
// `embed` runs on vectors of points.

template <typename scalar_t>
bool embed_any(const scalar_t* features, int d, const KeyPacking* packing,
               std::uint64_t* codes, std::int32_t* keys, scalar_t* weights,
               std::int64_t begin, std::int64_t end) {
  scalar_t scales[kMaxFeatures];
  for (int j = 0; j < d; ++j) scales[j] = feature_scale<scalar_t>(j, d);
  Simplex<scalar_t, kMaxFeatures> simplex;
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

// As embed_any with packed keys, for n <= kEmbedBlock points from the first on.
// The arithmetic is that of core/'s `embed`, in its order; coordinate j's share
// of a barycentric weight is found by its rank.
template <typename scalar_t, int d>
bool embed_block(const scalar_t* __restrict features, const scalar_t* scales,
                 const KeyPacking& packing, std::uint64_t* __restrict codes,
                 scalar_t* __restrict weights, std::int64_t n) {
  constexpr int kPoints = kEmbedBlock;
  constexpr scalar_t down = scalar_t(1) / scalar_t(d + 1);
  scalar_t elevated[d + 1][kPoints], delta[d + 1][kPoints];
  scalar_t suffix[kPoints] = {};
  std::int32_t remainder0[d + 1][kPoints], rank[d + 1][kPoints];
  std::int32_t sum[kPoints] = {}, bad[kPoints] = {};
  for (int j = d; j > 0; --j) {
    for (int i = 0; i < kPoints; ++i) {
      // Points past the last repeat it.
      const std::int64_t point = i < n ? i : n - 1;
      const scalar_t c = features[point * d + j - 1] * scales[j - 1];
      elevated[j][i] = suffix[i] - scalar_t(j) * c;
      suffix[i] += c;
    }
  }
  for (int i = 0; i < kPoints; ++i) elevated[0][i] = suffix[i];
  for (int j = 0; j <= d; ++j) {
    for (int i = 0; i < kPoints; ++i) {
      bad[i] |= !(std::abs(elevated[j][i]) < scalar_t(kMaxCoordinate));
    }
  }
  std::int32_t any = 0;
  for (int i = 0; i < kPoints; ++i) any |= bad[i];
  if (any != 0) return false;

  for (int j = 0; j <= d; ++j) {
    for (int i = 0; i < kPoints; ++i) {
      const auto v =
          static_cast<std::int32_t>(round_half_even(elevated[j][i] * down));
      remainder0[j][i] = v * (d + 1);
      sum[i] += v;
      delta[j][i] = elevated[j][i] - scalar_t(remainder0[j][i]);
      rank[j][i] = 0;
    }
  }
  for (int a = 0; a < d; ++a) {
    for (int b = a + 1; b <= d; ++b) {
      for (int i = 0; i < kPoints; ++i) {
        const std::int32_t less = delta[a][i] < delta[b][i] ? 1 : 0;
        rank[a][i] += less;
        rank[b][i] += 1 - less;
      }
    }
  }
  for (int j = 0; j <= d; ++j) {
    for (int i = 0; i < kPoints; ++i) {
      const std::int32_t wrapped = rank[j][i] + sum[i];
      const std::int32_t shift =
          wrapped < 0 ? d + 1 : (wrapped > d ? -(d + 1) : 0);
      rank[j][i] = wrapped + shift;
      remainder0[j][i] += shift;
      bad[i] |= rank[j][i] < 0 || rank[j][i] > d;
      delta[j][i] = (elevated[j][i] - scalar_t(remainder0[j][i])) * down;
    }
  }
  for (int i = 0; i < kPoints; ++i) any |= bad[i];
  if (any != 0) return false;

  // by_rank[r]: the share of the coordinate of rank r.
  scalar_t by_rank[d + 1][kPoints] = {};
  for (int r = 0; r <= d; ++r) {
    for (int j = 0; j <= d; ++j) {
      for (int i = 0; i < kPoints; ++i) {
        by_rank[r][i] = rank[j][i] == r ? delta[j][i] : by_rank[r][i];
      }
    }
  }
  scalar_t weight[d + 1][kPoints];
  // As wide as the codes, so that the comparisons below run on vectors.
  std::int64_t wide_rank[d][kPoints];
  std::uint64_t code[d + 1][kPoints];
  for (int j = 0; j < d; ++j) {
    for (int i = 0; i < kPoints; ++i) wide_rank[j][i] = rank[j][i];
  }
  for (int q = 0; q <= d; ++q) {
    for (int i = 0; i < kPoints; ++i) {
      weight[q][i] =
          by_rank[d - q][i] + (q == 0 ? scalar_t(1) - by_rank[0][i]
                                      : -by_rank[q == 0 ? 0 : d + 1 - q][i]);
    }
  }
  for (int i = 0; i < kPoints; ++i) code[0][i] = 0;
  for (int j = 0; j < d; ++j) {
    for (int i = 0; i < kPoints; ++i) {
      code[0][i] +=
          static_cast<std::uint64_t>(remainder0[j][i] - packing.low[j])
          << packing.shift[j];
    }
  }
  for (int q = 1; q <= d; ++q) {
    for (int i = 0; i < kPoints; ++i) {
      code[q][i] = code[q - 1][i] + packing.ones;
    }
    for (int j = 0; j < d; ++j) {
      const std::uint64_t step = static_cast<std::uint64_t>(d + 1)
                                 << packing.shift[j];
      for (int i = 0; i < kPoints; ++i) {
        code[q][i] -= wide_rank[j][i] == d + 1 - q ? step : 0;
      }
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (int q = 0; q <= d; ++q) {
      weights[i * (d + 1) + q] = weight[q][i];
      codes[i * (d + 1) + q] = code[q][i];
    }
  }
  return true;
}

template <typename scalar_t, int d>
bool embed_blocks(const scalar_t* features, const KeyPacking& packing,
                  std::uint64_t* codes, scalar_t* weights, std::int64_t begin,
                  std::int64_t end) {
  scalar_t scales[d];
  for (int j = 0; j < d; ++j) scales[j] = feature_scale<scalar_t>(j, d);
  for (std::int64_t i = begin; i < end; i += kEmbedBlock) {
    const std::int64_t n = end - i < kEmbedBlock ? end - i : kEmbedBlock;
    if (!embed_block<scalar_t, d>(features + i * d, scales, packing,
                                  codes + i * (d + 1), weights + i * (d + 1),
                                  n)) {
      return false;
    }
  }
  return true;
}

template <typename scalar_t>
bool embed_points(const scalar_t* features, int d, const KeyPacking* packing,
                  std::uint64_t* codes, std::int32_t* keys, scalar_t* weights,
                  std::int64_t begin, std::int64_t end) {
  if (packing != nullptr && d == 2) {
    return embed_blocks<scalar_t, 2>(features, *packing, codes, weights, begin,
                                     end);
  }
  if (packing != nullptr && d == 5) {
    return embed_blocks<scalar_t, 5>(features, *packing, codes, weights, begin,
                                     end);
  }
  return embed_any(features, d, packing, codes, keys, weights, begin, end);
}
