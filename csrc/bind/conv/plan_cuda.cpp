// Which way a convolution goes on CUDA.
#ifdef WITH_CUDA

#include "csrc/core/conv/plan_cuda.h"

#include <initializer_list>
#include <vector>

#include "csrc/bind/conv/atrous_cuda.h"
#include "csrc/bind/conv/batched.h"
#include "csrc/bind/conv/measure_cuda.h"

namespace deeplab {
namespace {

bool products_use_tf32() {
  return convolutions_use_tf32() &&
         at::globalContext().float32Precision(at::Float32Backend::CUDA,
                                              at::Float32Op::MATMUL) ==
             at::Float32Precision::TF32;
}

CudaConditions conditions_of(const at::Tensor& input, const Conv2dShape& shape,
                             bool packed) {
  ProductKind ours = ProductKind::kReduced;
  ProductKind library = ProductKind::kReduced;
  if (input.scalar_type() == at::kFloat) {
    ours = products_use_tf32() ? ProductKind::kTf32 : ProductKind::kFloat32;
    library =
        convolutions_use_tf32() ? ProductKind::kTf32 : ProductKind::kFloat32;
  }
  const int64_t item = input.element_size();
  const bool last =
      input.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  return {ours, library, item, scratch_bytes(shape, item), packed, last};
}

}  // namespace

bool convolutions_use_tf32() {
  const auto precision = at::globalContext().float32Precision(
      at::Float32Backend::CUDA, at::Float32Op::CONV);
  // What is not set lets them.
  return precision != at::Float32Precision::IEEE &&
         precision != at::Float32Precision::NONE;
}

ConvPath choose_cuda_path(ConvMethod method, const at::Tensor& input,
                          const Conv2dShape& shape, bool packed,
                          bool may_measure) {
  if (method == ConvMethod::kLibrary || !fits_batched(shape)) {
    return ConvPath::kLibrary;
  }
  const CudaConvCost cost(shape, conditions_of(input, shape, packed));
  using Paths = std::initializer_list<ConvPath>;
  const auto cheapest = [&](const Paths& paths) {
    return cheapest_path(shape, cost, paths);
  };
  switch (method) {
    case ConvMethod::kDirect:
      return ConvPath::kDirect;
    case ConvMethod::kWinograd:
      return cheapest({ConvPath::kWinograd4, ConvPath::kWinograd2});
    case ConvMethod::kWinograd2:
      return cheapest({ConvPath::kWinograd2});
    case ConvMethod::kWinograd4:
      return cheapest({ConvPath::kWinograd4});
    default:
      break;
  }
  const auto type = input.scalar_type();
  if (type == at::kDouble) return ConvPath::kLibrary;
  std::vector<ConvPath> paths = {ConvPath::kLibrary, ConvPath::kDirect};
  // Winograd's transforms would multiply the errors of short mantissas.
  if (type == at::kFloat && !products_use_tf32()) {
    paths.push_back(ConvPath::kWinograd2);
    if (method == ConvMethod::kFast) paths.push_back(ConvPath::kWinograd4);
  }
  return may_measure && may_measure_now()
             ? fastest_path(input, shape, packed, paths)
             : cheapest_path(shape, cost, paths);
}

bool makes_weight_gradient(ConvMethod method, const at::Tensor& input,
                           const Conv2dShape& shape) {
  if (method == ConvMethod::kLibrary || !fits_batched(shape)) return false;
  if (method != ConvMethod::kAuto && method != ConvMethod::kFast) return true;
  if (input.scalar_type() == at::kDouble) return false;
  // As many products as forward, of the same regions.
  const CudaConvCost cost(shape, conditions_of(input, shape, true));
  return cost.of(ConvPath::kDirect) < cost.of(ConvPath::kLibrary);
}

}  // namespace deeplab

#endif  // WITH_CUDA
