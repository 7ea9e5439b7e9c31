// Checks of the mean-field operators' common arguments.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "csrc/core/crf/meanfield.h"

namespace deeplab {

Normalization parse_normalization(const char* op, c10::string_view name);

Compatibility compatibility_kind(const std::optional<at::Tensor>& matrix);

void check_meanfield(const char* op, const at::Tensor& unary,
                     at::TensorList features,
                     at::ArrayRef<double> kernel_weights,
                     const std::optional<at::Tensor>& compatibility,
                     c10::string_view normalization, int64_t iterations);

// As check_meanfield, where each image may bring kernel weights of its own, one
// image after the other.
void check_meanfield_batch(const at::Tensor& unary, at::TensorList features,
                           at::ArrayRef<double> kernel_weights,
                           const std::optional<at::Tensor>& compatibility,
                           c10::string_view normalization, int64_t iterations,
                           c10::string_view storage);

// The kernels' weights for one image: those of all, or its own.
at::ArrayRef<double> weights_of(at::ArrayRef<double> kernel_weights,
                                std::size_t kernels, int64_t image);

inline std::optional<at::Tensor> made_contiguous(
    const std::optional<at::Tensor>& tensor) {
  if (!tensor.has_value()) return tensor;
  return tensor->resolve_neg().contiguous();
}

// meanfield sees negative views as they are, for the energies' sake; its other
// tensors are read without their sign bit.
inline std::vector<at::Tensor> resolved(at::TensorList tensors) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& tensor : tensors) {
    result.push_back(tensor.resolve_neg());
  }
  return result;
}

}  // namespace deeplab
