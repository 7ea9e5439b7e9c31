// The data-parallel lattice and mean field, run as loops, against the CPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "csrc/cpu/crf/lattice.h"
#include "tests/cpp/crf/host_executor.h"

namespace deeplab {
namespace {

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

TEST(Batch, OneImageHasTheCpusTables) {
  for (int d : {1, 2, 3, 5, 6, 7, 20}) {
    for (bool wide : {false, true}) {
      for (std::int64_t stride : {1, 13}) {
        const auto features = normal<float>(300 * d, 0.8);
        const CpuLattice<float> cpu(features.data(), 300, d);
        const HostLattice<float> batch(HostExecutor(stride), features.data(), 1,
                                       300, d, true, wide);
        ASSERT_EQ(batch.count, cpu.view.vertex_count);
        if (wide) {
          EXPECT_FALSE(batch.packed);
        }
        const std::int64_t v = batch.count;
        EXPECT_EQ(batch.vertices, cpu.vertices);
        EXPECT_EQ(batch.weights, cpu.weights);
        EXPECT_EQ(batch.entries, cpu.entries);
        EXPECT_EQ(
            batch.neighbors,
            std::vector<std::int32_t>(cpu.neighbors.begin(),
                                      cpu.neighbors.begin() + v * (d + 1) * 2));
        EXPECT_EQ(batch.offsets,
                  std::vector<std::int32_t>(cpu.offsets.begin(),
                                            cpu.offsets.begin() + v + 1));
      }
    }
  }
}

TEST(Batch, ThreadsThatClaimTheSameSlotsLeaveTheSameTables) {
  // Few vertices with many references each: threads meet in every slot.
  const auto features = normal<float>(6000 * 5, 0.05);
  for (bool wide : {false, true}) {
    const HostLattice<float> one(HostExecutor(), features.data(), 3, 2000, 5,
                                 false, wide);
    for (int run = 0; run < 5; ++run) {
      const HostLattice<float> many(HostExecutor(1, 8), features.data(), 3,
                                    2000, 5, false, wide);
      ASSERT_EQ(many.count, one.count);
      ASSERT_EQ(many.vertices, one.vertices);
      ASSERT_EQ(many.neighbors, one.neighbors);
      ASSERT_EQ(many.entries, one.entries);
    }
  }
}

TEST(Batch, KeysFallBackToVectorsWhereTheBitsDoNotSuffice) {
  const float least[5] = {0, 0, 0, 0, 0};
  const float photo[5] = {500 / 67.f, 375 / 67.f, 85, 85, 85};
  EXPECT_TRUE(batch_keys(least, photo, 5, 1).packing.fits);
  EXPECT_TRUE(batch_keys(least, photo, 5, 1024).packing.fits);
  const float fine[5] = {500 / 67.f, 375 / 67.f, 510, 510, 510};
  const BatchKeys one = batch_keys(least, fine, 5, 1);
  ASSERT_TRUE(one.packing.fits);
  ASSERT_LE(one.packing.bits, 63);
  EXPECT_EQ(one.image_shift, one.packing.bits);
  const std::int64_t images = std::int64_t{1} << (63 - one.packing.bits);
  EXPECT_TRUE(batch_keys(least, fine, 5, images).packing.fits);
  EXPECT_FALSE(batch_keys(least, fine, 5, images + 1).packing.fits);
  const float far[5] = {500 / 67.f, 375 / 67.f, 5100, 5100, 5100};
  EXPECT_FALSE(batch_keys(least, far, 5, 1).packing.fits);
}

TEST(Batch, ImagesKeepTheirVerticesApart) {
  // The same image three times: were a key shared, vertices would be too.
  const auto one = normal<float>(120 * 5, 0.6);
  std::vector<float> three;
  for (int image = 0; image < 3; ++image) {
    three.insert(three.end(), one.begin(), one.end());
  }
  for (bool wide : {false, true}) {
    const HostLattice<float> alone(HostExecutor(), one.data(), 1, 120, 5, true,
                                   wide);
    const HostLattice<float> batch(HostExecutor(7), three.data(), 3, 120, 5,
                                   true, wide);
    ASSERT_EQ(batch.count, 3 * alone.count);
    for (std::size_t e = 0; e < batch.vertices.size(); ++e) {
      const auto image = static_cast<std::int32_t>(e / alone.vertices.size());
      ASSERT_EQ(batch.vertices[e], alone.vertices[e % alone.vertices.size()] +
                                       image * alone.count);
    }
  }
}

TEST(Batch, FilterEqualsTheCpus) {
  for (int d : {1, 2, 5, 9}) {
    for (std::int64_t channels : {1, 2, 8, 9, 21}) {
      const auto features = normal<double>(257 * d, 0.7);
      const auto values = normal<double>(257 * channels, 1, 3);
      const CpuLattice<double> cpu(features.data(), 257, d);
      for (bool reverse : {false, true}) {
        std::vector<double> expected(values.size());
        lattice_filter_cpu(cpu.view, blur_chains(cpu.view), values.data(),
                           channels, reverse, expected.data());
        for (bool by_point : {false, true}) {
          const HostLattice<double> batch(HostExecutor(), features.data(), 1,
                                          257, d, by_point);
          const auto out =
              batch.filter(HostExecutor(5), values, channels, reverse);
          EXPECT_LT(worst(out, expected), 1e-12);
        }
      }
    }
  }
}

TEST(Batch, LongListsAreSummedInPieces) {
  // 5000 equal points and some others: lists of 5000, 64, 65 and few entries.
  std::vector<double> features(2 * 5000, 0.3);
  for (int copy = 0; copy < 64; ++copy) features.insert(features.end(), {9, 9});
  for (int copy = 0; copy < 65; ++copy) {
    features.insert(features.end(), {-9, 9});
  }
  const auto rest = normal<double>(2 * 50, 20);
  features.insert(features.end(), rest.begin(), rest.end());
  const auto points = static_cast<std::int64_t>(features.size()) / 2;
  const auto values = normal<double>(points * 3, 1);
  const CpuLattice<double> cpu(features.data(), points, 2);
  std::vector<double> expected(values.size());
  lattice_filter_cpu(cpu.view, blur_chains(cpu.view), values.data(), 3, false,
                     expected.data());
  const HostLattice<double> batch(HostExecutor(3), features.data(), 1, points,
                                  2);
  std::int64_t pieces = 0;
  for (std::int64_t v = 0; v < batch.count; ++v) {
    const int length = batch.offsets[v + 1] - batch.offsets[v];
    const int own = batch.piece_offsets[v + 1] - batch.piece_offsets[v];
    EXPECT_EQ(own, length > kPiece ? (length + kPiece - 1) / kPiece : 0);
    for (int p = 0; p < own; ++p) {
      EXPECT_EQ(batch.piece_vertices[batch.piece_offsets[v] + p], v);
    }
    pieces += own;
  }
  EXPECT_GE(pieces, 3 * 79);
  EXPECT_LE(pieces, batch.view.piece_bound());
  EXPECT_LT(worst(batch.filter(HostExecutor(), values, 3, false), expected),
            1e-10);
}

TEST(Batch, RefusesFeaturesThatAreNotFiniteOrTooFar) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity(), 1e30f}) {
    const std::vector<float> features{0.f, bad, 1.f, 2.f};
    EXPECT_EQ(
        HostLattice<float>(HostExecutor(), features.data(), 1, 2, 2).count, -1);
  }
}

struct Options {
  std::int64_t images = 1, labels = 3, points = 90;
  Compatibility kind = Compatibility::kPotts;
  Normalization normalization = Normalization::kAfter;
  bool shared = true;
  bool own_weights = false;
  std::int64_t cache = std::int64_t{1} << 40;
  std::int64_t stride = 1;
  double spread = 0.7;
};

// Marginals [images, labels, points] by the steps of the CUDA launchers, and by
// the definition.
template <typename scalar_t, typename storage_t>
class Inference {
 public:
  explicit Inference(const Options& o)
      : o_(o),
        unary_(normal<scalar_t>(o.images * o.labels * o.points, 1, 1)),
        position_(normal<scalar_t>((o.shared ? 1 : o.images) * o.points * 2,
                                   o.spread, 2)),
        color_(normal<scalar_t>(o.images * o.points * 5, o.spread, 3)),
        compatibility_(normal<scalar_t>(o.labels * o.labels, 0.5, 4)) {
    for (std::int64_t image = 0; image < o.images; ++image) {
      const double shift =
          o.own_weights ? 0.25 * static_cast<double>(image) : 0;
      weights_.push_back(static_cast<scalar_t>(1.5 + shift));
    }
    for (std::int64_t image = 0; image < o.images; ++image) {
      const double shift = o.own_weights ? 0.5 * static_cast<double>(image) : 0;
      weights_.push_back(static_cast<scalar_t>(0.75 + shift));
    }
  }

  std::vector<scalar_t> emulated() const {
    HostExecutor run(o_.stride);
    const HostLattice<scalar_t> position(
        run, position_.data(), o_.shared ? 1 : o_.images, o_.points, 2);
    const HostLattice<scalar_t> color(run, color_.data(), o_.images, o_.points,
                                      5);
    BatchProblem<scalar_t> problem{};
    problem.unary = unary_.data();
    problem.images = o_.images;
    problem.labels = o_.labels;
    problem.image_points = o_.points;
    problem.kernel_count = 2;
    problem.lattices[0] = position.view;
    problem.lattices[1] = color.view;
    problem.image_weights = weights_.data();
    problem.kind = o_.kind;
    problem.compatibility = matrix();
    problem.normalization = o_.normalization;
    problem.iterations = 3;
    Arena measure;
    const BatchInference<scalar_t, storage_t> measured(problem, o_.cache,
                                                       measure);
    const HostMemory memory(measure.bytes());
    Arena arena(memory.get());
    const BatchInference<scalar_t, storage_t> inference(problem, o_.cache,
                                                        arena);
    inference.start(run);
    for (int iteration = 0; iteration < 3; ++iteration) inference.iterate(run);
    std::vector<scalar_t> out(unary_.size(), scalar_t(-1));
    inference.finish(run, out.data());
    steps = run.steps;
    return out;
  }

  // The update as its definition has it, over the CPU's filter.
  std::vector<scalar_t> by_cpu() const {
    std::vector<scalar_t> out(unary_.size());
    for (std::int64_t image = 0; image < o_.images; ++image) {
      const CpuLattice<scalar_t> position(
          position_.data() + (o_.shared ? 0 : image) * o_.points * 2, o_.points,
          2);
      const CpuLattice<scalar_t> color(color_.data() + image * o_.points * 5,
                                       o_.points, 5);
      infer(image, {&position, &color}, out.data());
    }
    return out;
  }

  mutable int steps = 0;

 private:
  void infer(std::int64_t image,
             const std::vector<const CpuLattice<scalar_t>*>& lattices,
             scalar_t* out) const {
    const std::int64_t labels = o_.labels, points = o_.points;
    const auto filter = [&](const CpuLattice<scalar_t>& lattice,
                            const std::vector<scalar_t>& values) {
      std::vector<scalar_t> filtered(values.size());
      lattice_filter_cpu(lattice.view, blur_chains(lattice.view), values.data(),
                         static_cast<std::int64_t>(values.size()) / points,
                         false, filtered.data());
      return filtered;
    };
    const scalar_t* unary = unary_.data() + image * labels * points;
    std::vector<scalar_t> q(points * labels), message(points * labels);
    for (int iteration = 0; iteration <= 3; ++iteration) {
      std::fill(message.begin(), message.end(), scalar_t(0));
      for (std::size_t m = 0; m < (iteration > 0 ? lattices.size() : 0); ++m) {
        const auto norm =
            filter(*lattices[m], std::vector<scalar_t>(points, scalar_t(1)));
        const bool normal = o_.normalization != Normalization::kNo;
        auto scaled = q;
        for (std::int64_t k = 0; k < points * labels && normal; ++k) {
          scaled[k] *= input_scale(norm[k / labels], o_.normalization);
        }
        const auto filtered = filter(*lattices[m], scaled);
        for (std::int64_t k = 0; k < points * labels; ++k) {
          const scalar_t after =
              normal ? output_scale(norm[k / labels], o_.normalization)
                     : scalar_t(1);
          message[k] += weights_[m * o_.images + image] * after * filtered[k];
        }
      }
      for (std::int64_t i = 0; i < points; ++i) {
        std::vector<double> logits;
        for (int l = 0; l < labels; ++l) {
          double logit = -unary[l * points + i];
          if (iteration > 0) {
            logit -=
                pairwise_energy(message.data() + i * labels, l,
                                static_cast<int>(labels), o_.kind, matrix());
          }
          logits.push_back(logit);
        }
        const double most = *std::max_element(logits.begin(), logits.end());
        double sum = 0;
        for (double logit : logits) sum += std::exp(logit - most);
        for (int l = 0; l < labels; ++l) {
          q[i * labels + l] =
              static_cast<scalar_t>(std::exp(logits[l] - most) / sum);
          out[image * labels * points + l * points + i] = q[i * labels + l];
        }
      }
    }
  }

  const scalar_t* matrix() const {
    return o_.kind == Compatibility::kPotts ? nullptr : compatibility_.data();
  }

  Options o_;
  std::vector<scalar_t> unary_, position_, color_, compatibility_, weights_;
};

TEST(Batch, MeanFieldEqualsTheCpus) {
  for (std::int64_t labels : {1, 2, 8, 9, 21, 32, 33, 60, 150}) {
    for (auto kind : {Compatibility::kPotts, Compatibility::kDiagonal,
                      Compatibility::kMatrix}) {
      Options o;
      o.labels = labels;
      o.kind = kind;
      o.points = labels > 40 ? 40 : 90;
      const Inference<double, double> inference(o);
      EXPECT_LT(worst(inference.emulated(), inference.by_cpu()), 1e-10)
          << labels << " labels, kind " << static_cast<int>(kind);
    }
  }
}

TEST(Batch, MeanFieldEqualsTheCpusForEveryNormalization) {
  for (auto mode : {Normalization::kNo, Normalization::kBefore,
                    Normalization::kAfter, Normalization::kSymmetric}) {
    Options o;
    o.images = 2;
    o.normalization = mode;
    const Inference<float, float> inference(o);
    EXPECT_LT(worst(inference.emulated(), inference.by_cpu()), 2e-5);
  }
}

TEST(Batch, ImagesShareALatticeOrBringTheirOwn) {
  for (bool shared : {false, true}) {
    for (bool own_weights : {false, true}) {
      Options o;
      o.images = 3;
      o.shared = shared;
      o.own_weights = own_weights;
      const Inference<double, double> inference(o);
      EXPECT_LT(worst(inference.emulated(), inference.by_cpu()), 1e-10);
    }
  }
}

TEST(Batch, OrderOfItemsAndBlocksOfLabelsDoNotChangeTheBits) {
  Options o;
  o.images = 2;
  o.labels = 21;
  o.spread = 0.05;  // long lists
  o.points = 400;
  const Inference<float, float> all_at_once(o);
  const auto expected = all_at_once.emulated();
  const int steps = all_at_once.steps;
  o.cache = 1;  // one block of labels at a time
  o.stride = 11;
  const Inference<float, float> one_by_one(o);
  EXPECT_EQ(one_by_one.emulated(), expected);
  EXPECT_GT(one_by_one.steps, steps);
}

TEST(Batch, AnImageGetsTheSameBitsInAnyBatch) {
  Options o;
  o.images = 3;
  o.labels = 5;
  const auto batch = Inference<float, float>(o).emulated();
  o.images = 1;  // the first image draws the same numbers
  const auto alone = Inference<float, float>(o).emulated();
  EXPECT_EQ(std::vector<float>(batch.begin(), batch.begin() + alone.size()),
            alone);
}

TEST(Batch, BlocksInCacheStayWithinTheirNumber) {
  EXPECT_EQ(blocks_in_cache(10, 100, 3), 3);
  EXPECT_EQ(blocks_in_cache(10, 25, 3), 2);
  EXPECT_EQ(blocks_in_cache(1000, 25, 3), 1);
  EXPECT_EQ(blocks_in_cache(0, 25, 3), 3);
}

TEST(Batch, HalfPrecisionRowsStayCloseAndFinite) {
  for (auto mode : {Normalization::kNo, Normalization::kBefore,
                    Normalization::kAfter, Normalization::kSymmetric}) {
    for (double spread : {0.7, 1e-4}) {
      Options o;
      o.images = 2;
      o.labels = 9;
      o.normalization = mode;
      o.spread = spread;
      // All in one simplex: rows of thousands, beyond half precision's range
      // after the blur.
      o.points = spread < 0.1 ? 4000 : 200;
      if (mode == Normalization::kNo && spread < 0.1) continue;  // saturates
      const Inference<float, Half> half(o);
      const Inference<float, float> full(o);
      EXPECT_LT(worst(half.emulated(), full.emulated()), 2e-2);
    }
  }
}

TEST(Batch, AnImageGetsTheSameHalfPrecisionBitsInAnyBatch) {
  Options o;
  o.images = 3;
  o.labels = 5;
  const auto batch = Inference<float, Half>(o).emulated();
  o.images = 1;
  const auto alone = Inference<float, Half>(o).emulated();
  EXPECT_EQ(std::vector<float>(batch.begin(), batch.begin() + alone.size()),
            alone);
}

TEST(Batch, ImagesPerLatticeKeepsEntriesInRange) {
  EXPECT_EQ(images_per_lattice(8, 187500, 6), 8);
  EXPECT_EQ(images_per_lattice(8, std::int64_t{1} << 27, 6), 1);
  EXPECT_EQ(images_per_lattice(8, std::int64_t{1} << 28, 6), 0);
  EXPECT_EQ(images_per_lattice(3, 0, 6), 3);
  const std::int64_t most = images_per_lattice(1 << 20, 187500, 6);
  EXPECT_LT(most * 187500 * 6, kMaxLatticeEntries);
}

}  // namespace
}  // namespace deeplab
