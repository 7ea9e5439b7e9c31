// A pyramid's plan (core/pyramid.h) run tile by tile in plain loops, as its
// CUDA kernel does: what the kernel is checked by.
#pragma once

#include "csrc/core/conv/pyramid.h"

namespace deeplab {

template <typename T>
void pyramid_cpu(const PyramidPlan& plan, const PyramidArrays<T>& arrays);

}  // namespace deeplab
