// Included by row_kernels_*.cpp inside a namespace of their instruction set.

// Channels handled at once, so that running rows stay in registers or L1.
constexpr std::int64_t kBlock = 64;
constexpr std::int64_t kLanes = 8;

// acc[0, n) += factor * row[0, n)
template <typename scalar_t>
inline void add_scaled(scalar_t* __restrict acc,
                       const scalar_t* __restrict row, scalar_t factor,
                       std::int64_t n) {
  for (std::int64_t c = 0; c < n; ++c) acc[c] += factor * row[c];
}

template <typename scalar_t>
void splat(const LatticeView<scalar_t>& lattice, const scalar_t* values,
           const scalar_t* point_scale, std::int64_t width, scalar_t* rows,
           std::int64_t begin, std::int64_t end) {
  const std::int32_t corners = lattice.features + 1;
  for (std::int64_t v = begin; v < end; ++v) {
    scalar_t* row = rows + v * width;
    for (std::int64_t c0 = 0; c0 < width; c0 += kBlock) {
      const std::int64_t n = width - c0 < kBlock ? width - c0 : kBlock;
      scalar_t acc[kBlock] = {};
      for (std::int32_t k = lattice.offsets[v]; k < lattice.offsets[v + 1];
           ++k) {
        const std::int32_t entry = lattice.entries[k];
        const std::int64_t point = entry / corners;
        scalar_t weight = lattice.weights[entry];
        if (point_scale != nullptr) weight *= point_scale[point];
        add_scaled(acc, values + point * width + c0, weight, n);
      }
      for (std::int64_t c = 0; c < n; ++c) row[c0 + c] = acc[c];
    }
  }
}

template <typename scalar_t>
void blur(const std::int32_t* chain, std::int64_t width, scalar_t* rows,
          std::int64_t begin, std::int64_t end) {
  std::int64_t first = begin;
  while (first > 0 && first < end && chain[first - 1] >= 0) ++first;
  while (first < end) {
    std::int64_t last = first;
    while (chain[last] >= 0) ++last;
    for (std::int64_t c0 = 0; c0 < width; c0 += kBlock) {
      const std::int64_t n = width - c0 < kBlock ? width - c0 : kBlock;
      scalar_t before[kBlock] = {};
      // Runs have two vertices at least, so the first is not a last one.
      scalar_t* current = rows + chain[first] * width + c0;
      for (std::int64_t k = first; k < last; ++k) {
        const std::int32_t id = chain[k + 1];
        scalar_t* __restrict next = rows + (id >= 0 ? id : ~id) * width + c0;
        for (std::int64_t c = 0; c < n; ++c) {
          const scalar_t center = current[c];
          current[c] = blur_step(center, before[c], next[c]);
          before[c] = center;
        }
        current = next;
      }
      for (std::int64_t c = 0; c < n; ++c) {
        current[c] = blur_step(current[c], before[c], scalar_t(0));
      }
    }
    first = last + 1;
  }
}

template <typename scalar_t>
void slice(const LatticeView<scalar_t>& lattice, const scalar_t* rows,
           scalar_t scale, std::int64_t width, scalar_t* out,
           std::int64_t begin, std::int64_t end) {
  const std::int64_t corners = lattice.features + 1;
  for (std::int64_t i = begin; i < end; ++i) {
    for (std::int64_t c0 = 0; c0 < width; c0 += kBlock) {
      const std::int64_t n = width - c0 < kBlock ? width - c0 : kBlock;
      scalar_t acc[kBlock] = {};
      for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
        add_scaled(acc, rows + lattice.vertices[q] * width + c0,
                   lattice.weights[q], n);
      }
      for (std::int64_t c = 0; c < n; ++c) {
        out[i * width + c0 + c] = scale * acc[c];
      }
    }
  }
}

// softmax over a row of `width` (a multiple of kLanes) logits, into `out`.
template <typename scalar_t>
inline void softmax_row(const scalar_t* __restrict logits, std::int64_t width,
                        scalar_t* __restrict out) {
  scalar_t lane_max[kLanes];
  for (int k = 0; k < kLanes; ++k) lane_max[k] = logits[k];
  for (std::int64_t c = kLanes; c < width; c += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      lane_max[k] = logits[c + k] > lane_max[k] ? logits[c + k] : lane_max[k];
    }
  }
  scalar_t max = lane_max[0];
  for (int k = 1; k < kLanes; ++k) max = lane_max[k] > max ? lane_max[k] : max;

  scalar_t lane_sum[kLanes] = {};
  for (std::int64_t c = 0; c < width; c += kLanes) {
    for (int k = 0; k < kLanes; ++k) {
      const scalar_t e = exp_nonpositive(logits[c + k] - max);
      out[c + k] = e;
      lane_sum[k] += e;
    }
  }
  scalar_t sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lane_sum[k];
  const scalar_t inverse = scalar_t(1) / sum;
  for (std::int64_t c = 0; c < width; ++c) out[c] *= inverse;
}

template <typename scalar_t>
void update(const UpdateArguments<scalar_t>& arguments, scalar_t* scratch,
            std::int64_t begin, std::int64_t end) {
  const std::int64_t width = arguments.width;
  const int labels = static_cast<int>(arguments.labels);
  scalar_t* __restrict message = scratch;
  scalar_t* __restrict filtered = scratch + width;
  scalar_t* __restrict logits = scratch + 2 * width;
  for (std::int64_t i = begin; i < end; ++i) {
    for (std::int64_t c = 0; c < width; ++c) message[c] = 0;
    for (int m = 0; m < arguments.kernel_count; ++m) {
      const KernelRows<scalar_t>& kernel = arguments.kernels[m];
      const std::int64_t corners = kernel.lattice.features + 1;
      for (std::int64_t c = 0; c < width; ++c) filtered[c] = 0;
      for (std::int64_t q = i * corners; q < (i + 1) * corners; ++q) {
        add_scaled(filtered,
                   kernel.rows + kernel.lattice.vertices[q] * width,
                   kernel.lattice.weights[q], width);
      }
      const scalar_t scale = kernel.output_scale != nullptr
                                 ? kernel.output_scale[i]
                                 : kernel.constant_scale;
      add_scaled(message, filtered, scale, width);
    }
    const scalar_t* base = arguments.logits + i * width;
    if (arguments.kind == Compatibility::kPotts) {
      for (std::int64_t c = 0; c < width; ++c) {
        logits[c] = base[c] + message[c];
      }
    } else {
      for (std::int64_t c = 0; c < width; ++c) logits[c] = base[c];
      for (int l = 0; l < labels; ++l) {
        logits[l] -= pairwise_energy(message, l, labels, arguments.kind,
                                     arguments.compatibility);
      }
    }
    softmax_row(logits, width, arguments.marginals + i * width);
  }
}

template <typename scalar_t>
constexpr RowKernels<scalar_t> table() {
  return {splat<scalar_t>, blur<scalar_t>, slice<scalar_t>, update<scalar_t>};
}
