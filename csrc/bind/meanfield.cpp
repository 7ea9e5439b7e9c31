// meanfield: checks, lattices of each image's kernels, and the way to the
// launchers.
#include "csrc/cpu/meanfield.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <vector>

#include "csrc/bind/lattice.h"
#include "csrc/bind/meanfield_checks.h"
#ifdef WITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/meanfield.h"
#endif

namespace deeplab {
namespace {

// The kernels' weights for one image: those of all, or its own where each image
// brings some, one image after the other.
at::ArrayRef<double> weights_of(at::ArrayRef<double> kernel_weights,
                                std::size_t kernels, int64_t image) {
  return kernel_weights.size() == kernels
             ? kernel_weights
             : kernel_weights.slice(image * kernels, kernels);
}

void check(const at::Tensor& unary, at::TensorList features,
           at::ArrayRef<double> kernel_weights,
           const std::optional<at::Tensor>& compatibility,
           c10::string_view normalization, int64_t iterations) {
  const std::size_t kernels = features.size();
  const bool own = kernel_weights.size() > kernels && kernels > 0 &&
                   unary.dim() == 3 &&
                   unary.sym_size(0) * kernels == kernel_weights.size();
  check_meanfield("meanfield", unary, features,
                  own ? kernel_weights.slice(0, kernels) : kernel_weights,
                  compatibility, normalization, iterations);
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
  problem.weights = weights_of(kernel_weights, lattices.size(), image).vec();
  problem.kind = compatibility_kind(compatibility);
  problem.compatibility = compatibility.has_value()
                              ? compatibility->const_data_ptr<scalar_t>()
                              : nullptr;
  problem.normalization = parse_normalization("meanfield", normalization);
  problem.iterations = static_cast<int>(iterations);
  return problem;
}

at::Tensor meanfield_cpu_op(const at::Tensor& unary, at::TensorList features,
                            at::ArrayRef<double> kernel_weights,
                            const std::optional<at::Tensor>& compatibility,
                            c10::string_view normalization,
                            int64_t iterations) {
  check(unary, features, kernel_weights, compatibility, normalization,
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
  check(unary, features, kernel_weights, compatibility, normalization,
        iterations);
  return at::empty_symint(unary.sym_sizes(), unary.options());
}

#ifdef WITH_CUDA
at::Tensor meanfield_cuda_op(const at::Tensor& unary, at::TensorList features,
                             at::ArrayRef<double> kernel_weights,
                             const std::optional<at::Tensor>& compatibility,
                             c10::string_view normalization,
                             int64_t iterations) {
  check(unary, features, kernel_weights, compatibility, normalization,
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
