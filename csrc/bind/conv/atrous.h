// What the CPU, CUDA and Meta registrations of the convolution family share:
// argument checks, each made once, and the methods made of torch's own ops.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "csrc/core/conv/plan.h"
#include "csrc/core/conv/window.h"

namespace deeplab {

using SymPair = std::array<c10::SymInt, 2>;
using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

enum class ConvMethod {
  kAuto,
  kFast,
  kIm2col,
  kInterlace,
  kLibrary,
  kDirect,
  kWinograd,
  kWinograd2,
  kWinograd4
};

// The window arguments of one call, [h, w] each.
struct WindowArguments {
  c10::SymIntArrayRef kernel;
  c10::SymIntArrayRef stride;
  c10::SymIntArrayRef padding;
  c10::SymIntArrayRef dilation;
};

// Everything an im2col or col2im call must fulfil; returns [out_h, out_w].
SymPair check_im2col(const char* op, const at::Tensor& input,
                     const WindowArguments& arguments);
SymPair check_col2im(const char* op, const at::Tensor& columns,
                     c10::SymIntArrayRef size,
                     const WindowArguments& arguments);

// The arguments shared by atrous_conv2d and atrous_conv2d_backward.
struct ConvArguments {
  const char* op;
  const at::Tensor& input;
  const at::Tensor& weight;
  c10::SymIntArrayRef stride;
  c10::SymIntArrayRef padding;
  c10::SymIntArrayRef dilation;
  c10::SymInt groups;
  std::string_view method;
};

// A call that was checked.
struct CheckedConv {
  ConvMethod method;
  c10::SymInt batch;
  c10::SymInt filters;
  SymPair output;

  std::array<c10::SymInt, 4> output_sizes() const {
    return {batch, filters, output[0], output[1]};
  }
};

CheckedConv check_conv(const ConvArguments& arguments);
void check_bias(const ConvArguments& arguments,
                const std::optional<at::Tensor>& bias);
void check_grad(const ConvArguments& arguments, const CheckedConv& checked,
                const at::Tensor& grad);

// Layout of a result: contiguous by im2col, else `like`'s.
at::MemoryFormat result_format(ConvMethod method, const at::Tensor& like);

// Integers of a checked call with real sizes; refuses those whose products
// would leave int64.
Window2d make_window(const char* op, const c10::SymInt& planes,
                     const c10::SymInt& height, const c10::SymInt& width,
                     const WindowArguments& arguments);
Conv2dShape make_shape(const ConvArguments& arguments);

// What the CPU computes in: float for reduced types, whose results are rounded
// once.
at::ScalarType compute_type(const at::Tensor& input);

// Whether a call on the CPU has to convert to compute_type first. Not by
// 'library', nor where the processor multiplies the type itself, for which
// 'auto' and 'fast' leave it to the library.
bool widens(ConvMethod method, const at::Tensor& input);

// A bias that may be absent, in another type.
inline std::optional<at::Tensor> bias_to(const std::optional<at::Tensor>& bias,
                                         at::ScalarType type) {
  return bias && bias->defined() ? bias->to(type) : bias;
}

// Whether ways with packed weights are among `method`'s for such an input.
bool can_pack(ConvMethod method, const at::Tensor& input);

// The way `method` goes for `shape` on this device and with this dtype. Ways
// that cannot do a case leave it to the library.
ConvPath choose_path(ConvMethod method, const at::Tensor& input,
                     const Conv2dShape& shape, bool packed);

// choose_path's part for CUDA: `method` is none of "im2col", "interlace". With
// `may_measure` it times "auto" and "fast" at the first call of a kind where
// torch autotunes its convolutions too (torch.backends.cudnn.benchmark).
ConvPath choose_cuda_path(ConvMethod method, const at::Tensor& input,
                          const Conv2dShape& shape, bool packed,
                          bool may_measure);

// Its name as a method.
const char* path_name(ConvPath path);

// Arguments of the ops for packed weights; returns the way meant by `method`,
// "direct", "winograd2" or "winograd4".
ConvPath check_pack(const char* op, const at::Tensor& weight,
                    const c10::SymInt& groups, std::string_view method);
ConvPath check_packed(const ConvArguments& arguments, const at::Tensor& packed);
c10::SymInt packed_size(const at::Tensor& weight, ConvPath path);

// torch's convolution (oneDNN, cuDNN) and its gradients.
at::Tensor library_conv2d(const ConvArguments& arguments,
                          const std::optional<at::Tensor>& bias);
Gradients library_conv2d_backward(const ConvArguments& arguments,
                                  const at::Tensor& grad,
                                  std::array<bool, 3> output_mask);

// Fills in the gradients that `output_mask` still asks for: the bias's, and
// those of input and weight by the library.
void complete_gradients(const ConvArguments& arguments, const at::Tensor& grad,
                        std::array<bool, 3> output_mask, Gradients& result);

// Dense convolutions of the rate's sub-maps by the library; stride 1.
at::Tensor interlaced_conv2d(const ConvArguments& arguments,
                             const std::optional<at::Tensor>& bias);
Gradients interlaced_conv2d_backward(const ConvArguments& arguments,
                                     const at::Tensor& grad,
                                     std::array<bool, 3> output_mask);

}  // namespace deeplab
