// The parts of pyramid.cu that do not depend on the arithmetic: tiles of
// samples and weights on their way from device memory to shared memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "csrc/core/pyramid.h"

namespace deeplab {

constexpr int kPyramidThreads = 256;
constexpr int kPyramidStages = 3;
constexpr int kUnitBytes = 16;

// 16 bytes into shared memory, zeros where not `valid`.
__device__ __forceinline__ void copy_unit(void* to, const void* from,
                                          bool valid) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? kUnitBytes : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address),
               "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<uint4*>(to) =
      valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

__device__ __forceinline__ void end_of_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Until at most `kPending` of the latest groups of copies are under way.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
#endif
}

// One stage of shared memory: samples [kRows][kDepth] and weights
// [kDepth][kFilters], rows padded by one unit against bank conflicts.
template <typename T>
struct PyramidStage {
  static constexpr int kRows = PyramidPlan::kTileRows;
  static constexpr int kFilters = PyramidPlan::kTileFilters;
  static constexpr int kUnit = kUnitBytes / int{sizeof(T)};
  static constexpr int kDepth = 4 * kUnit;
  static constexpr int kSampleRow = kDepth + kUnit;
  static constexpr int kWeightRow = kFilters + kUnit;

  T samples[kRows * kSampleRow];
  T weights[kDepth * kWeightRow];
};

// Copies a tile's stages, tap by tap, channels innermost. Each thread copies
// the same two rows of samples and two units of weights of every stage.
template <typename T>
class PyramidLoader {
 public:
  using Stage = PyramidStage<T>;
  static constexpr int kUnit = Stage::kUnit;
  static constexpr int kSampleUnits = Stage::kDepth / kUnit;    // of a row
  static constexpr int kWeightUnits = Stage::kFilters / kUnit;  // of a row
  static constexpr int kSampleRounds =
      Stage::kRows * kSampleUnits / kPyramidThreads;
  static constexpr int kWeightRounds =
      Stage::kDepth * kWeightUnits / kPyramidThreads;
  static_assert(kSampleRounds * kPyramidThreads == Stage::kRows * kSampleUnits,
                "every thread copies as much");
  static_assert(kWeightRounds * kPyramidThreads == Stage::kDepth * kWeightUnits,
                "every thread copies as much");

  __device__ PyramidLoader(const PyramidPlan& plan,
                           const PyramidArrays<T>& arrays,
                           const PyramidTile& tile)
      : plan_(plan), arrays_(arrays), tile_(tile), cursor_(plan, tile) {
#pragma unroll
    for (int i = 0; i < kSampleRounds; ++i) {
      const int row = (threadIdx.x + i * kPyramidThreads) / kSampleUnits;
      const PyramidTile::Place place = tile.place(plan, row);
      pixels_[i] = place.output < 0 ? -1 : place.input;
    }
  }

  __device__ bool done() const { return cursor_.done(); }

  __device__ void load(Stage* stage) {
    const T* input = arrays_.inputs[cursor_.branch];
    const T* weight =
        arrays_.weights[cursor_.branch] +
        std::int64_t{cursor_.tap(plan_)} * plan_.channels * plan_.filters;
    const std::int32_t offset = cursor_.offset(plan_);
#pragma unroll
    for (int i = 0; i < kSampleRounds; ++i) {
      const int place = threadIdx.x + i * kPyramidThreads;
      const int c = place % kSampleUnits * kUnit;
      const bool valid = pixels_[i] >= 0 && channel_ + c < plan_.channels;
      const std::int64_t from =
          valid ? std::int64_t{pixels_[i] + offset} * plan_.channels +
                      channel_ + c
                : 0;
      copy_unit(stage->samples + place / kSampleUnits * Stage::kSampleRow + c,
                input + from, valid);
    }
#pragma unroll
    for (int i = 0; i < kWeightRounds; ++i) {
      const int place = threadIdx.x + i * kPyramidThreads;
      const int c = place / kWeightUnits;
      const int f = place % kWeightUnits * kUnit;
      const bool valid = channel_ + c < plan_.channels &&
                         tile_.first_filter + f < plan_.filters;
      const std::int64_t from =
          valid ? std::int64_t{channel_ + c} * plan_.filters +
                      tile_.first_filter + f
                : 0;
      copy_unit(stage->weights + c * Stage::kWeightRow + f, weight + from,
                valid);
    }
    channel_ += Stage::kDepth;
    if (channel_ >= plan_.channels) {
      channel_ = 0;
      cursor_.next(plan_, tile_);
    }
  }

 private:
  const PyramidPlan& plan_;
  const PyramidArrays<T>& arrays_;
  const PyramidTile& tile_;
  PyramidCursor cursor_;
  std::int32_t channel_ = 0;
  std::int32_t pixels_[kSampleRounds];
};

}  // namespace deeplab
