// Which way a convolution goes, on the CPU and where torch's ops do it; CUDA's
// part is in plan_cuda.cpp.
#include <torch/library.h>

#include <initializer_list>
#include <string>

#include "csrc/bind/conv/atrous.h"
#include "csrc/cpu/capability.h"

namespace deeplab {

at::MemoryFormat result_format(ConvMethod method, const at::Tensor& like) {
  return method == ConvMethod::kIm2col ? at::MemoryFormat::Contiguous
                                       : like.suggest_memory_format();
}

at::ScalarType compute_type(const at::Tensor& input) {
  return at::isReducedFloatingType(input.scalar_type()) ? at::kFloat
                                                        : input.scalar_type();
}

bool widens(ConvMethod method, const at::Tensor& input) {
  const auto type = input.scalar_type();
  if (!input.is_cpu() || !at::isReducedFloatingType(type) ||
      method == ConvMethod::kLibrary) {
    return false;
  }
  const bool multiplied = type == at::kBFloat16
                              ? has_bfloat16()
                              : type == at::kHalf && has_float16();
  return !multiplied ||
         (method != ConvMethod::kAuto && method != ConvMethod::kFast);
}

bool can_pack(ConvMethod method, const at::Tensor& input) {
  const auto type = input.scalar_type();
  return method != ConvMethod::kIm2col && method != ConvMethod::kInterlace &&
         method != ConvMethod::kLibrary && input.is_cpu() &&
         (type == at::kFloat || type == at::kDouble || widens(method, input));
}

ConvPath choose_path(ConvMethod method, const at::Tensor& input,
                     const Conv2dShape& shape, bool packed) {
  if (method == ConvMethod::kIm2col) return ConvPath::kIm2col;
  if (method == ConvMethod::kInterlace) {
    const bool dense_steps =
        shape.window.h.stride == 1 && shape.window.w.stride == 1;
    return dense_steps ? ConvPath::kInterlace : ConvPath::kLibrary;
  }
#ifdef WITH_CUDA
  if (input.is_cuda()) {
    return choose_cuda_path(method, input, shape, packed, true);
  }
#endif
  if (!can_pack(method, input)) return ConvPath::kLibrary;
  if (method == ConvMethod::kDirect) return ConvPath::kDirect;
  using Paths = std::initializer_list<ConvPath>;
  const ConvConditions conditions = {
      packed, input.suggest_memory_format() == at::MemoryFormat::ChannelsLast};
  const auto cheapest = [&](const Paths& paths) {
    return cheapest_path(shape, ConvCost(shape, conditions), paths);
  };
  switch (method) {
    case ConvMethod::kWinograd:
      return cheapest({ConvPath::kWinograd4, ConvPath::kWinograd2});
    case ConvMethod::kWinograd2:
      return cheapest({ConvPath::kWinograd2});
    case ConvMethod::kWinograd4:
      return cheapest({ConvPath::kWinograd4});
    default:
      break;
  }
  // The model's unit is a product of floats.
  if (input.scalar_type() == at::kDouble) return ConvPath::kLibrary;
  return method == ConvMethod::kAuto
             ? cheapest({ConvPath::kDirect, ConvPath::kWinograd2,
                         ConvPath::kLibrary})
             : cheapest({ConvPath::kDirect, ConvPath::kWinograd2,
                         ConvPath::kWinograd4, ConvPath::kLibrary});
}

const char* path_name(ConvPath path) {
  switch (path) {
    case ConvPath::kIm2col:
      return "im2col";
    case ConvPath::kInterlace:
      return "interlace";
    case ConvPath::kDirect:
      return "direct";
    case ConvPath::kWinograd2:
      return "winograd2";
    case ConvPath::kWinograd4:
      return "winograd4";
    default:
      return "library";
  }
}

namespace {

std::string plan_name(const at::Tensor& input, const at::Tensor& weight,
                      c10::SymIntArrayRef stride, c10::SymIntArrayRef padding,
                      c10::SymIntArrayRef dilation, c10::SymInt groups,
                      c10::string_view method, bool packed) {
  const Conv2dCall call("atrous_conv2d", input, weight, std::nullopt, stride,
                        padding, dilation, groups, method);
  return path_name(choose_path(call.method, input, call.shape(), packed));
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CompositeExplicitAutograd, m) {
  m.impl("atrous_conv2d_plan", &plan_name);
}

}  // namespace deeplab
