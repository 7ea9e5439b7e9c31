// What the CPU, CUDA and Meta registrations of the convolution family share:
// argument checks, each made once, and the methods made of torch's own ops.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

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

// A call of atrous_conv2d or of an op of its family, checked when it is made.
struct Conv2dCall {
  Conv2dCall(const char* op, const at::Tensor& input, const at::Tensor& weight,
             const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
             c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
             const c10::SymInt& groups, std::string_view method_name,
             bool relu = false);

  WindowArguments window() const {
    return {weight.sym_sizes().slice(2), stride, padding, dilation};
  }
  std::array<c10::SymInt, 4> output_sizes() const {
    return {input.sym_size(0), weight.sym_size(0), output[0], output[1]};
  }
  // Integers of a call with real sizes; refuses those whose products would
  // leave int64.
  Conv2dShape shape() const;
  // The same call on tensors of another type.
  Conv2dCall to(at::ScalarType type) const;

  const char* op;
  at::Tensor input;
  at::Tensor weight;
  std::optional<at::Tensor> bias;  // never an undefined tensor
  c10::SymIntArrayRef stride;
  c10::SymIntArrayRef padding;
  c10::SymIntArrayRef dilation;
  c10::SymInt groups;
  std::string_view method_name;
  ConvMethod method;
  bool relu;
  SymPair output;  // [out_h, out_w]
};

void check_grad(const Conv2dCall& call, const at::Tensor& grad);

// Layout of a result: contiguous by im2col, else `like`'s.
at::MemoryFormat result_format(ConvMethod method, const at::Tensor& like);

// Integers of checked arguments with real sizes, as Conv2dCall::shape has them.
Window2d make_window(const char* op, const c10::SymInt& planes,
                     const c10::SymInt& height, const c10::SymInt& width,
                     const WindowArguments& arguments);

// What the CPU computes in: float for reduced types, whose results are rounded
// once.
at::ScalarType compute_type(const at::Tensor& input);

// Whether a call on the CPU has to convert to compute_type first. Not by
// 'library', nor where the processor multiplies the type itself, for which
// 'auto' and 'fast' leave it to the library.
bool widens(ConvMethod method, const at::Tensor& input);

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
ConvPath check_packed(const Conv2dCall& call, const at::Tensor& packed);
c10::SymInt packed_size(const at::Tensor& weight, ConvPath path);

// torch's convolution (oneDNN, cuDNN) and its gradients.
at::Tensor library_conv2d(const Conv2dCall& call);
Gradients library_conv2d_backward(const Conv2dCall& call,
                                  const at::Tensor& grad,
                                  std::array<bool, 3> output_mask);

// Fills in the gradients that `output_mask` still asks for: the bias's, and
// those of input and weight by the library.
void complete_gradients(const Conv2dCall& call, const at::Tensor& grad,
                        std::array<bool, 3> output_mask, Gradients& result);

// Dense convolutions of the rate's sub-maps by the library; stride 1.
at::Tensor interlaced_conv2d(const Conv2dCall& call);
Gradients interlaced_conv2d_backward(const Conv2dCall& call,
                                     const at::Tensor& grad,
                                     std::array<bool, 3> output_mask);

// The ops' arguments, as their schemas have them, made a call for kRun: what a
// device registers. Types were chosen where the op was called; autocast must
// not choose again inside.
template <at::Tensor (*kRun)(const Conv2dCall&)>
at::Tensor conv2d_op(const at::Tensor& input, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias,
                     c10::SymIntArrayRef stride, c10::SymIntArrayRef padding,
                     c10::SymIntArrayRef dilation, c10::SymInt groups,
                     c10::string_view method) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  return kRun({"atrous_conv2d", input, weight, bias, stride, padding, dilation,
               groups, method});
}

inline constexpr char kConv2dBackwardOp[] = "atrous_conv2d_backward";
template <Gradients (*kRun)(const Conv2dCall&, const at::Tensor& grad,
                            std::array<bool, 3> output_mask),
          const char* kOp = kConv2dBackwardOp>
Gradients conv2d_backward_op(const at::Tensor& grad, const at::Tensor& input,
                             const at::Tensor& weight,
                             c10::SymIntArrayRef stride,
                             c10::SymIntArrayRef padding,
                             c10::SymIntArrayRef dilation, c10::SymInt groups,
                             c10::string_view method,
                             std::array<bool, 3> output_mask) {
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const Conv2dCall call(kOp, input, weight, std::nullopt, stride, padding,
                        dilation, groups, method);
  check_grad(call, grad);
  return kRun(call, grad, output_mask);
}

template <at::Tensor (*kRun)(const Conv2dCall&, const at::Tensor& packed,
                             ConvPath path)>
at::Tensor conv2d_packed_op(const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& packed,
                            const std::optional<at::Tensor>& bias,
                            c10::SymIntArrayRef stride,
                            c10::SymIntArrayRef padding,
                            c10::SymIntArrayRef dilation, c10::SymInt groups,
                            c10::string_view method, bool relu) {
  const Conv2dCall call("atrous_conv2d_packed", input, weight, bias, stride,
                        padding, dilation, groups, method, relu);
  return kRun(call, packed, check_packed(call, packed));
}

}  // namespace deeplab
