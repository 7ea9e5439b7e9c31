// Threading without torch: the executor is a function pointer, so that the
// extension can hand over at::parallel_for and a plain C++ build its threads.
#pragma once

#include <cstdint>
#include <functional>

namespace deeplab {

using RangeFunction = std::function<void(std::int64_t, std::int64_t)>;
using ParallelExecutor = void (*)(std::int64_t begin, std::int64_t end,
                                  std::int64_t grain, const RangeFunction& fn);

// Replaces the executor; the default splits a range over std::thread.
void set_parallel_executor(ParallelExecutor executor, int (*thread_count)());

// Calls fn(first, last) over disjoint sub-ranges covering [begin, end), each at
// least `grain` long except the last. Exceptions of fn reach the caller.
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const RangeFunction& fn);

// Number of threads the executor would use.
int thread_count();

}  // namespace deeplab
