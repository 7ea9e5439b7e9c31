// Argument checks shared by the operator families. Each names the operator,
// the rule and the value found.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/Exception.h>

namespace deeplab {

// float32 or float64.
inline void check_float_or_double(const char* op, const char* name,
                                  const at::Tensor& tensor) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble,
      op, ": ", name, " must be float32 or float64, got ",
      tensor.scalar_type());
}

inline void check_same_dtype(const char* op, const char* name,
                             const at::Tensor& tensor, const char* other_name,
                             const at::Tensor& other) {
  TORCH_CHECK(tensor.scalar_type() == other.scalar_type(), op, ": ", name,
              " must have the dtype of ", other_name, " (", other.scalar_type(),
              "), got ", tensor.scalar_type());
}

inline void check_same_device(const char* op, const char* name,
                              const at::Tensor& tensor, const char* other_name,
                              const at::Tensor& other) {
  TORCH_CHECK(tensor.device() == other.device(), op, ": ", name,
              " must be on the device of ", other_name, " (", other.device(),
              "), got ", tensor.device());
}

inline void check_dim(const char* op, const char* name,
                      const at::Tensor& tensor, int64_t dim,
                      const char* layout) {
  TORCH_CHECK(tensor.dim() == dim, op, ": ", name, " must be ", layout,
              ", got ", tensor.sym_sizes());
}

}  // namespace deeplab
