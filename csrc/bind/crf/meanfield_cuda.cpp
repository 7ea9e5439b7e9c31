// meanfield on CUDA: one lattice a kernel for all images that fit, one
// synchronisation for the vertices' counts.
#ifdef WITH_CUDA

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "csrc/bind/crf/lattice.h"
#include "csrc/bind/crf/lattice_cuda.h"
#include "csrc/bind/crf/meanfield.h"
#include "csrc/bind/cuda_check.h"
#include "csrc/cuda/crf/meanfield.h"

namespace deeplab {
namespace {

constexpr const char* kOp = "meanfield";

// Kernel weights [kernels, count] of images [first, first + count).
template <typename scalar_t>
at::Tensor weights_on_device(const MeanfieldCall& call, std::int64_t first,
                             std::int64_t count) {
  const auto kernels = static_cast<std::int64_t>(call.features.size());
  const at::Tensor host =
      at::empty({kernels, count}, call.unary.options().device(at::kCPU));
  auto* place = host.mutable_data_ptr<scalar_t>();
  for (std::int64_t image = 0; image < count; ++image) {
    const auto own = call.weights_of(first + image);
    for (std::int64_t m = 0; m < kernels; ++m) {
      place[m * count + image] = static_cast<scalar_t>(own[m]);
    }
  }
  return host.to(call.unary.device(), /*non_blocking=*/true);
}

template <typename scalar_t>
void infer(const MeanfieldCall& call, bool half_storage, std::int64_t first,
           std::int64_t count, at::Tensor& out) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto kernels = static_cast<std::int64_t>(call.features.size());
  const at::Tensor counts =
      at::empty({kernels}, call.unary.options().dtype(at::kLong));
  std::vector<CudaLattice<scalar_t>> lattices;
  for (std::int64_t m = 0; m < kernels; ++m) {
    const at::Tensor& all = call.features[m];
    lattices.emplace_back(kOp,
                          all.size(0) > 1 ? all.narrow(0, first, count) : all,
                          false, counts.mutable_data_ptr<std::int64_t>() + m);
  }
  // The one synchronisation: the memory to allocate depends on the counts.
  const at::Tensor known = counts.to(at::kCPU);

  const std::int64_t labels = call.unary.size(1);
  const std::int64_t points = call.unary.size(2);
  const at::Tensor weights = weights_on_device<scalar_t>(call, first, count);
  BatchProblem<scalar_t> problem{};
  call.describe(problem);
  problem.unary =
      call.unary.const_data_ptr<scalar_t>() + first * labels * points;
  problem.images = count;
  problem.image_points = points;
  problem.kernel_count = static_cast<int>(kernels);
  for (std::int64_t m = 0; m < kernels; ++m) {
    lattices[m].link(known.const_data_ptr<std::int64_t>()[m]);
    problem.lattices[m] = lattices[m].view();
  }
  problem.image_weights = weights.const_data_ptr<scalar_t>();
  const at::Tensor scratch =
      cuda_bytes(meanfield_bytes(problem, half_storage), call.unary);
  check_cuda(
      kOp,
      meanfield_cuda(problem, half_storage, scratch.mutable_data_ptr(),
                     out.mutable_data_ptr<scalar_t>() + first * labels * points,
                     stream));
}

// Runs the images in as few groups as their tables and memory allow.
template <typename scalar_t>
void infer_all(const MeanfieldCall& call, bool half_storage, at::Tensor& out) {
  const std::int64_t images = call.unary.size(0);
  const std::int64_t points = call.unary.size(2);
  std::int64_t d = 0;
  for (const at::Tensor& kernel : call.features) {
    d = std::max(d, kernel.size(2));
  }
  // One image alone is refused by the lattice where it is too large.
  std::int64_t at_once =
      std::max<std::int64_t>(1, images_per_lattice(images, points, d + 1));
  for (std::int64_t first = 0; first < images;) {
    const std::int64_t count = std::min(at_once, images - first);
    try {
      infer<scalar_t>(call, half_storage, first, count, out);
      first += count;
      continue;
    } catch (const c10::OutOfMemoryError&) {
      if (count == 1) {
        TORCH_CHECK_WITH(
            OutOfMemoryError, false, kOp,
            ": not enough GPU memory for one image of ", points, " points and ",
            call.unary.size(1),
            " labels; free some, pass storage='float16', fewer labels or a "
            "smaller image, or run it on the CPU");
      }
    }
    at_once = (count + 1) / 2;
  }
}

at::Tensor run_cuda(MeanfieldCall call, bool half_storage) {
  TORCH_CHECK(call.features.size() <= kMaxKernels, kOp, ": CUDA takes at most ",
              kMaxKernels, " kernels, got ", call.features.size());
  for (const at::Tensor& kernel : call.features) {
    check_features(kOp, kernel.flatten(0, 1));
  }
  const c10::cuda::CUDAGuard guard(call.unary.device());
  call.unary = call.unary.resolve_neg().contiguous();
  call.make_readable();
  at::Tensor out = at::empty(call.unary.sizes(), call.unary.options());
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(call.unary.scalar_type(), kOp, [&] {
    infer_all<scalar_t>(call, half_storage, out);
  });
  return out;
}

}  // namespace
}  // namespace deeplab

TORCH_LIBRARY_IMPL(deeplab, CUDA, m) {
  m.impl("meanfield", &deeplab::meanfield_op<deeplab::run_cuda>);
}

#endif  // WITH_CUDA
