#include "csrc/cuda/conv/for_each.h"
#include "csrc/cuda/launch.cuh"

namespace deeplab {

#define DEEPLAB_INSTANTIATE(kTile, T)         \
  DEEPLAB_FOR_EACH(WinogradInputs<kTile, T>)  \
  DEEPLAB_FOR_EACH(WinogradWeights<kTile, T>) \
  DEEPLAB_FOR_EACH(WinogradOutputs<kTile, T>)

DEEPLAB_INSTANTIATE(2, float)
DEEPLAB_INSTANTIATE(2, double)
DEEPLAB_INSTANTIATE(4, float)
DEEPLAB_INSTANTIATE(4, double)

#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
