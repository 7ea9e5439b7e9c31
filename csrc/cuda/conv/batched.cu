#include "csrc/cuda/conv/for_each.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

DEEPLAB_FOR_EACH(RegionSamples<std::uint16_t>)
DEEPLAB_FOR_EACH(RegionSamples<std::uint32_t>)
DEEPLAB_FOR_EACH(RegionSamples<std::uint64_t>)
DEEPLAB_FOR_EACH(RegionSamples<Unit16>)

DEEPLAB_FOR_EACH(RegionGrads<std::uint16_t>)
DEEPLAB_FOR_EACH(RegionGrads<std::uint32_t>)
DEEPLAB_FOR_EACH(RegionGrads<std::uint64_t>)
DEEPLAB_FOR_EACH(RegionGrads<Unit16>)

DEEPLAB_FOR_EACH(RegionOutputs<float>)
DEEPLAB_FOR_EACH(RegionOutputs<double>)
DEEPLAB_FOR_EACH(RegionOutputs<__half>)
DEEPLAB_FOR_EACH(RegionOutputs<__nv_bfloat16>)

}  // namespace deeplab
