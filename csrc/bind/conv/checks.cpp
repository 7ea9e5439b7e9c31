#include "csrc/bind/checks.h"

#include <c10/core/SymBool.h>
#include <c10/util/safe_numerics.h>

#include <algorithm>
#include <string>

#include "csrc/bind/conv/atrous.h"

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

Conv2dCall::Conv2dCall(const char* op_, const at::Tensor& input_,
                       const at::Tensor& weight_,
                       const std::optional<at::Tensor>& bias_,
                       SymIntArrayRef stride_, SymIntArrayRef padding_,
                       SymIntArrayRef dilation_, const SymInt& groups_,
                       std::string_view method_name_, bool relu_)
    : op(op_),
      input(input_),
      weight(weight_),
      bias(bias_ && bias_->defined() ? bias_ : std::nullopt),
      stride(stride_),
      padding(padding_),
      dilation(dilation_),
      groups(groups_),
      method_name(method_name_),
      method(parse_method(op, method_name)),
      relu(relu_) {
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
  output = check_window(op, input.sym_size(2), input.sym_size(3), window());
  if (!bias) return;
  check_dim(op, "bias", *bias, 1, "[F]");
  check_same_device(op, "bias", *bias, "input", input);
  check_same_dtype(op, "bias", *bias, "input", input);
  TORCH_SYM_CHECK(bias->sym_size(0).sym_eq(filters), op,
                  ": bias must have one value per filter (", filters, "), got ",
                  bias->sym_sizes());
}

Conv2dCall Conv2dCall::to(at::ScalarType type) const {
  Conv2dCall result = *this;
  result.input = input.to(type);
  result.weight = weight.to(type);
  if (bias) result.bias = bias->to(type);
  return result;
}

Conv2dShape Conv2dCall::shape() const {
  Conv2dShape shape;
  shape.batch = input.size(0);
  shape.channels = input.size(1);
  shape.filters = weight.size(0);
  shape.groups = groups.expect_int();
  shape.window = make_window(op, shape.batch * shape.channels, input.size(2),
                             input.size(3), window());
  return shape;
}

void check_grad(const Conv2dCall& call, const at::Tensor& grad) {
  check_dim(call.op, "grad", grad, 4, "[N, F, out_h, out_w]");
  check_same_device(call.op, "grad", grad, "input", call.input);
  check_same_dtype(call.op, "grad", grad, "input", call.input);
  const auto sizes = call.output_sizes();
  for (int64_t axis = 0; axis < 4; ++axis) {
    TORCH_SYM_CHECK(grad.sym_size(axis).sym_eq(sizes[axis]), call.op,
                    ": grad must have the output's sizes ",
                    SymIntArrayRef(sizes), ", got ", grad.sym_sizes());
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

ConvPath check_packed(const Conv2dCall& call, const at::Tensor& packed) {
  const char* op = call.op;
  const ConvPath path =
      check_pack(op, call.weight, call.groups, call.method_name);
  if (winograd_tile(path) != 0) {
    for (const SymInt& stride : call.stride) {
      TORCH_SYM_CHECK(stride.sym_eq(1), op, ": method '", call.method_name,
                      "' takes stride 1, got ", call.stride);
    }
  }
  check_dim(op, "packed", packed, 1, "[elements]");
  check_same_device(op, "packed", packed, "input", call.input);
  const at::ScalarType type = compute_type(call.input);
  TORCH_CHECK(packed.scalar_type() == type, op, ": packed must be ", type,
              " for an input of ", call.input.scalar_type(), ", got ",
              packed.scalar_type());
  const SymInt size = packed_size(call.weight, path);
  TORCH_SYM_CHECK(packed.sym_size(0).sym_eq(size), op, ": packed must have ",
                  size, " elements with method '", call.method_name, "', got ",
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

}  // namespace deeplab
