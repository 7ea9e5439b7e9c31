#include "csrc/cpu/crf/exact.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/crf/point_rows.h"
#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 512;
constexpr std::int64_t kTileGrain = kPointGrain / kPointTile;

// One kernel's points in blocks, and its normalisation.
template <typename scalar_t>
struct PairKernel {
  std::vector<scalar_t> by_feature;
  std::vector<scalar_t> boxes;
  ExactBlocks<scalar_t> blocks;
  std::vector<scalar_t> input;   // [P] factor before the filter
  std::vector<scalar_t> output;  // [P] factor after it, the weight included
  std::vector<scalar_t> error;   // [P] bound from skipping, weight included
};

template <typename scalar_t>
void filter(const ExactBlocks<scalar_t>& blocks, const scalar_t* values,
            std::int64_t width, scalar_t* out, scalar_t* skipped) {
  const std::int64_t count = (blocks.points + kExactBlock - 1) / kExactBlock;
  parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    row_kernels<scalar_t>().exact(blocks, values, width, out, skipped, begin,
                                  end);
  });
}

template <typename scalar_t>
void arrange(const scalar_t* features, std::int64_t points, int d,
             double skip_below, PairKernel<scalar_t>& kernel) {
  const std::int64_t count = (points + kExactBlock - 1) / kExactBlock;
  kernel.by_feature.resize(points * d);
  kernel.boxes.resize(count * 2 * d);
  for (std::int64_t b = 0; b < count; ++b) {
    scalar_t* low = kernel.boxes.data() + b * 2 * d;
    scalar_t* high = low + d;
    const std::int64_t last = std::min(points, (b + 1) * kExactBlock);
    for (int j = 0; j < d; ++j) {
      low[j] = std::numeric_limits<scalar_t>::max();
      high[j] = std::numeric_limits<scalar_t>::lowest();
      for (std::int64_t i = b * kExactBlock; i < last; ++i) {
        const scalar_t value = features[i * d + j];
        kernel.by_feature[j * points + i] = value;
        low[j] = std::min(low[j], value);
        high[j] = std::max(high[j], value);
      }
    }
  }
  kernel.blocks = {points, d, kernel.by_feature.data(), kernel.boxes.data(),
                   static_cast<scalar_t>(skip_below)};
}

template <typename scalar_t>
void normalize(double weight, double gain, Normalization mode,
               PairKernel<scalar_t>& kernel) {
  const std::int64_t points = kernel.blocks.points;
  const auto factor = static_cast<scalar_t>(weight);
  std::vector<scalar_t> values(points, scalar_t(1)), norm(points),
      skipped(points);
  filter(kernel.blocks, values.data(), 1, norm.data(), skipped.data());
  kernel.input.resize(points);
  kernel.output.resize(points);
  for (std::int64_t i = 0; i < points; ++i) {
    kernel.input[i] = input_scale(norm[i], mode);
    kernel.output[i] = factor * output_scale(norm[i], mode);
  }
  kernel.error.assign(points, scalar_t(0));
  if (kernel.blocks.skip_below <= 0) return;

  const scalar_t largest =
      *std::max_element(kernel.input.begin(), kernel.input.end());
  std::vector<scalar_t> inputs(points), ratios(points);
  filter<scalar_t>(kernel.blocks, kernel.input.data(), 1, inputs.data(),
                   nullptr);
  for (std::int64_t i = 0; i < points; ++i) {
    values[i] =
        kernel.input[i] * skipped[i] / (norm[i] + norm_floor<scalar_t>());
  }
  filter<scalar_t>(kernel.blocks, values.data(), 1, ratios.data(), nullptr);
  for (std::int64_t i = 0; i < points; ++i) {
    kernel.error[i] = static_cast<scalar_t>(std::abs(weight) * gain) *
                      skipping_error(norm[i], skipped[i], inputs[i], ratios[i],
                                     largest, mode);
  }
}

}  // namespace

template <typename scalar_t>
double meanfield_exact_cpu(const ExactProblem<scalar_t>& problem,
                           scalar_t* out) {
  const std::int64_t points = problem.points;
  const std::int64_t labels = problem.labels;
  // One channel more than labels: it carries each point's error bound through
  // the filter.
  const std::int64_t width = (labels + 8) / 8 * 8;
  const double gain =
      compatibility_gain(problem.kind, problem.compatibility, labels);

  std::vector<PairKernel<scalar_t>> kernels(problem.features.size());
  for (std::size_t m = 0; m < kernels.size(); ++m) {
    arrange(problem.features[m], points, problem.dimensions[m],
            problem.skip_below, kernels[m]);
    normalize(problem.weights[m], gain, problem.normalization, kernels[m]);
  }

  const auto marginals = make_buffer<scalar_t>(points * width);
  const auto scaled = make_buffer<scalar_t>(points * width);
  const auto filtered = make_buffer<scalar_t>(points * width);
  const auto message = make_buffer<scalar_t>(points * width);
  const auto unary = make_buffer<scalar_t>(rows_size(width, points));
  planes_to_rows(problem.unary, scalar_t(1), nullptr, labels, points, width,
                 unary.get());
  UpdateArguments<scalar_t> arguments{};
  arguments.unary = unary.get();
  arguments.labels = labels;
  arguments.width = width;
  arguments.kind = problem.kind;
  arguments.compatibility = problem.compatibility;
  arguments.marginals = marginals.get();
  std::vector<scalar_t> shift(points, scalar_t(0));
  for (int iteration = 0; iteration <= problem.iterations; ++iteration) {
    if (iteration > 0) {
      std::fill(message.get(), message.get() + points * width, scalar_t(0));
      std::fill(shift.begin(), shift.end(), scalar_t(0));
      for (const PairKernel<scalar_t>& kernel : kernels) {
        parallel_for(
            0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t k = begin * width; k < end * width; ++k) {
                scaled[k] = kernel.input[k / width] * marginals[k];
              }
            });
        filter<scalar_t>(kernel.blocks, scaled.get(), width, filtered.get(),
                         nullptr);
        parallel_for(
            0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin; i < end; ++i) {
                for (std::int64_t l = 0; l < labels; ++l) {
                  message[i * width + l] +=
                      kernel.output[i] * filtered[i * width + l];
                }
                shift[i] += kernel.error[i] + static_cast<scalar_t>(gain) *
                                                  std::abs(kernel.output[i]) *
                                                  filtered[i * width + labels];
              }
            });
      }
      arguments.message = message.get();
    }
    parallel_for(
        0, tile_count(points), kTileGrain,
        [&](std::int64_t first, std::int64_t last) {
          const std::int64_t begin = first * kPointTile;
          const std::int64_t end = std::min(points, last * kPointTile);
          std::vector<scalar_t> scratch(2 * kPointTile * width);
          row_kernels<scalar_t>().update(arguments, scratch.data(), begin, end);
          for (std::int64_t i = begin; i < end; ++i) {
            scalar_t* q = marginals.get() + i * width;
            scalar_t largest = 0;
            for (std::int64_t l = 0; l < labels; ++l) {
              largest = std::max(largest, std::min(q[l], scalar_t(1) - q[l]));
            }
            q[labels] = softmax_error(largest, shift[i]);
          }
        });
  }

  scalar_t bound = 0;
  for (std::int64_t i = 0; i < points; ++i) {
    for (std::int64_t l = 0; l < labels; ++l) {
      out[l * points + i] = marginals[i * width + l];
    }
    bound = std::max(bound, marginals[i * width + labels]);
  }
  return bound;
}

template double meanfield_exact_cpu(const ExactProblem<float>&, float*);
template double meanfield_exact_cpu(const ExactProblem<double>&, double*);

}  // namespace deeplab
