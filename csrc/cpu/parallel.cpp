#include "csrc/cpu/parallel.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace deeplab {
namespace {

int hardware_threads() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void run_on_threads(std::int64_t begin, std::int64_t end, std::int64_t grain,
                    const RangeFunction& fn) {
  const std::int64_t count = end - begin;
  const std::int64_t wanted = std::min<std::int64_t>(
      hardware_threads(), count / std::max<std::int64_t>(grain, 1));
  if (wanted <= 1) {
    fn(begin, end);
    return;
  }
  const std::int64_t chunk = (count + wanted - 1) / wanted;
  std::exception_ptr failure;
  std::mutex failure_lock;
  std::vector<std::thread> threads;
  for (std::int64_t first = begin; first < end; first += chunk) {
    threads.emplace_back([&, first] {
      try {
        fn(first, std::min(first + chunk, end));
      } catch (...) {
        const std::lock_guard<std::mutex> guard(failure_lock);
        failure = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

ParallelExecutor current_executor = run_on_threads;
int (*current_thread_count)() = hardware_threads;

}  // namespace

void set_parallel_executor(ParallelExecutor executor, int (*thread_count)()) {
  current_executor = executor;
  current_thread_count = thread_count;
}

void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                  const RangeFunction& fn) {
  if (begin < end) current_executor(begin, end, grain, fn);
}

void parallel_tasks(std::int64_t count,
                    const std::function<void(TaskQueue&)>& worker) {
  TaskQueue queue(count);
  parallel_for(0, std::min<std::int64_t>(thread_count(), count), 1,
               [&](std::int64_t, std::int64_t) { worker(queue); });
}

int thread_count() { return current_thread_count(); }

}  // namespace deeplab
