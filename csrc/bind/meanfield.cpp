// meanfield: checks, lattices of each image's kernels, and the way to the
// launchers.
#include "csrc/cpu/meanfield.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "csrc/bind/checks.h"
#include "csrc/bind/lattice.h"
#ifdef WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/meanfield.h"
#endif

namespace deeplab {
namespace {

Normalization parse_normalization(c10::string_view name) {
  if (name == "no") return Normalization::kNo;
  if (name == "before") return Normalization::kBefore;
  if (name == "after") return Normalization::kAfter;
  if (name == "symmetric") return Normalization::kSymmetric;
  TORCH_CHECK(false,
              "meanfield: normalization must be 'no', 'before', 'after' or "
              "'symmetric', got '",
              name, "'");
}

Compatibility compatibility_kind(const std::optional<at::Tensor>& matrix) {
  if (!matrix.has_value()) return Compatibility::kPotts;
  return matrix->dim() == 1 ? Compatibility::kDiagonal : Compatibility::kMatrix;
}

void check_meanfield(const at::Tensor& unary, at::TensorList features,
                     at::ArrayRef<double> kernel_weights,
                     const std::optional<at::Tensor>& compatibility,
                     c10::string_view normalization, int64_t iterations) {
  constexpr const char* op = "meanfield";
  check_dim(op, "unary", unary, 3, "[B, L, P]");
  check_float_or_double(op, "unary", unary);
  TORCH_CHECK(unary.sym_size(1) >= 1, op,
              ": unary must have at least one label, got ", unary.sym_sizes());
  TORCH_CHECK(features.size() == kernel_weights.size(), op, ": ",
              features.size(), " feature tensors for ", kernel_weights.size(),
              " kernel weights");
  for (const at::Tensor& kernel : features) {
    check_dim(op, "features", kernel, 3, "[B or 1, P, d]");
    check_same_dtype(op, "features", kernel, "unary", unary);
    check_same_device(op, "features", kernel, "unary", unary);
    TORCH_CHECK(
        (kernel.sym_size(0) == 1 || kernel.sym_size(0) == unary.sym_size(0)) &&
            kernel.sym_size(1) == unary.sym_size(2),
        op, ": features ", kernel.sym_sizes(), " do not fit unary ",
        unary.sym_sizes(), "; they must be [B or 1, P, d]");
  }
  if (compatibility.has_value()) {
    const at::Tensor& matrix = *compatibility;
    check_same_dtype(op, "compatibility", matrix, "unary", unary);
    check_same_device(op, "compatibility", matrix, "unary", unary);
    bool fits = matrix.dim() == 1 || matrix.dim() == 2;
    for (int64_t k = 0; fits && k < matrix.dim(); ++k) {
      fits = matrix.sym_size(k) == unary.sym_size(1);
    }
    TORCH_CHECK(fits, op, ": compatibility must be [L] or [L, L] with L = ",
                unary.sym_size(1), ", got ", matrix.sym_sizes());
  }
  TORCH_CHECK(iterations >= 0 && iterations <= std::numeric_limits<int>::max(),
              op, ": iterations must be 0 or more, got ", iterations);
  parse_normalization(normalization);
}

// Calls run(image, lattices) for each image; a kernel whose features are
// shared by the batch is built once.
template <typename Build, typename Run>
void for_each_image(const at::Tensor& unary, at::TensorList features,
                    const Build& build, const Run& run) {
  std::vector<LatticeTensors> lattices(features.size());
  for (int64_t image = 0; image < unary.size(0); ++image) {
    for (std::size_t m = 0; m < features.size(); ++m) {
      if (image == 0 || features[m].size(0) > 1) {
        lattices[m] = build("meanfield", features[m][image]);
      }
    }
    run(image, lattices);
  }
}

template <typename scalar_t>
MeanfieldProblem<scalar_t> problem_of(
    const at::Tensor& unary, int64_t image,
    const std::vector<LatticeTensors>& lattices,
    at::ArrayRef<double> kernel_weights,
    const std::optional<at::Tensor>& compatibility,
    c10::string_view normalization, int64_t iterations) {
  const int64_t labels = unary.size(1);
  const int64_t points = unary.size(2);
  MeanfieldProblem<scalar_t> problem{};
  problem.unary = unary.const_data_ptr<scalar_t>() + image * labels * points;
  problem.labels = labels;
  problem.points = points;
  for (const LatticeTensors& lattice : lattices) {
    problem.lattices.push_back(lattice_view<scalar_t>(lattice));
  }
  problem.weights = kernel_weights.vec();
  problem.kind = compatibility_kind(compatibility);
  problem.compatibility = compatibility.has_value()
                              ? compatibility->const_data_ptr<scalar_t>()
                              : nullptr;
  problem.normalization = parse_normalization(normalization);
  problem.iterations = static_cast<int>(iterations);
  return problem;
}

std::optional<at::Tensor> made_contiguous(
    const std::optional<at::Tensor>& tensor) {
  if (!tensor.has_value()) return tensor;
  return tensor->contiguous();
}

at::Tensor meanfield_cpu_op(const at::Tensor& unary, at::TensorList features,
                            at::ArrayRef<double> kernel_weights,
                            const std::optional<at::Tensor>& compatibility,
                            c10::string_view normalization,
                            int64_t iterations) {
  check_meanfield(unary, features, kernel_weights, compatibility, normalization,
                  iterations);
  const at::Tensor energies = unary.contiguous();
  const auto matrix = made_contiguous(compatibility);
  at::Tensor out = at::empty(energies.sizes(), energies.options());
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(energies.scalar_type(), "meanfield", [&] {
    for_each_image(
        energies, features, build_lattice_cpu,
        [&](int64_t image, const auto& lattices) {
          meanfield_cpu(
              problem_of<scalar_t>(energies, image, lattices, kernel_weights,
                                   matrix, normalization, iterations),
              out[image].mutable_data_ptr<scalar_t>());
        });
  });
  return out;
}

at::Tensor meanfield_meta_op(const at::Tensor& unary, at::TensorList features,
                             at::ArrayRef<double> kernel_weights,
                             const std::optional<at::Tensor>& compatibility,
                             c10::string_view normalization,
                             int64_t iterations) {
  check_meanfield(unary, features, kernel_weights, compatibility, normalization,
                  iterations);
  return at::empty_symint(unary.sym_sizes(), unary.options());
}

#ifdef WITH_CUDA
at::Tensor meanfield_cuda_op(const at::Tensor& unary, at::TensorList features,
                             at::ArrayRef<double> kernel_weights,
                             const std::optional<at::Tensor>& compatibility,
                             c10::string_view normalization,
                             int64_t iterations) {
  check_meanfield(unary, features, kernel_weights, compatibility, normalization,
                  iterations);
  const c10::cuda::CUDAGuard guard(unary.device());
  const at::Tensor energies = unary.contiguous();
  const auto matrix = made_contiguous(compatibility);
  at::Tensor out = at::empty(energies.sizes(), energies.options());
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(energies.scalar_type(), "meanfield", [&] {
    for_each_image(
        energies, features, build_lattice_cuda,
        [&](int64_t image, const auto& lattices) {
          const auto problem =
              problem_of<scalar_t>(energies, image, lattices, kernel_weights,
                                   matrix, normalization, iterations);
          const at::Tensor workspace = at::empty(
              {meanfield_workspace_size(problem)}, energies.options());
          check_cuda(
              "meanfield",
              meanfield_cuda(problem, workspace.mutable_data_ptr<scalar_t>(),
                             out[image].mutable_data_ptr<scalar_t>(),
                             c10::cuda::getCurrentCUDAStream()));
        });
  });
  return out;
}
#endif

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield", &deeplab::meanfield_cpu_op);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield", &deeplab::meanfield_meta_op);
}

#ifdef WITH_CUDA
TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("meanfield", &deeplab::meanfield_cuda_op);
}
#endif
