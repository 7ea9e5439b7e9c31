// What the operator meanfield_exact does alike on every device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>

#include "csrc/bind/crf/meanfield.h"
#include "csrc/core/crf/exact.h"

namespace deeplab {

inline constexpr const char* kExactOp = "meanfield_exact";

using ExactResult = std::tuple<at::Tensor, at::Tensor>;

// A call on real tensors: contiguous copies of what the launchers read, and
// where they write.
struct ExactRun {
  ExactRun(const MeanfieldCall& checked, double skip_below_)
      : call(checked), skip_below(skip_below_) {
    call.unary = call.unary.contiguous();
    call.make_readable();
    for (at::Tensor& kernel : call.features) kernel = kernel.contiguous();
    const auto options = call.unary.options();
    marginals = at::empty(call.unary.sizes(), options);
    error_bound = at::empty({call.unary.size(0)}, options.dtype(at::kDouble));
  }

  template <typename scalar_t>
  ExactProblem<scalar_t> problem(int64_t image) const {
    ExactProblem<scalar_t> problem{};
    call.describe(problem);
    problem.points = call.unary.size(2);
    problem.unary = call.unary.const_data_ptr<scalar_t>() +
                    image * problem.labels * problem.points;
    for (const at::Tensor& kernel : call.features) {
      const int64_t which = kernel.size(0) > 1 ? image : 0;
      problem.features.push_back(kernel.const_data_ptr<scalar_t>() +
                                 which * kernel.size(1) * kernel.size(2));
      problem.dimensions.push_back(static_cast<int>(kernel.size(2)));
    }
    problem.weights = call.kernel_weights.vec();
    problem.skip_below = skip_below;
    return problem;
  }

  MeanfieldCall call;
  double skip_below;
  at::Tensor marginals;
  at::Tensor error_bound;
};

// As meanfield_op.
template <ExactResult (*kRun)(const MeanfieldCall& call, double skip_below)>
ExactResult meanfield_exact_op(const at::Tensor& unary, at::TensorList features,
                               at::ArrayRef<double> kernel_weights,
                               const std::optional<at::Tensor>& compatibility,
                               c10::string_view normalization,
                               int64_t iterations, double skip_below) {
  const MeanfieldCall call(kExactOp, unary, features, kernel_weights,
                           compatibility, normalization, iterations,
                           /*own_weights=*/false);
  TORCH_CHECK(skip_below >= 0 && skip_below < 1, kExactOp,
              ": skip_below must be in [0, 1), got ", skip_below);
  return kRun(call, skip_below);
}

}  // namespace deeplab
