// The data-parallel mean field, run as loops, against its definition over the
// CPU's lattice.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/cpp/crf/batch_twins.h"
#include "tests/cpp/crf/host_executor.h"

namespace deeplab {
namespace {

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

}  // namespace
}  // namespace deeplab
