// meanfield: checks, the plan of each image's kernels, and the way to the
// launcher.
#include "csrc/cpu/crf/meanfield.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <vector>

#include "csrc/bind/crf/lattice.h"
#include "csrc/bind/crf/meanfield.h"

namespace deeplab {
namespace {

template <typename scalar_t>
MeanfieldProblem<scalar_t> problem_of(const MeanfieldCall& call,
                                      int64_t image) {
  const at::Tensor& unary = call.unary;
  MeanfieldProblem<scalar_t> problem{};
  call.describe(problem);
  problem.points = unary.size(2);
  problem.unary = unary.const_data_ptr<scalar_t>() +
                  image * problem.labels * problem.points;
  problem.unary_factor = unary.is_neg() ? scalar_t(-1) : scalar_t(1);
  problem.weights = call.weights_of(image).vec();
  return problem;
}

// The plan of one image's features; `own` keeps contiguous copies alive.
template <typename scalar_t>
MeanfieldPlan<scalar_t> plan_of(at::TensorList features, int64_t image,
                                int64_t points) {
  std::vector<at::Tensor> own;
  std::vector<KernelFeatures<scalar_t>> kernels;
  for (const at::Tensor& kernel : features) {
    own.push_back(kernel[kernel.size(0) > 1 ? image : 0].contiguous());
    check_features("meanfield", own.back());
    check_entry_count("meanfield", points, own.back().size(1));
    kernels.push_back({own.back().const_data_ptr<scalar_t>(),
                       static_cast<int>(own.back().size(1))});
  }
  MeanfieldPlan<scalar_t> plan;
  if (!meanfield_plan(kernels, points, plan)) {
    refuse_features("meanfield");
  }
  return plan;
}

at::Tensor run_cpu(MeanfieldCall call, bool half_storage) {
  TORCH_CHECK(
      !half_storage,
      "meanfield: storage 'float16' is for CUDA; on the CPU pass 'same'");
  call.unary = call.unary.contiguous();
  call.make_readable();
  at::Tensor out = at::empty(call.unary.sizes(), call.unary.options());
  if (out.numel() == 0) return out;
  bool differ = false;
  for (const at::Tensor& kernel : call.features) differ |= kernel.size(0) > 1;
  AT_DISPATCH_FLOATING_TYPES(call.unary.scalar_type(), "meanfield", [&] {
    MeanfieldPlan<scalar_t> plan;
    for (int64_t image = 0; image < call.unary.size(0); ++image) {
      // The order of the points follows all kernels: a plan serves the images
      // that share every kernel's features.
      if (image == 0 || differ) {
        plan = plan_of<scalar_t>(call.features, image, call.unary.size(2));
      }
      meanfield_cpu(problem_of<scalar_t>(call, image), plan,
                    out[image].mutable_data_ptr<scalar_t>());
    }
  });
  return out;
}

at::Tensor run_meta(MeanfieldCall call, bool) {
  return at::empty_symint(call.unary.sym_sizes(), call.unary.options());
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield", &deeplab::meanfield_op<deeplab::run_cpu>);
}

// The energies are minus the scores: a negative view of them saves a copy.
TORCH_LIBRARY_IMPL(deeplab, Negative, m) {
  m.impl("meanfield", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield", &deeplab::meanfield_op<deeplab::run_meta>);
}
