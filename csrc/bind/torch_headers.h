// What nearly every file of csrc/bind includes of torch: setup.py compiles it
// once, in advance, where the compiler is GCC. Sources include what they use
// all the same, and compile without it.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>
