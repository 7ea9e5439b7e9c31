// Threading without torch: the executor is a function pointer, so that the
// extension can hand over at::parallel_for and a plain C++ build its threads.
#pragma once

#include <atomic>
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

// Hands out 0 .. count - 1, each once, to the workers that share it.
class TaskQueue {
 public:
  explicit TaskQueue(std::int64_t count) : count_(count) {}

  bool take(std::int64_t* task) {
    *task = next_.fetch_add(1, std::memory_order_relaxed);
    return *task < count_;
  }

 private:
  std::int64_t count_;
  std::atomic<std::int64_t> next_{0};
};

// Calls worker(queue) once on each thread, at most `count` of them; workers
// take tasks until none is left, so that a thread whose core is busy elsewhere
// does less. Which thread runs a task must not matter to its result.
void parallel_tasks(std::int64_t count,
                    const std::function<void(TaskQueue&)>& worker);

}  // namespace deeplab
