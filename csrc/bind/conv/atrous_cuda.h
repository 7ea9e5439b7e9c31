// What the CUDA registrations of the convolution family share.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>

#include <optional>

#include "csrc/bind/conv/atrous.h"
#include "csrc/core/conv/plan_cuda.h"

namespace deeplab {

// Whether torch's float32 convolutions may use TensorFloat-32.
bool convolutions_use_tf32();

// Within it, torch's matrix products use TensorFloat-32 only where its
// convolutions may too: they stand in for one.
class ProductPrecision {
 public:
  ProductPrecision() {
    if (!convolutions_use_tf32()) guard_.emplace();
  }

 private:
  std::optional<at::NoTF32Guard> guard_;
};

// Whether `method` makes the weight gradient region by region.
bool makes_weight_gradient(ConvMethod method, const at::Tensor& input,
                           const Conv2dShape& shape);

}  // namespace deeplab
