#include "csrc/bind/checks.h"

#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/sum.h>
#include <c10/core/SymBool.h>
#include <c10/util/safe_numerics.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>

#include "csrc/bind/conv/atrous.h"
#include "csrc/cpu/capability.h"

namespace deeplab {
namespace {

using c10::SymInt;
using c10::SymIntArrayRef;

void check_pair(const char* op, const char* name, SymIntArrayRef pair,
                int64_t least, const char* rule) {
  TORCH_CHECK(pair.size() == 2, op, ": ", name,
              " must be two numbers (h, w), got ", pair);
  for (const SymInt& value : pair) {
    TORCH_SYM_CHECK(value.sym_ge(least), op, ": ", name, " must be ", rule,
                    ", got ", pair);
  }
}

// [out_h, out_w] of the window over an input of the given size.
SymPair check_window(const char* op, const SymInt& height, const SymInt& width,
                     const WindowArguments& arguments) {
  const auto& [kernel, stride, padding, dilation] = arguments;
  check_pair(op, "kernel", kernel, 1, "positive");
  check_pair(op, "stride", stride, 1, "positive");
  check_pair(op, "padding", padding, 0, "non-negative");
  check_pair(op, "dilation", dilation, 1, "positive");
  const SymPair size = {height, width};
  SymPair output;
  for (size_t axis = 0; axis < 2; ++axis) {
    const SymInt extent = window_extent(kernel[axis], dilation[axis]);
    const SymInt padded = size[axis] + padding[axis] * 2;
    TORCH_SYM_CHECK(padded.sym_ge(extent), op, ": the dilated kernel's ",
                    axis == 0 ? "height (" : "width (", extent,
                    ") must be at most the padded input's (", padded, ")");
    output[axis] = window_output(size[axis], kernel[axis], stride[axis],
                                 padding[axis], dilation[axis]);
  }
  return output;
}

// Reduced types have kernels on CUDA alone; Meta stands for every device.
void check_im2col_dtype(const char* op, const char* name,
                        const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  if (type == at::kFloat || type == at::kDouble) return;
  TORCH_CHECK(!tensor.is_cpu(), op, ": ", name,
              " must be float32 or float64 on the CPU, got ", type);
  TORCH_CHECK(type == at::kHalf || type == at::kBFloat16, op, ": ", name,
              " must be float16, bfloat16, float32 or float64, got ", type);
}

constexpr struct {
  const char* name;
  ConvMethod method;
} kMethods[] = {
    {"auto", ConvMethod::kAuto},
    {"fast", ConvMethod::kFast},
    {"im2col", ConvMethod::kIm2col},
    {"interlace", ConvMethod::kInterlace},
    {"library", ConvMethod::kLibrary},
    {"direct", ConvMethod::kDirect},
    {"winograd", ConvMethod::kWinograd},
    {"winograd2", ConvMethod::kWinograd2},
    {"winograd4", ConvMethod::kWinograd4},
};

ConvMethod parse_method(const char* op, std::string_view method) {
  std::string names;
  for (const auto& known : kMethods) {
    if (method == known.name) return known.method;
    names += std::string(names.empty() ? "'" : ", '") + known.name + "'";
  }
  TORCH_CHECK(false, op, ": method must be one of ", names, ", got '", method,
              "'");
}

WindowArguments window_of(const ConvArguments& arguments) {
  return {arguments.weight.sym_sizes().slice(2), arguments.stride,
          arguments.padding, arguments.dilation};
}

}  // namespace

SymPair check_im2col(const char* op, const at::Tensor& input,
                     const WindowArguments& arguments) {
  check_dim(op, "input", input, 4, "[N, C, H, W]");
  check_im2col_dtype(op, "input", input);
  return check_window(op, input.sym_size(2), input.sym_size(3), arguments);
}

SymPair check_col2im(const char* op, const at::Tensor& columns,
                     SymIntArrayRef size, const WindowArguments& arguments) {
  check_dim(op, "columns", columns, 3, "[N, C * kernel_h * kernel_w, L]");
  check_im2col_dtype(op, "columns", columns);
  check_pair(op, "size", size, 0, "non-negative");
  const SymPair output = check_window(op, size[0], size[1], arguments);
  const SymInt taps = arguments.kernel[0] * arguments.kernel[1];
  TORCH_SYM_CHECK((columns.sym_size(1) % taps).sym_eq(0), op,
                  ": columns must have a multiple of kernel_h * kernel_w = ",
                  taps, " rows, got ", columns.sym_sizes());
  const SymInt length = output[0] * output[1];
  TORCH_SYM_CHECK(columns.sym_size(2).sym_eq(length), op,
                  ": columns must have out_h * out_w = ", output[0], " * ",
                  output[1], " = ", length, " places, got ",
                  columns.sym_sizes());
  return output;
}

CheckedConv check_conv(const ConvArguments& arguments) {
  const auto& [op, input, weight, stride, padding, dilation, groups, name] =
      arguments;
  const ConvMethod method = parse_method(op, name);
  check_dim(op, "input", input, 4, "[N, C, H, W]");
  check_dim(op, "weight", weight, 4, "[F, C / groups, kernel_h, kernel_w]");
  check_same_device(op, "weight", weight, "input", input);
  check_same_dtype(op, "weight", weight, "input", input);
  TORCH_CHECK(at::isFloatingType(input.scalar_type()), op,
              ": input must be floating point, got ", input.scalar_type());
  const SymInt channels = input.sym_size(1);
  const SymInt filters = weight.sym_size(0);
  TORCH_SYM_CHECK(groups.sym_ge(1), op, ": groups must be positive, got ",
                  groups);
  TORCH_SYM_CHECK(channels.sym_ge(1), op,
                  ": input must have at least one channel, got ",
                  input.sym_sizes());
  TORCH_SYM_CHECK(filters.sym_ge(1), op,
                  ": weight must have at least one filter, got ",
                  weight.sym_sizes());
  TORCH_SYM_CHECK(channels.sym_eq(weight.sym_size(1) * groups), op,
                  ": input must have weight's channels times groups (",
                  weight.sym_size(1), " * ", groups, "), got ", channels);
  TORCH_SYM_CHECK((filters % groups).sym_eq(0), op,
                  ": groups must divide the number of filters (", filters,
                  "), got ", groups);
  return {method, input.sym_size(0), filters,
          check_window(op, input.sym_size(2), input.sym_size(3),
                       window_of(arguments))};
}

void check_bias(const ConvArguments& arguments,
                const std::optional<at::Tensor>& bias) {
  if (!bias || !bias->defined()) return;
  check_dim(arguments.op, "bias", *bias, 1, "[F]");
  check_same_device(arguments.op, "bias", *bias, "input", arguments.input);
  check_same_dtype(arguments.op, "bias", *bias, "input", arguments.input);
  const SymInt filters = arguments.weight.sym_size(0);
  TORCH_SYM_CHECK(bias->sym_size(0).sym_eq(filters), arguments.op,
                  ": bias must have one value per filter (", filters, "), got ",
                  bias->sym_sizes());
}

void check_grad(const ConvArguments& arguments, const CheckedConv& checked,
                const at::Tensor& grad) {
  const char* op = arguments.op;
  check_dim(op, "grad", grad, 4, "[N, F, out_h, out_w]");
  check_same_device(op, "grad", grad, "input", arguments.input);
  check_same_dtype(op, "grad", grad, "input", arguments.input);
  const auto sizes = checked.output_sizes();
  for (int64_t axis = 0; axis < 4; ++axis) {
    TORCH_SYM_CHECK(grad.sym_size(axis).sym_eq(sizes[axis]), op,
                    ": grad must have the output's sizes ",
                    SymIntArrayRef(sizes), ", got ", grad.sym_sizes());
  }
}

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

ConvPath check_pack(const char* op, const at::Tensor& weight,
                    const SymInt& groups, std::string_view method) {
  check_dim(op, "weight", weight, 4, "[F, C / groups, kernel_h, kernel_w]");
  TORCH_CHECK(at::isFloatingType(weight.scalar_type()), op,
              ": weight must be floating point, got ", weight.scalar_type());
  TORCH_SYM_CHECK(groups.sym_ge(1), op, ": groups must be positive, got ",
                  groups);
  TORCH_SYM_CHECK((weight.sym_size(0) % groups).sym_eq(0), op,
                  ": groups must divide the number of filters (",
                  weight.sym_size(0), "), got ", groups);
  if (method == path_name(ConvPath::kDirect)) return ConvPath::kDirect;
  for (const ConvPath path : {ConvPath::kWinograd2, ConvPath::kWinograd4}) {
    if (method != path_name(path)) continue;
    TORCH_SYM_CHECK(weight.sym_size(2).sym_eq(3) & weight.sym_size(3).sym_eq(3),
                    op, ": method '", method, "' takes 3x3 kernels, got ",
                    weight.sym_sizes());
    return path;
  }
  TORCH_CHECK(false, op,
              ": method must be one of 'direct', 'winograd2', 'winograd4', "
              "got '",
              method, "'");
}

ConvPath check_packed(const ConvArguments& arguments,
                      const at::Tensor& packed) {
  const char* op = arguments.op;
  const ConvPath path =
      check_pack(op, arguments.weight, arguments.groups, arguments.method);
  if (winograd_tile(path) != 0) {
    for (const SymInt& stride : arguments.stride) {
      TORCH_SYM_CHECK(stride.sym_eq(1), op, ": method '", arguments.method,
                      "' takes stride 1, got ", arguments.stride);
    }
  }
  check_dim(op, "packed", packed, 1, "[elements]");
  check_same_device(op, "packed", packed, "input", arguments.input);
  const at::ScalarType type = compute_type(arguments.input);
  TORCH_CHECK(packed.scalar_type() == type, op, ": packed must be ", type,
              " for an input of ", arguments.input.scalar_type(), ", got ",
              packed.scalar_type());
  const SymInt size = packed_size(arguments.weight, path);
  TORCH_SYM_CHECK(packed.sym_size(0).sym_eq(size), op, ": packed must have ",
                  size, " elements with method '", arguments.method, "', got ",
                  packed.sym_size(0));
  return path;
}

SymInt packed_size(const at::Tensor& weight, ConvPath path) {
  const int64_t side = winograd_tile(path) + 2;
  return path == ConvPath::kDirect
             ? weight.sym_numel()
             : weight.sym_size(0) * weight.sym_size(1) * side * side;
}

Window2d make_window(const char* op, const SymInt& planes, const SymInt& height,
                     const SymInt& width, const WindowArguments& arguments) {
  const auto axis = [&](size_t i, const SymInt& size) {
    const int64_t values[] = {
        size.expect_int(), arguments.kernel[i].expect_int(),
        arguments.stride[i].expect_int(), arguments.padding[i].expect_int(),
        arguments.dilation[i].expect_int()};
    for (const int64_t value : values) {
      TORCH_CHECK(value <= kMaxWindowValue, op,
                  ": sizes, kernel, stride, padding and dilation must be at "
                  "most ",
                  kMaxWindowValue, ", got ", value);
    }
    return make_window_axis(values[0], values[1], values[2], values[3],
                            values[4]);
  };
  const Window2d window = {axis(0, height), axis(1, width)};
  int64_t size = std::max<int64_t>(planes.expect_int(), 1);
  for (const int64_t factor :
       {window.h.kernel, window.w.kernel, window.h.output, window.w.output}) {
    TORCH_CHECK(!c10::mul_overflows(size, factor, &size), op,
                ": the columns must have fewer than 2^63 elements, got ",
                planes, " planes of [", window.h.kernel, ", ", window.w.kernel,
                "] taps at [", window.h.output, ", ", window.w.output,
                "] places");
  }
  return window;
}

Conv2dShape make_shape(const ConvArguments& arguments) {
  const at::Tensor& input = arguments.input;
  Conv2dShape shape;
  shape.batch = input.size(0);
  shape.channels = input.size(1);
  shape.filters = arguments.weight.size(0);
  shape.groups = arguments.groups.expect_int();
  shape.window =
      make_window(arguments.op, shape.batch * shape.channels, input.size(2),
                  input.size(3), window_of(arguments));
  return shape;
}

at::Tensor library_conv2d(const ConvArguments& arguments,
                          const std::optional<at::Tensor>& bias) {
  return at::convolution_symint(
             arguments.input, arguments.weight, bias, arguments.stride,
             arguments.padding, arguments.dilation, /*transposed=*/false,
             /*output_padding=*/SymPair{0, 0}, arguments.groups)
      .contiguous(result_format(ConvMethod::kLibrary, arguments.input));
}

Gradients library_conv2d_backward(const ConvArguments& arguments,
                                  const at::Tensor& grad,
                                  std::array<bool, 3> output_mask) {
  const SymInt filters = arguments.weight.sym_size(0);
  auto [grad_input, grad_weight, grad_bias] = at::convolution_backward_symint(
      grad, arguments.input, arguments.weight, SymIntArrayRef(filters),
      arguments.stride, arguments.padding, arguments.dilation,
      /*transposed=*/false, /*output_padding=*/SymPair{0, 0}, arguments.groups,
      output_mask);
  const auto laid_out_like = [](const at::Tensor& result,
                                const at::Tensor& like) {
    return result.defined()
               ? result.contiguous(result_format(ConvMethod::kLibrary, like))
               : result;
  };
  return {laid_out_like(grad_input, arguments.input),
          laid_out_like(grad_weight, arguments.weight), grad_bias};
}

void complete_gradients(const ConvArguments& arguments, const at::Tensor& grad,
                        std::array<bool, 3> output_mask, Gradients& result) {
  if (output_mask[2]) {
    std::get<2>(result) = grad.sum({0, 2, 3});
    output_mask[2] = false;
  }
  if (output_mask[0] || output_mask[1]) {
    const Gradients rest =
        library_conv2d_backward(arguments, grad, output_mask);
    if (output_mask[0]) std::get<0>(result) = std::get<0>(rest);
    if (output_mask[1]) std::get<1>(result) = std::get<1>(rest);
  }
}

}  // namespace deeplab
