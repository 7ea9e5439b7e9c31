// Registration of add_bias_: float32 and float64 on the CPU by our kernel,
// everything else by torch's ops.
#include "csrc/cpu/conv/add_bias.h"

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "csrc/bind/checks.h"

namespace deeplab {
namespace {

void check_maps(const at::Tensor& maps, const at::Tensor& bias) {
  check_dim("add_bias_", "maps", maps, 4, "[N, F, H, W]");
  check_dim("add_bias_", "bias", bias, 1, "[F]");
  check_same_device("add_bias_", "bias", bias, "maps", maps);
  check_same_dtype("add_bias_", "bias", bias, "maps", maps);
  TORCH_SYM_CHECK(bias.sym_size(0).sym_eq(maps.sym_size(1)),
                  "add_bias_: bias must have one value per map (",
                  maps.sym_size(1), "), got ", bias.sym_sizes());
}

void add_bias(at::Tensor maps, const at::Tensor& bias, bool relu) {
  check_maps(maps, bias);
  const auto type = maps.scalar_type();
  if (maps.is_cpu() && maps.is_contiguous(at::MemoryFormat::ChannelsLast) &&
      (type == at::kFloat || type == at::kDouble)) {
    const at::Tensor biases = bias.contiguous();
    AT_DISPATCH_FLOATING_TYPES(type, "add_bias_", [&] {
      add_bias_cpu(maps.size(0) * maps.size(2) * maps.size(3), maps.size(1),
                   biases.const_data_ptr<scalar_t>(), relu,
                   maps.data_ptr<scalar_t>());
    });
    return;
  }
  maps.add_(bias.view({-1, 1, 1}));
  if (relu) maps.relu_();
}

void add_bias_meta(at::Tensor maps, const at::Tensor& bias, bool) {
  check_maps(maps, bias);
}

}  // namespace

TORCH_LIBRARY_IMPL(deeplab, CPU, m) { m.impl("add_bias_", &add_bias); }
TORCH_LIBRARY_IMPL(deeplab, CUDA, m) { m.impl("add_bias_", &add_bias); }
TORCH_LIBRARY_IMPL(deeplab, Meta, m) { m.impl("add_bias_", &add_bias_meta); }

}  // namespace deeplab
