// What the tests of the data-parallel steps hold them against: points drawn at
// random, and the CPU's lattice of them.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "csrc/cpu/crf/lattice.h"

namespace deeplab {

template <typename scalar_t>
std::vector<scalar_t> normal(std::int64_t count, double spread, int seed = 7) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> draw(0, spread);
  std::vector<scalar_t> values(count);
  for (auto& value : values) value = static_cast<scalar_t>(draw(generator));
  return values;
}

// The CPU's lattice of one image.
template <typename scalar_t>
struct CpuLattice {
  std::vector<std::int32_t> vertices, neighbors, entries, offsets;
  std::vector<scalar_t> weights;
  LatticeView<scalar_t> view;

  CpuLattice(const scalar_t* features, std::int64_t points, int d) {
    const std::int64_t n = points * (d + 1);
    vertices.resize(n);
    weights.resize(n);
    neighbors.resize(n * (d + 1) * 2);
    entries.resize(n);
    offsets.resize(n + 1);
    const std::int64_t count = lattice_build_cpu<scalar_t>(
        features, points, d,
        {vertices.data(), weights.data(), neighbors.data(), entries.data(),
         offsets.data()});
    view = {points,         d,
            count,          vertices.data(),
            weights.data(), neighbors.data(),
            entries.data(), offsets.data()};
  }
};

template <typename scalar_t>
double worst(const std::vector<scalar_t>& a, const std::vector<scalar_t>& b) {
  double most = a.size() == b.size() ? 0 : 1e9;
  for (std::size_t k = 0; k < a.size() && k < b.size(); ++k) {
    const double gap = std::abs(static_cast<double>(a[k]) - b[k]);
    most = gap <= most ? most : gap;
    if (gap != gap) most = 1e9;
  }
  return most;
}

}  // namespace deeplab
