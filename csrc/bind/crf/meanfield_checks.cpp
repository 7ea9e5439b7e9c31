#include <limits>

#include "csrc/bind/checks.h"
#include "csrc/bind/crf/meanfield.h"

namespace deeplab {
namespace {

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

}  // namespace

MeanfieldCall::MeanfieldCall(const char* op_, const at::Tensor& unary_,
                             at::TensorList features_,
                             at::ArrayRef<double> kernel_weights_,
                             const std::optional<at::Tensor>& compatibility_,
                             c10::string_view normalization_name,
                             int64_t iterations_, bool own_weights)
    : op(op_),
      unary(unary_),
      features(features_.vec()),
      kernel_weights(kernel_weights_),
      compatibility(compatibility_),
      iterations(static_cast<int>(iterations_)) {
  const std::size_t kernels = features.size();
  const bool own = own_weights && kernel_weights.size() > kernels &&
                   kernels > 0 && unary.dim() == 3 &&
                   unary.sym_size(0) * kernels == kernel_weights.size();
  const auto all = own ? kernel_weights.slice(0, kernels) : kernel_weights;
  check_dim(op, "unary", unary, 3, "[B, L, P]");
  check_float_or_double(op, "unary", unary);
  TORCH_CHECK(unary.sym_size(1) >= 1, op,
              ": unary must have at least one label, got ", unary.sym_sizes());
  TORCH_CHECK(features.size() == all.size(), op, ": ", features.size(),
              " feature tensors for ", all.size(), " kernel weights");
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
  TORCH_CHECK(
      iterations_ >= 0 && iterations_ <= std::numeric_limits<int>::max(), op,
      ": iterations must be 0 or more, got ", iterations_);
  normalization = parse_normalization(op, normalization_name);
}

at::ArrayRef<double> MeanfieldCall::weights_of(int64_t image) const {
  const std::size_t kernels = features.size();
  return kernel_weights.size() == kernels
             ? kernel_weights
             : kernel_weights.slice(image * kernels, kernels);
}

Compatibility MeanfieldCall::kind() const {
  if (!compatibility) return Compatibility::kPotts;
  return compatibility->dim() == 1 ? Compatibility::kDiagonal
                                   : Compatibility::kMatrix;
}

void MeanfieldCall::make_readable() {
  for (at::Tensor& kernel : features) kernel = kernel.resolve_neg();
  if (compatibility) {
    compatibility = compatibility->resolve_neg().contiguous();
  }
}

void check_storage(const MeanfieldCall& call, c10::string_view storage) {
  TORCH_CHECK(storage == "same" || storage == "float16", call.op,
              ": storage must be 'same' or 'float16', got '", storage, "'");
  TORCH_CHECK(storage == "same" || call.unary.scalar_type() == at::kFloat,
              call.op, ": storage 'float16' is for float32 problems, got ",
              call.unary.scalar_type());
}

}  // namespace deeplab
