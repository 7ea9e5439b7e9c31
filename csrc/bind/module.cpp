// The Python module `_C`: importing it registers the ops, and its functions
// tell what was built.
#include <ATen/Parallel.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include <map>
#include <string>
#include <vector>

#include "csrc/cpu/capability.h"
#include "csrc/cpu/crf/stages.h"
#include "csrc/cpu/parallel.h"

namespace {

void run_on_torch_threads(std::int64_t begin, std::int64_t end,
                          std::int64_t grain,
                          const deeplab::RangeFunction& fn) {
  at::parallel_for(begin, end, grain, fn);
}

std::map<std::string, double> stage_seconds(const pybind11::function& call) {
  const deeplab::StageClock clock;
  call();
  return clock.seconds();
}

std::vector<std::string> built_devices() {
#ifdef WITH_CUDA
  return {"cpu", "cuda"};
#else
  return {"cpu"};
#endif
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  deeplab::set_parallel_executor(run_on_torch_threads, at::get_num_threads);
  module.doc() = "Operators of the torch library `deeplab`.";
  module.attr("torch_version") = TORCH_VERSION;
#ifdef DEEPLAB_CUDA_ARCHITECTURES
  module.attr("cuda_architectures") = DEEPLAB_CUDA_ARCHITECTURES;
#else
  module.attr("cuda_architectures") = "";
#endif
  module.def("has_bfloat16", &deeplab::has_bfloat16,
             "Whether the processor multiplies bfloat16 itself.");
  module.def("devices", &built_devices,
             "Device types the operators were built for.");
  module.def("stage_seconds", &stage_seconds, pybind11::arg("call"),
             "Seconds that the CPU operators which call() runs on this thread "
             "spend in each of their steps.");
}
