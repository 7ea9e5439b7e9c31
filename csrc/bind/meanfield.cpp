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

namespace deeplab {
namespace {

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
                            c10::string_view normalization, int64_t iterations,
                            c10::string_view storage) {
  check_meanfield_batch(unary, features, kernel_weights, compatibility,
                        normalization, iterations, storage);
  TORCH_CHECK(
      storage == "same",
      "meanfield: storage 'float16' is for CUDA; on the CPU pass 'same'");
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
                             c10::string_view normalization, int64_t iterations,
                             c10::string_view storage) {
  check_meanfield_batch(unary, features, kernel_weights, compatibility,
                        normalization, iterations, storage);
  return at::empty_symint(unary.sym_sizes(), unary.options());
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield", &deeplab::meanfield_cpu_op);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield", &deeplab::meanfield_meta_op);
}
