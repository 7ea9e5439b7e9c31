// The fastest way of a convolution on CUDA, timed once per kind, as cuDNN's own
// autotuning does.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "csrc/core/conv/plan.h"
#include "csrc/core/conv/window.h"

namespace deeplab {

// Whether torch autotunes, nothing asks for the same choice in every process,
// and no graph is being captured.
bool may_measure_now();

// Of `paths`; found at the first call with such an input, layout and precision,
// remembered after that. Ways without memory for a trial are left out.
ConvPath fastest_path(const at::Tensor& input, const Conv2dShape& shape,
                      bool packed, const std::vector<ConvPath>& paths);

}  // namespace deeplab
