// What the operator meanfield_exact does alike on every device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>
#include <vector>

#include "csrc/bind/crf/meanfield_checks.h"
#include "csrc/core/crf/exact.h"

namespace deeplab {

inline constexpr const char* kExactOp = "meanfield_exact";

using ExactResult = std::tuple<at::Tensor, at::Tensor>;

inline void check_exact(const at::Tensor& unary, at::TensorList features,
                        at::ArrayRef<double> kernel_weights,
                        const std::optional<at::Tensor>& compatibility,
                        c10::string_view normalization, int64_t iterations,
                        double skip_below) {
  check_meanfield(kExactOp, unary, features, kernel_weights, compatibility,
                  normalization, iterations);
  TORCH_CHECK(skip_below >= 0 && skip_below < 1, kExactOp,
              ": skip_below must be in [0, 1), got ", skip_below);
}

// Contiguous copies of what the launchers read, and where they write.
struct ExactArguments {
  ExactArguments(const at::Tensor& unary_in, at::TensorList features_in,
                 const std::optional<at::Tensor>& compatibility_in)
      : unary(unary_in.contiguous()),
        compatibility(made_contiguous(compatibility_in)),
        marginals(at::empty(unary.sizes(), unary.options())),
        error_bound(
            at::empty({unary.size(0)}, unary.options().dtype(at::kDouble))) {
    for (const at::Tensor& kernel : features_in) {
      features.push_back(kernel.contiguous());
    }
  }

  template <typename scalar_t>
  ExactProblem<scalar_t> problem(int64_t image,
                                 at::ArrayRef<double> kernel_weights,
                                 c10::string_view normalization,
                                 int64_t iterations, double skip_below) const {
    ExactProblem<scalar_t> problem{};
    problem.labels = unary.size(1);
    problem.points = unary.size(2);
    problem.unary = unary.const_data_ptr<scalar_t>() +
                    image * problem.labels * problem.points;
    for (const at::Tensor& kernel : features) {
      const int64_t which = kernel.size(0) > 1 ? image : 0;
      problem.features.push_back(kernel.const_data_ptr<scalar_t>() +
                                 which * kernel.size(1) * kernel.size(2));
      problem.dimensions.push_back(static_cast<int>(kernel.size(2)));
    }
    problem.weights = kernel_weights.vec();
    problem.kind = compatibility_kind(compatibility);
    problem.compatibility = compatibility.has_value()
                                ? compatibility->const_data_ptr<scalar_t>()
                                : nullptr;
    problem.normalization = parse_normalization(kExactOp, normalization);
    problem.iterations = static_cast<int>(iterations);
    problem.skip_below = skip_below;
    return problem;
  }

  at::Tensor unary;
  std::vector<at::Tensor> features;
  std::optional<at::Tensor> compatibility;
  at::Tensor marginals;
  at::Tensor error_bound;
};

}  // namespace deeplab
