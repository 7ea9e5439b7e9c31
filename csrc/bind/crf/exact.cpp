// meanfield_exact: checks, and the way to the launchers.
#include "csrc/cpu/crf/exact.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "csrc/bind/crf/exact.h"

namespace deeplab {
namespace {

ExactResult run_cpu(const MeanfieldCall& call, double skip_below) {
  const ExactRun run(call, skip_below);
  auto* bounds = run.error_bound.mutable_data_ptr<double>();
  AT_DISPATCH_FLOATING_TYPES(call.unary.scalar_type(), kExactOp, [&] {
    for (int64_t image = 0; image < call.unary.size(0); ++image) {
      bounds[image] = meanfield_exact_cpu(
          run.problem<scalar_t>(image),
          run.marginals[image].mutable_data_ptr<scalar_t>());
    }
  });
  return {run.marginals, run.error_bound};
}

ExactResult run_meta(const MeanfieldCall& call, double) {
  const at::Tensor& unary = call.unary;
  return {at::empty_symint(unary.sym_sizes(), unary.options()),
          at::empty_symint({unary.sym_size(0)},
                           unary.options().dtype(at::kDouble))};
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CPU, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_op<deeplab::run_cpu>);
}

TORCH_LIBRARY_IMPL(deeplab, Meta, m) {
  m.impl("meanfield_exact", &deeplab::meanfield_exact_op<deeplab::run_meta>);
}
