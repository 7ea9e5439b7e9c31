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

}  // namespace deeplab
