// Included by kernels_*.cpp inside a namespace of their instruction set,
// after they have set kVectorBytes and
// kRegisterColumns, the vectors of a row of a matrix product held in registers.

template <typename T>
struct Vectors {
  static constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));
  // Aligned as its elements: rows start anywhere.
  typedef T Unaligned
      __attribute__((vector_size(kVectorBytes), aligned(sizeof(T))));
  typedef T Vector __attribute__((vector_size(kVectorBytes)));

  static Vector load(const T* from) {
    return *reinterpret_cast<const Unaligned*>(from);
  }
  static void store(T* to, Vector value) {
    *reinterpret_cast<Unaligned*>(to) = value;
  }
  // The first `count` elements; zero in the others.
  static Vector load_some(const T* from, std::int64_t count) {
    T values[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
    return load(values);
  }
  static void store_some(T* to, Vector value, std::int64_t count) {
    T values[kLanes];
    store(values, value);
    for (std::int64_t i = 0; i < count; ++i) to[i] = values[i];
  }
};

// Calls step(first, whole vector or not, count) along `values` elements.
template <typename T, typename Step>
inline void for_each_vector(std::int64_t values, const Step& step) {
  constexpr std::int64_t kLanes = Vectors<T>::kLanes;
  std::int64_t i = 0;
  for (; i + kLanes <= values; i += kLanes) step(i, kLanes);
  if (i < values) step(i, values - i);
}

template <typename T>
inline typename Vectors<T>::Vector load_up_to(const T* from,
                                              std::int64_t count) {
  return count == Vectors<T>::kLanes ? Vectors<T>::load(from)
                                     : Vectors<T>::load_some(from, count);
}

template <typename T>
inline void store_up_to(T* to, typename Vectors<T>::Vector value,
                        std::int64_t count) {
  if (count == Vectors<T>::kLanes) {
    Vectors<T>::store(to, value);
  } else {
    Vectors<T>::store_some(to, value, count);
  }
}

template <int kOutputs, DomainPart kPart>
struct Part {
  static constexpr int kInputs = Winograd<kOutputs>::kInputs;
  static constexpr int kFirst = kPart == kLowerRows ? kInputs / 2 : 0;
  static constexpr int kEnd = kPart == kUpperRows ? kInputs / 2 : kInputs;
};

template <int kOutputs, DomainPart kPart, typename T>
void winograd_input(const WinogradRows<T>& rows, const T* const* samples) {
  using F = Winograd<kOutputs>;
  using P = Part<kOutputs, kPart>;
  using Vector = typename Vectors<T>::Vector;
  constexpr int kInputs = F::kInputs;
  for_each_vector<T>(rows.values, [&](std::int64_t i, std::int64_t count) {
    Vector across[kInputs][kInputs];
    for (int y = 0; y < kInputs; ++y) {
      Vector d[kInputs];
      for (int x = 0; x < kInputs; ++x) {
        d[x] = load_up_to(samples[y * kInputs + x] + i, count);
      }
      F::template input<T>(d, across[y]);
    }
    for (int x = 0; x < kInputs; ++x) {
      Vector d[kInputs];
      Vector out[kInputs];
      for (int y = 0; y < kInputs; ++y) d[y] = across[y][x];
      F::template input<T>(d, out);
      for (int y = P::kFirst; y < P::kEnd; ++y) {
        store_up_to(
            rows.domain + ((y - P::kFirst) * kInputs + x) * rows.stride + i,
            out[y], count);
      }
    }
  });
}

template <int kOutputs, typename T>
void winograd_weight(const WinogradRows<T>& rows, const T* taps,
                     std::int64_t tap_stride) {
  using F = Winograd<kOutputs>;
  using Vector = typename Vectors<T>::Vector;
  constexpr int kInputs = F::kInputs;
  for_each_vector<T>(rows.values, [&](std::int64_t i, std::int64_t count) {
    Vector across[3][kInputs];
    for (int y = 0; y < 3; ++y) {
      Vector g[3];
      for (int x = 0; x < 3; ++x) {
        g[x] = load_up_to(taps + (y * 3 + x) * tap_stride + i, count);
      }
      F::template weight<T>(g, across[y]);
    }
    for (int x = 0; x < kInputs; ++x) {
      const Vector g[3] = {across[0][x], across[1][x], across[2][x]};
      Vector out[kInputs];
      F::template weight<T>(g, out);
      for (int y = 0; y < kInputs; ++y) {
        store_up_to(rows.domain + (y * kInputs + x) * rows.stride + i, out[y],
                    count);
      }
    }
  });
}

template <int kOutputs, DomainPart kPart, typename T>
void winograd_output(const WinogradRows<T>& rows, const T* bias, bool relu,
                     T* const* outputs) {
  using F = Winograd<kOutputs>;
  using P = Part<kOutputs, kPart>;
  using Vector = typename Vectors<T>::Vector;
  constexpr int kInputs = F::kInputs;
  for_each_vector<T>(rows.values, [&](std::int64_t i, std::int64_t count) {
    Vector across[kInputs][kOutputs];
    for (int y = 0; y < kInputs; ++y) {
      Vector m[kInputs] = {};
      if (y < P::kFirst || y >= P::kEnd) {
        F::template output<T>(m, across[y]);
        continue;
      }
      for (int x = 0; x < kInputs; ++x) {
        m[x] = load_up_to(
            rows.domain + ((y - P::kFirst) * kInputs + x) * rows.stride + i,
            count);
      }
      F::template output<T>(m, across[y]);
    }
    const Vector shift = bias == nullptr || kPart == kUpperRows
                             ? Vector{}
                             : load_up_to(bias + i, count);
    for (int x = 0; x < kOutputs; ++x) {
      Vector m[kInputs];
      Vector out[kOutputs];
      for (int y = 0; y < kInputs; ++y) m[y] = across[y][x];
      F::template output<T>(m, out);
      for (int y = 0; y < kOutputs; ++y) {
        T* to = outputs[y * kOutputs + x];
        if (to == nullptr) continue;
        Vector value = out[y] + shift;
        if (kPart == kLowerRows) value += load_up_to(to + i, count);
        // A NaN stays one, as in torch's relu.
        if (relu && kPart != kUpperRows) value = value < 0 ? Vector{} : value;
        store_up_to(to + i, value, count);
      }
    }
  });
}

// kRows x kColumns vectors of c in registers over all of k.
template <int kRows, int kColumns, typename T>
inline void multiply_block(const TileProduct<T>& p, std::int64_t row,
                           std::int64_t column) {
  using Vector = typename Vectors<T>::Vector;
  constexpr int kLanes = Vectors<T>::kLanes;
  // Steps of k from a load of b to its use; hides the second-level cache.
  constexpr std::int64_t kDistance = 4;
  Vector sums[kRows][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      T* c = p.c + (row + i) * p.ldc + column + j * kLanes;
      sums[i][j] = p.accumulate ? Vectors<T>::load(c) : Vector{};
    }
  }
  const T* a = p.a + row * p.lda;
  const T* b = p.b + column;
  for (std::int64_t l = 0; l < p.k; ++l, b += p.ldb) {
    Vector right[kColumns];
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      right[j] = Vectors<T>::load(b + j * kLanes);
      __builtin_prefetch(b + kDistance * p.ldb + j * kLanes, 0, 3);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const T left = a[i * p.lda + l];
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) sums[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      Vectors<T>::store(p.c + (row + i) * p.ldc + column + j * kLanes,
                        sums[i][j]);
    }
  }
}

template <int kColumns, typename T>
inline void multiply_columns(const TileProduct<T>& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + 6 <= p.m; row += 6) multiply_block<6, kColumns>(p, row, column);
  if (row + 4 <= p.m) {
    multiply_block<4, kColumns>(p, row, column);
    row += 4;
  }
  for (; row < p.m; ++row) multiply_block<1, kColumns>(p, row, column);
}

template <typename T>
void multiply_tile(const TileProduct<T>& p) {
  constexpr std::int64_t kLanes = Vectors<T>::kLanes;
  constexpr std::int64_t kWide = kRegisterColumns * kLanes;
  std::int64_t column = 0;
  for (; column + kWide <= p.n; column += kWide) {
    multiply_columns<kRegisterColumns>(p, column);
  }
  for (; column + kLanes <= p.n; column += kLanes) {
    multiply_columns<1>(p, column);
  }
  if (column == p.n) return;
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = column; j < p.n; ++j) {
      T sum = p.accumulate ? p.c[i * p.ldc + j] : T(0);
      for (std::int64_t l = 0; l < p.k; ++l) {
        sum += p.a[i * p.lda + l] * p.b[l * p.ldb + j];
      }
      p.c[i * p.ldc + j] = sum;
    }
  }
}

template <int kOutputs, typename T>
void set_transforms(ConvKernels<T>* kernels) {
  constexpr int i = kOutputs == 4;
  kernels->winograd_weight[i] = winograd_weight<kOutputs, T>;
  kernels->winograd_input[i][kAllRows] = winograd_input<kOutputs, kAllRows, T>;
  kernels->winograd_input[i][kUpperRows] =
      winograd_input<kOutputs, kUpperRows, T>;
  kernels->winograd_input[i][kLowerRows] =
      winograd_input<kOutputs, kLowerRows, T>;
  kernels->winograd_output[i][kAllRows] =
      winograd_output<kOutputs, kAllRows, T>;
  kernels->winograd_output[i][kUpperRows] =
      winograd_output<kOutputs, kUpperRows, T>;
  kernels->winograd_output[i][kLowerRows] =
      winograd_output<kOutputs, kLowerRows, T>;
}

template <typename T>
ConvKernels<T> table() {
  ConvKernels<T> kernels = {};
  kernels.multiply = multiply_tile<T>;
  set_transforms<2>(&kernels);
  set_transforms<4>(&kernels);
  return kernels;
}
