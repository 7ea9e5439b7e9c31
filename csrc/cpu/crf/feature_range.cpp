#include "csrc/cpu/crf/feature_range.h"

#include <limits>
#include <mutex>

#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 8192;

template <typename scalar_t>
FeatureRange<scalar_t> empty_range(int d) {
  return {std::vector<scalar_t>(d, std::numeric_limits<scalar_t>::max()),
          std::vector<scalar_t>(d, std::numeric_limits<scalar_t>::lowest())};
}

// Comparisons with NaN fail.
template <typename scalar_t>
void include(const scalar_t* point, int d, scalar_t* least, scalar_t* most) {
  for (int j = 0; j < d; ++j) {
    least[j] = point[j] < least[j] ? point[j] : least[j];
    most[j] = point[j] > most[j] ? point[j] : most[j];
  }
}

}  // namespace

template <typename scalar_t>
FeatureRange<scalar_t> feature_range(const scalar_t* features,
                                     std::int64_t points, int d) {
  FeatureRange<scalar_t> all = empty_range<scalar_t>(d);
  std::mutex lock;
  parallel_for(
      0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        FeatureRange<scalar_t> own = empty_range<scalar_t>(d);
        for (std::int64_t i = begin; i < end; ++i) {
          include(features + i * d, d, own.least.data(), own.most.data());
        }
        const std::lock_guard<std::mutex> guard(lock);
        include(own.least.data(), d, all.least.data(), all.most.data());
        include(own.most.data(), d, all.least.data(), all.most.data());
      });
  return all;
}

template FeatureRange<float> feature_range(const float*, std::int64_t, int);
template FeatureRange<double> feature_range(const double*, std::int64_t, int);

}  // namespace deeplab
