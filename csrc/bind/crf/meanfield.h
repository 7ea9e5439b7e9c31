// What meanfield and meanfield_exact do alike on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <type_traits>
#include <vector>

#include "csrc/core/crf/meanfield.h"

namespace deeplab {

// A call of one of the two operators, checked when it is made.
struct MeanfieldCall {
  // own_weights: each image may bring kernel weights of its own, one image
  // after the other.
  MeanfieldCall(const char* op, const at::Tensor& unary,
                at::TensorList features, at::ArrayRef<double> kernel_weights,
                const std::optional<at::Tensor>& compatibility,
                c10::string_view normalization_name, int64_t iterations,
                bool own_weights);

  // The kernels' weights for one image: those of all, or its own.
  at::ArrayRef<double> weights_of(int64_t image) const;

  Compatibility kind() const;

  // Features and compatibility as launchers read them. meanfield sees negative
  // views as they are, for the energies' sake; a launcher reads its other
  // tensors without their sign bit.
  void make_readable();

  // Sets what the problems of all launchers have in common.
  template <typename Problem>
  void describe(Problem& problem) const {
    using Pointer = decltype(problem.compatibility);
    using scalar_t = std::remove_const_t<std::remove_pointer_t<Pointer>>;
    problem.labels = unary.size(1);
    problem.kind = kind();
    problem.compatibility =
        compatibility ? compatibility->const_data_ptr<scalar_t>() : nullptr;
    problem.normalization = normalization;
    problem.iterations = iterations;
  }

  const char* op;
  at::Tensor unary;                  // [B, L, P]
  std::vector<at::Tensor> features;  // [B or 1, P, d] each
  at::ArrayRef<double> kernel_weights;
  std::optional<at::Tensor> compatibility;  // [L], [L, L] or none: Potts
  Normalization normalization;
  int iterations;
};

void check_storage(const MeanfieldCall& call, c10::string_view storage);

// The operator's arguments, as its schema has them, made a call for kRun: what
// a device registers.
template <at::Tensor (*kRun)(MeanfieldCall call, bool half_storage)>
at::Tensor meanfield_op(const at::Tensor& unary, at::TensorList features,
                        at::ArrayRef<double> kernel_weights,
                        const std::optional<at::Tensor>& compatibility,
                        c10::string_view normalization, int64_t iterations,
                        c10::string_view storage) {
  const MeanfieldCall call("meanfield", unary, features, kernel_weights,
                           compatibility, normalization, iterations,
                           /*own_weights=*/true);
  check_storage(call, storage);
  return kRun(call, storage == "float16");
}

}  // namespace deeplab
