// Checks of the mean-field operators' common arguments.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "csrc/core/meanfield.h"

namespace deeplab {

Normalization parse_normalization(const char* op, c10::string_view name);

Compatibility compatibility_kind(const std::optional<at::Tensor>& matrix);

void check_meanfield(const char* op, const at::Tensor& unary,
                     at::TensorList features,
                     at::ArrayRef<double> kernel_weights,
                     const std::optional<at::Tensor>& compatibility,
                     c10::string_view normalization, int64_t iterations);

inline std::optional<at::Tensor> made_contiguous(
    const std::optional<at::Tensor>& tensor) {
  if (!tensor.has_value()) return tensor;
  return tensor->contiguous();
}

}  // namespace deeplab
