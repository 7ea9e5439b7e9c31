// Hands out pieces of one allocation; with a null base it only measures. The
// same code then tells how much memory a step needs and where its arrays lie.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deeplab {

class Arena {
 public:
  explicit Arena(void* base = nullptr) : base_(static_cast<char*>(base)) {}

  // `count` elements, aligned to 256 bytes; null while measuring.
  template <typename T>
  T* take(std::int64_t count) {
    const std::int64_t here = used_;
    const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
    used_ += (bytes + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + here);
  }

  std::int64_t bytes() const { return used_; }

 private:
  char* base_;
  std::int64_t used_ = 0;
};

}  // namespace deeplab
