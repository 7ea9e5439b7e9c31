#include "csrc/bind/crf/meanfield_checks.h"

#include <limits>

#include "csrc/bind/checks.h"

namespace deeplab {

Normalization parse_normalization(const char* op, c10::string_view name) {
  if (name == "no") return Normalization::kNo;
  if (name == "before") return Normalization::kBefore;
  if (name == "after") return Normalization::kAfter;
  if (name == "symmetric") return Normalization::kSymmetric;
  TORCH_CHECK(false, op,
              ": normalization must be 'no', 'before', 'after' or "
              "'symmetric', got '",
              name, "'");
}

Compatibility compatibility_kind(const std::optional<at::Tensor>& matrix) {
  if (!matrix.has_value()) return Compatibility::kPotts;
  return matrix->dim() == 1 ? Compatibility::kDiagonal : Compatibility::kMatrix;
}

void check_meanfield(const char* op, const at::Tensor& unary,
                     at::TensorList features,
                     at::ArrayRef<double> kernel_weights,
                     const std::optional<at::Tensor>& compatibility,
                     c10::string_view normalization, int64_t iterations) {
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
  parse_normalization(op, normalization);
}

void check_meanfield_batch(const at::Tensor& unary, at::TensorList features,
                           at::ArrayRef<double> kernel_weights,
                           const std::optional<at::Tensor>& compatibility,
                           c10::string_view normalization, int64_t iterations,
                           c10::string_view storage) {
  const std::size_t kernels = features.size();
  const bool own = kernel_weights.size() > kernels && kernels > 0 &&
                   unary.dim() == 3 &&
                   unary.sym_size(0) * kernels == kernel_weights.size();
  check_meanfield("meanfield", unary, features,
                  own ? kernel_weights.slice(0, kernels) : kernel_weights,
                  compatibility, normalization, iterations);
  TORCH_CHECK(storage == "same" || storage == "float16",
              "meanfield: storage must be 'same' or 'float16', got '", storage,
              "'");
  TORCH_CHECK(storage == "same" || unary.scalar_type() == at::kFloat,
              "meanfield: storage 'float16' is for float32 problems, got ",
              unary.scalar_type());
}

at::ArrayRef<double> weights_of(at::ArrayRef<double> kernel_weights,
                                std::size_t kernels, int64_t image) {
  return kernel_weights.size() == kernels
             ? kernel_weights
             : kernel_weights.slice(image * kernels, kernels);
}

}  // namespace deeplab
