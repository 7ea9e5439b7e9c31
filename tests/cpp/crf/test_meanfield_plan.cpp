#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "csrc/cpu/crf/lattice.h"
#include "csrc/cpu/crf/meanfield.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Enough points for several chunks.
constexpr std::int64_t kManyPoints = 27001;

template <typename scalar_t>
std::vector<scalar_t> random_values(std::int64_t count, double spread,
                                    unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, spread);
  std::vector<scalar_t> values(count);
  for (auto& value : values) value = static_cast<scalar_t>(normal(generator));
  return values;
}

// One kernel's mean field, filter after filter.
std::vector<double> plain_meanfield(const std::vector<double>& features, int d,
                                    const std::vector<double>& unary,
                                    std::int64_t labels, double weight,
                                    int iterations) {
  const auto points = static_cast<std::int64_t>(features.size()) / d;
  const std::int64_t total = points * (d + 1);
  std::vector<std::int32_t> vertices(total), neighbors(total * (d + 1) * 2),
      entries(total), offsets(total + 1);
  std::vector<double> weights(total);
  const std::int64_t count = lattice_build_cpu<double>(
      features.data(), points, d,
      {vertices.data(), weights.data(), neighbors.data(), entries.data(),
       offsets.data()});
  const LatticeView<double> view{points,         d,
                                 count,          vertices.data(),
                                 weights.data(), neighbors.data(),
                                 entries.data(), offsets.data()};
  const BlurChains chains = blur_chains(view);
  const std::vector<double> ones(points, 1.0);
  std::vector<double> norm(points), q(points * labels), filtered(q.size());
  lattice_filter_cpu(view, chains, ones.data(), 1, false, norm.data());
  for (int iteration = 0; iteration <= iterations; ++iteration) {
    if (iteration > 0) {
      lattice_filter_cpu(view, chains, q.data(), labels, false,
                         filtered.data());
    }
    for (std::int64_t i = 0; i < points; ++i) {
      double sum = 0;
      for (std::int64_t l = 0; l < labels; ++l) {
        double& value = q[i * labels + l];
        value = std::exp(-unary[l * points + i] +
                         weight * filtered[i * labels + l] / norm[i]);
        sum += value;
      }
      for (std::int64_t l = 0; l < labels; ++l) q[i * labels + l] /= sum;
    }
  }
  std::vector<double> out(q.size());
  for (std::int64_t i = 0; i < points; ++i) {
    for (std::int64_t l = 0; l < labels; ++l) {
      out[l * points + i] = q[i * labels + l];
    }
  }
  return out;
}

template <typename scalar_t>
std::vector<scalar_t> planned_meanfield(
    const std::vector<std::vector<scalar_t>>& features,
    const std::vector<int>& d, const std::vector<scalar_t>& unary,
    std::int64_t labels, std::vector<double> weights, int iterations) {
  MeanfieldProblem<scalar_t> problem{};
  problem.unary = unary.data();
  problem.labels = labels;
  problem.points = static_cast<std::int64_t>(unary.size()) / labels;
  problem.weights = std::move(weights);
  problem.kind = Compatibility::kPotts;
  problem.normalization = Normalization::kAfter;
  problem.iterations = iterations;
  std::vector<KernelFeatures<scalar_t>> kernels;
  for (std::size_t m = 0; m < d.size(); ++m) {
    kernels.push_back({features[m].data(), d[m]});
  }
  MeanfieldPlan<scalar_t> plan;
  EXPECT_TRUE(meanfield_plan(kernels, problem.points, plan));
  std::vector<scalar_t> out(unary.size());
  meanfield_cpu(problem, plan, out.data());
  return out;
}

TEST(MeanfieldPlan, GivesThePlainMeanFieldOfAnyKernelWidthAndSize) {
  for (const std::int64_t points :
       {std::int64_t{1}, std::int64_t{203}, kManyPoints}) {
    for (const int d : {1, 2, 3, 5}) {
      const std::int64_t labels = points == 203 ? 71 : 3;
      const auto features = random_values<double>(points * d, 1.5, 3);
      const auto unary = random_values<double>(points * labels, 2.0, 4);
      const auto expected = plain_meanfield(features, d, unary, labels, 2.5, 2);
      const auto got =
          planned_meanfield<double>({features}, {d}, unary, labels, {2.5}, 2);
      for (std::size_t k = 0; k < got.size(); ++k) {
        ASSERT_NEAR(got[k], expected[k], 1e-10) << points << " " << d;
      }
    }
  }
}

void run_serially(std::int64_t begin, std::int64_t end, std::int64_t,
                  const RangeFunction& fn) {
  fn(begin, end);
}
void run_backwards(std::int64_t begin, std::int64_t end, std::int64_t,
                   const RangeFunction& fn) {
  for (std::int64_t last = end; last > begin;) {
    const std::int64_t first = std::max(begin, last - 997);
    fn(first, last);
    last = first;
  }
}
int one_thread() { return 1; }

TEST(MeanfieldPlan, SameBitsHoweverTheWorkIsSplit) {
  const std::vector<std::vector<float>> features{
      random_values<float>(kManyPoints * 2, 20.0, 1),
      random_values<float>(kManyPoints * 5, 1.0, 2)};
  const auto unary = random_values<float>(kManyPoints * 4, 3.0, 3);
  set_parallel_executor(run_serially, one_thread);
  const auto a =
      planned_meanfield<float>(features, {2, 5}, unary, 4, {3, 4}, 3);
  set_parallel_executor(run_backwards, one_thread);
  const auto b =
      planned_meanfield<float>(features, {2, 5}, unary, 4, {3, 4}, 3);
  EXPECT_EQ(a, b);
}

TEST(MeanfieldPlan, RefusesFeaturesThatAreNotFiniteOrTooFar) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), 1e30f}) {
    for (const int d : {2, 3, 5}) {
      std::vector<float> features(40 * d, 0.5f);
      features[17 * d + 1] = bad;
      MeanfieldPlan<float> plan;
      EXPECT_FALSE(meanfield_plan<float>({{features.data(), d}}, 40, plan))
          << bad << " " << d;
    }
  }
}

TEST(PointOrder, IsAPermutationWhateverTheFeatures) {
  for (const double spread : {0.0, 1.0, 1e4, 1e12}) {
    const auto few = random_values<double>(5000 * 2, spread, 1);
    const auto many = random_values<double>(5000 * 9, spread, 2);
    const auto order =
        point_order<double>({{few.data(), 2}, {many.data(), 9}}, 5000);
    std::vector<std::int32_t> sorted(order.get(), order.get() + 5000);
    std::sort(sorted.begin(), sorted.end());
    for (std::int32_t i = 0; i < 5000; ++i) ASSERT_EQ(sorted[i], i);
  }
}

// The blocks of points that build the lattices of images take each step of
// core/'s `embed` on vectors of points.
TEST(Embed, BlocksOfPointsGiveTheWeightsOfEachPointAlone) {
  for (const int d : {2, 5}) {
    const std::int64_t points = 1000;
    const auto features = random_values<float>(points * d, 30.0, 5);
    ChunkedLattice lattice(points);
    std::vector<std::int32_t> rows(points * (d + 1));
    std::vector<float> weights(rows.size());
    ASSERT_TRUE(
        build_chunks(features.data(), d, rows.data(), weights.data(), lattice));
    std::vector<float> scales;
    for (int j = 0; j < d; ++j) scales.push_back(feature_scale<float>(j, d));
    Simplex<float, 5> simplex;
    for (std::int64_t i = 0; i < points; ++i) {
      ASSERT_TRUE(embed(features.data() + i * d, scales.data(), d, simplex));
      for (int q = 0; q <= d; ++q) {
        ASSERT_EQ(weights[i * (d + 1) + q], simplex.barycentric[q]);
      }
    }
  }
}

}  // namespace
}  // namespace deeplab
