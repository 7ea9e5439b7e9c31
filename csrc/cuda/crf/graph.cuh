// Replays the same launches many times as one graph.
#pragma once

#include <cuda_runtime.h>

#include <map>

namespace deeplab {

// One instantiated graph a device and thread, brought up to date with each new
// capture: kernels and arguments are always those of the call, and creating a
// graph anew is only needed where its shape changed.
class GraphReplay {
 public:
  // Launches record's kernels `times` times on `stream`. record(stream) must
  // only launch kernels and return their status. The first time is launched
  // directly: it loads kernels that never ran, which a capture must not, and
  // the device has work while the graph is made.
  template <typename Record>
  static cudaError_t run(cudaStream_t stream, int times, const Record& record) {
    if (times <= 0) return cudaSuccess;
    cudaError_t status = record(stream);
    int device = 0;
    if (status == cudaSuccess) status = cudaGetDevice(&device);
    if (status != cudaSuccess || times == 1) return status;
    GraphReplay& own = of_thread()[device];
    cudaGraph_t graph = nullptr;
    status = own.capture(record, &graph);
    if (status == cudaSuccess) status = own.update(graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    for (int k = 1; k < times && status == cudaSuccess; ++k) {
      status = cudaGraphLaunch(own.executable_, stream);
    }
    return status;
  }

  GraphReplay() = default;
  GraphReplay(const GraphReplay&) = delete;
  GraphReplay& operator=(const GraphReplay&) = delete;
  // At exit the driver may be gone already; its error then changes nothing.
  ~GraphReplay() {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
    if (recorder_ != nullptr) cudaStreamDestroy(recorder_);
  }

 private:
  static std::map<int, GraphReplay>& of_thread() {
    thread_local std::map<int, GraphReplay> graphs;
    return graphs;
  }

  // Captures on a stream of its own: the caller's may be the default stream,
  // which cannot be captured. Nothing runs meanwhile.
  template <typename Record>
  cudaError_t capture(const Record& record, cudaGraph_t* graph) {
    cudaError_t status = cudaSuccess;
    if (recorder_ == nullptr) {
      status = cudaStreamCreateWithFlags(&recorder_, cudaStreamNonBlocking);
      if (status != cudaSuccess) return status;
    }
    status =
        cudaStreamBeginCapture(recorder_, cudaStreamCaptureModeThreadLocal);
    if (status != cudaSuccess) return status;
    const cudaError_t recorded = record(recorder_);
    status = cudaStreamEndCapture(recorder_, graph);
    return recorded != cudaSuccess ? recorded : status;
  }

  cudaError_t update(cudaGraph_t graph) {
    if (executable_ != nullptr) {
#if CUDART_VERSION >= 12000
      cudaGraphExecUpdateResultInfo result;
      if (cudaGraphExecUpdate(executable_, graph, &result) == cudaSuccess) {
        return cudaSuccess;
      }
#else
      cudaGraphNode_t node;
      cudaGraphExecUpdateResult result;
      if (cudaGraphExecUpdate(executable_, graph, &node, &result) ==
          cudaSuccess) {
        return cudaSuccess;
      }
#endif
      // Another shape; not an error of the caller's.
      cudaGetLastError();
      cudaGraphExecDestroy(executable_);
      executable_ = nullptr;
    }
    return cudaGraphInstantiateWithFlags(&executable_, graph, 0);
  }

  cudaStream_t recorder_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace deeplab
