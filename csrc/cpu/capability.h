// The instruction sets that kernels are compiled for, and the one in use.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define DEEPLAB_X86_VARIANTS 1
#else
#define DEEPLAB_X86_VARIANTS 0
#endif

namespace deeplab {

enum class Capability { kPlain, kAvx2, kAvx512 };

// The best set this processor runs. DEEPLAB_CPU_CAPABILITY=plain|avx2|avx512
// in the environment lowers the choice.
Capability capability();

// Whether the set in use multiplies bfloat16 (float16) in instructions of its
// own: AVX512-BF16 (AVX512-FP16), which processors with AMX have too.
bool has_bfloat16();
bool has_float16();

}  // namespace deeplab
