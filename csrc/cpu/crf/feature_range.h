// The least and the largest value of each feature.
#pragma once

#include <cstdint>
#include <vector>

namespace deeplab {

template <typename scalar_t>
struct FeatureRange {
  std::vector<scalar_t> least, most;  // [d]
};

// Over features [N, d]; NaN is passed over. Least exceeds most where N is 0.
template <typename scalar_t>
FeatureRange<scalar_t> feature_range(const scalar_t* features,
                                     std::int64_t points, int d);

}  // namespace deeplab
