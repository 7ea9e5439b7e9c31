#include "csrc/cpu/capability.h"

#include <cstdlib>
#include <string>

namespace deeplab {
namespace {

Capability detect() {
  Capability best = Capability::kPlain;
#if DEEPLAB_X86_VARIANTS
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    best = Capability::kAvx2;
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
      best = Capability::kAvx512;
    }
  }
#endif
  const char* wanted = std::getenv("DEEPLAB_CPU_CAPABILITY");
  const std::string limit = wanted == nullptr ? "" : wanted;
  if (limit == "plain") return Capability::kPlain;
  if (limit == "avx2" && best == Capability::kAvx512) return Capability::kAvx2;
  return best;
}

}  // namespace

Capability capability() {
  static const Capability chosen = detect();
  return chosen;
}

#if DEEPLAB_X86_VARIANTS
bool has_bfloat16() {
  return capability() == Capability::kAvx512 &&
         __builtin_cpu_supports("avx512bf16");
}
bool has_float16() {
  return capability() == Capability::kAvx512 &&
         __builtin_cpu_supports("avx512fp16");
}
#else
bool has_bfloat16() { return false; }
bool has_float16() { return false; }
#endif

}  // namespace deeplab
