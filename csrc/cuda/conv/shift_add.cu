#include "csrc/cuda/conv/for_each.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

DEEPLAB_FOR_EACH(ShiftAdd<float>)
DEEPLAB_FOR_EACH(ShiftAdd<double>)
DEEPLAB_FOR_EACH(ShiftAdd<__half>)
DEEPLAB_FOR_EACH(ShiftAdd<__nv_bfloat16>)

DEEPLAB_FOR_EACH(ShiftGather<float>)
DEEPLAB_FOR_EACH(ShiftGather<double>)
DEEPLAB_FOR_EACH(ShiftGather<__half>)
DEEPLAB_FOR_EACH(ShiftGather<__nv_bfloat16>)

}  // namespace deeplab
