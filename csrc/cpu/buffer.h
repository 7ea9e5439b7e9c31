// Large scratch arrays: uninitialised, aligned to cache lines, on huge pages
// where the system gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace deeplab {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

template <typename T>
using Buffer = std::unique_ptr<T[], FreeDeleter>;

// `count` uninitialised elements. Rows of several vectors then never straddle
// more cache lines than they must, and scattered reads meet few page
// translations. Throws std::bad_alloc.
template <typename T>
Buffer<T> make_buffer(std::int64_t count) {
  static_assert(std::is_trivial<T>::value, "elements are not constructed");
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const std::size_t rounded = (bytes / alignment + 1) * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  return Buffer<T>(static_cast<T*>(memory));
}

}  // namespace deeplab
