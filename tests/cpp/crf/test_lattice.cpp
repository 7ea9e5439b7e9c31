#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "csrc/cpu/crf/lattice.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

template <typename scalar_t>
struct Lattice {
  std::vector<std::int32_t> vertices, neighbors, entries, offsets;
  std::vector<scalar_t> weights;
  LatticeView<scalar_t> view;
};

template <typename scalar_t>
Lattice<scalar_t> build(const std::vector<scalar_t>& features, int d) {
  const auto points = static_cast<std::int64_t>(features.size()) / d;
  const std::int64_t entries = points * (d + 1);
  Lattice<scalar_t> lattice;
  lattice.vertices.resize(entries);
  lattice.weights.resize(entries);
  lattice.neighbors.resize(entries * (d + 1) * 2);
  lattice.entries.resize(entries);
  lattice.offsets.resize(entries + 1);
  const std::int64_t count = lattice_build_cpu<scalar_t>(
      features.data(), points, d,
      {lattice.vertices.data(), lattice.weights.data(),
       lattice.neighbors.data(), lattice.entries.data(),
       lattice.offsets.data()});
  lattice.view = {points,
                  d,
                  count,
                  lattice.vertices.data(),
                  lattice.weights.data(),
                  lattice.neighbors.data(),
                  lattice.entries.data(),
                  lattice.offsets.data()};
  return lattice;
}

template <typename scalar_t>
std::vector<scalar_t> random_features(std::int64_t points, int d,
                                      double spread) {
  std::mt19937 generator(7);
  std::normal_distribution<double> normal(0, spread);
  std::vector<scalar_t> features(points * d);
  for (auto& value : features) value = static_cast<scalar_t>(normal(generator));
  return features;
}

void run_serially(std::int64_t begin, std::int64_t end, std::int64_t,
                  const RangeFunction& fn) {
  fn(begin, end);
}
void run_in_small_pieces(std::int64_t begin, std::int64_t end, std::int64_t,
                         const RangeFunction& fn) {
  // Backwards, so that an order the code relied on would show.
  for (std::int64_t last = end; last > begin;) {
    const std::int64_t first = std::max(begin, last - 7);
    fn(first, last);
    last = first;
  }
}
int one_thread() { return 1; }

TEST(Lattice, BarycentricWeightsSumToOneAndAreNotNegative) {
  for (int d : {1, 2, 3, 5, 16, 64}) {
    const auto lattice = build(random_features<double>(50, d, 3.0), d);
    for (std::int64_t i = 0; i < 50; ++i) {
      double sum = 0;
      for (int q = 0; q <= d; ++q) {
        const double weight = lattice.weights[i * (d + 1) + q];
        EXPECT_GE(weight, -1e-12);
        sum += weight;
      }
      EXPECT_NEAR(sum, 1.0, 1e-10);
    }
  }
}

TEST(Lattice, NeighborsAreEachOthersInverse) {
  const int d = 3;
  const auto lattice = build(random_features<float>(500, d, 1.0), d);
  for (std::int64_t v = 0; v < lattice.view.vertex_count; ++v) {
    for (int axis = 0; axis <= d; ++axis) {
      const std::int64_t at = (v * (d + 1) + axis) * 2;
      const std::int32_t after = lattice.neighbors[at + 1];
      if (after >= 0) {
        EXPECT_EQ(lattice.neighbors[(after * (d + 1) + axis) * 2], v);
      }
      const std::int32_t before = lattice.neighbors[at];
      if (before >= 0) {
        EXPECT_EQ(lattice.neighbors[(before * (d + 1) + axis) * 2 + 1], v);
      }
    }
  }
}

TEST(Lattice, EntriesAreGroupedByVertexInAscendingOrder) {
  const auto lattice = build(random_features<float>(300, 2, 1.0), 2);
  std::set<std::int32_t> seen;
  for (std::int64_t v = 0; v < lattice.view.vertex_count; ++v) {
    EXPECT_LT(lattice.offsets[v], lattice.offsets[v + 1]);
    for (std::int32_t k = lattice.offsets[v]; k < lattice.offsets[v + 1]; ++k) {
      EXPECT_EQ(lattice.vertices[lattice.entries[k]], v);
      if (k > lattice.offsets[v]) {
        EXPECT_LT(lattice.entries[k - 1], lattice.entries[k]);
      }
      seen.insert(lattice.entries[k]);
    }
  }
  EXPECT_EQ(seen.size(), 900u);
}

TEST(Lattice, IdenticalPointsShareTheirVertices) {
  const auto lattice = build(std::vector<float>(5 * 40, 0.3f), 5);
  EXPECT_EQ(lattice.view.vertex_count, 6);
}

TEST(Lattice, SameTablesAndFilterHoweverTheWorkIsSplit) {
  const int d = 5;
  const auto features = random_features<float>(400, d, 0.7);
  std::vector<float> values(400 * 3);
  for (std::size_t k = 0; k < values.size(); ++k) {
    values[k] = std::sin(static_cast<float>(k));
  }
  set_parallel_executor(run_serially, one_thread);
  const auto a = build(features, d);
  std::vector<float> out_a(values.size()), out_b(values.size());
  lattice_filter_cpu(a.view, blur_chains(a.view), values.data(), 3, false,
                     out_a.data());
  set_parallel_executor(run_in_small_pieces, one_thread);
  const auto b = build(features, d);
  lattice_filter_cpu(b.view, blur_chains(b.view), values.data(), 3, false,
                     out_b.data());
  EXPECT_EQ(a.view.vertex_count, b.view.vertex_count);
  EXPECT_EQ(a.vertices, b.vertices);
  EXPECT_EQ(a.entries, b.entries);
  EXPECT_EQ(out_a, out_b);
}

// The blur as its definition has it: one axis after the other, into a copy.
std::vector<double> plain_filter(const Lattice<double>& lattice,
                                 const std::vector<double>& values, int width,
                                 bool reverse) {
  const int d = lattice.view.features;
  std::vector<double> rows(lattice.view.vertex_count * width);
  for (std::size_t e = 0; e < lattice.vertices.size(); ++e) {
    for (int c = 0; c < width; ++c) {
      rows[lattice.vertices[e] * width + c] +=
          lattice.weights[e] * values[e / (d + 1) * width + c];
    }
  }
  for (int k = 0; k <= d; ++k) {
    const int axis = reverse ? d - k : k;
    const std::vector<double> old = rows;
    for (std::int64_t v = 0; v < lattice.view.vertex_count; ++v) {
      for (int side = 0; side < 2; ++side) {
        const std::int32_t n =
            lattice.neighbors[(v * (d + 1) + axis) * 2 + side];
        if (n < 0) continue;
        for (int c = 0; c < width; ++c) {
          rows[v * width + c] += 0.5 * old[n * width + c];
        }
      }
    }
  }
  std::vector<double> out(values.size());
  for (std::size_t e = 0; e < lattice.vertices.size(); ++e) {
    for (int c = 0; c < width; ++c) {
      out[e / (d + 1) * width + c] += lattice.weights[e] /
                                      (1 + std::pow(2.0, -d)) *
                                      rows[lattice.vertices[e] * width + c];
    }
  }
  return out;
}

TEST(Lattice, ChainBlurEqualsTheDefinition) {
  for (int d : {1, 2, 5}) {
    for (int width : {1, 7, 70}) {
      const auto lattice = build(random_features<double>(200, d, 0.8), d);
      std::vector<double> values(200 * width);
      for (std::size_t k = 0; k < values.size(); ++k) {
        values[k] = std::cos(static_cast<double>(k));
      }
      for (bool reverse : {false, true}) {
        std::vector<double> out(values.size());
        lattice_filter_cpu(lattice.view, blur_chains(lattice.view),
                           values.data(), width, reverse, out.data());
        const auto expected = plain_filter(lattice, values, width, reverse);
        for (std::size_t k = 0; k < out.size(); ++k) {
          ASSERT_NEAR(out[k], expected[k], 1e-12);
        }
      }
    }
  }
}

TEST(Lattice, RefusesFeaturesThatAreNotFiniteOrTooFar) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity(), 1e30f}) {
    EXPECT_EQ(build(std::vector<float>{0.f, bad}, 2).view.vertex_count, -1);
  }
}

TEST(Lattice, NoPointsGiveNoVertices) {
  EXPECT_EQ(build(std::vector<float>{}, 3).view.vertex_count, 0);
}

}  // namespace
}  // namespace deeplab
