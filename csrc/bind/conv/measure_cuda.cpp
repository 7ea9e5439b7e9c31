#ifdef WITH_CUDA

#include "csrc/bind/conv/measure_cuda.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/linspace.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <mutex>

#include "csrc/bind/conv/atrous_cuda.h"
#include "csrc/bind/conv/batched.h"
#include "csrc/bind/cuda_check.h"

namespace deeplab {
namespace {

constexpr const char* kOp = "atrous_conv2d";
// Timed runs of each way, in turns; the fastest counts.
constexpr int kRounds = 3;

// Everything that may change which way is fastest.
using Kind = std::vector<int64_t>;

Kind kind_of(const at::Tensor& input, const Conv2dShape& shape, bool packed,
             const std::vector<ConvPath>& paths) {
  Kind kind = {input.device().index(),
               static_cast<int64_t>(input.scalar_type()),
               static_cast<int64_t>(input.suggest_memory_format()),
               convolutions_use_tf32(),
               packed,
               shape.batch,
               shape.channels,
               shape.filters,
               shape.groups};
  for (const WindowAxis& axis : {shape.window.h, shape.window.w}) {
    for (const int64_t value :
         {axis.input, axis.kernel, axis.stride, axis.padding, axis.dilation}) {
      kind.push_back(value);
    }
  }
  for (const ConvPath path : paths) kind.push_back(static_cast<int64_t>(path));
  return kind;
}

class Events {
 public:
  Events() {
    for (cudaEvent_t& event : events_) {
      check_cuda(kOp, cudaEventCreate(&event));
    }
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  ~Events() {
    for (const cudaEvent_t event : events_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }

  template <typename Call>
  float milliseconds(const Call& call) {
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
    check_cuda(kOp, cudaEventRecord(events_[0], stream));
    call();
    check_cuda(kOp, cudaEventRecord(events_[1], stream));
    check_cuda(kOp, cudaEventSynchronize(events_[1]));
    float elapsed = 0;
    check_cuda(kOp, cudaEventElapsedTime(&elapsed, events_[0], events_[1]));
    return elapsed;
  }

 private:
  std::array<cudaEvent_t, 2> events_ = {};
};

// One way with weights of its own.
class Trial {
 public:
  Trial(const at::Tensor& input, const Conv2dShape& shape, bool packed,
        ConvPath path, const at::Tensor& weight)
      : input_(input), shape_(shape), path_(path), weight_(weight) {
    if (packed && path != ConvPath::kLibrary) {
      packed_ = batched_weight(weight, shape.groups, path);
    }
  }

  void operator()() const {
    if (path_ == ConvPath::kLibrary) {
      const Window2d& window = shape_.window;
      at::convolution(input_, weight_, std::nullopt,
                      {window.h.stride, window.w.stride},
                      {window.h.padding, window.w.padding},
                      {window.h.dilation, window.w.dilation},
                      /*transposed=*/false, {0, 0}, shape_.groups);
      return;
    }
    const at::Tensor weights =
        packed_.defined() ? packed_
                          : batched_weight(weight_, shape_.groups, path_);
    batched_conv2d(path_, shape_, input_, weights, std::nullopt, false)
        .contiguous(input_.suggest_memory_format());
  }

 private:
  const at::Tensor& input_;
  const Conv2dShape& shape_;
  ConvPath path_;
  const at::Tensor& weight_;
  at::Tensor packed_;
};

ConvPath measure(const at::Tensor& input, const Conv2dShape& shape, bool packed,
                 const std::vector<ConvPath>& paths) {
  const c10::cuda::CUDAGuard device(input.device());
  const at::NoGradGuard no_grad;
  const c10::impl::ExcludeDispatchKeyGuard guard(c10::autocast_dispatch_keyset);
  const ProductPrecision precision;
  // Not random: that would move torch's generator.
  const int64_t elements = shape.filters * shape.group_rows();
  const at::Tensor weight =
      at::linspace(-1, 1, elements, input.options())
          .view({shape.filters, shape.channels / shape.groups,
                 shape.window.h.kernel, shape.window.w.kernel})
          .contiguous(input.suggest_memory_format());
  Events events;
  std::vector<Trial> trials;
  std::vector<ConvPath> tried;
  for (const ConvPath path : paths) {
    if (winograd_tile(path) != 0 && !winograd_applies(shape)) continue;
    try {
      Trial trial(input, shape, packed, path, weight);
      trial();  // autotuning, workspaces
      trials.push_back(trial);
      tried.push_back(path);
    } catch (const c10::OutOfMemoryError&) {
      continue;
    }
  }
  std::vector<float> least(trials.size(), std::numeric_limits<float>::max());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < trials.size(); ++i) {
      least[i] = std::min(least[i], events.milliseconds(trials[i]));
    }
  }
  if (tried.empty()) return ConvPath::kLibrary;
  return tried[static_cast<size_t>(
      std::min_element(least.begin(), least.end()) - least.begin())];
}

}  // namespace

bool may_measure_now() {
  const at::Context& context = at::globalContext();
  if (!context.benchmarkCuDNN() || context.deterministicCuDNN() ||
      context.deterministicAlgorithms()) {
    return false;
  }
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(kOp,
             cudaStreamIsCapturing(c10::cuda::getCurrentCUDAStream(), &status));
  return status == cudaStreamCaptureStatusNone;
}

ConvPath fastest_path(const at::Tensor& input, const Conv2dShape& shape,
                      bool packed, const std::vector<ConvPath>& paths) {
  static std::mutex mutex;
  static std::map<Kind, ConvPath> known;
  if (shape.batch == 0) return ConvPath::kLibrary;
  const Kind kind = kind_of(input, shape, packed, paths);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(kind);
  if (found != known.end()) return found->second;
  const ConvPath path = measure(input, shape, packed, paths);
  known.emplace(kind, path);
  return path;
}

}  // namespace deeplab

#endif  // WITH_CUDA
