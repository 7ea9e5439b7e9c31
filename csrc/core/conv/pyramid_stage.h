// How the threads of a block share the work on a pyramid's tile (pyramid.h):
// which samples and weights each brings into shared memory, and which sums it
// holds.
#pragma once

#include <cstdint>

#include "csrc/core/conv/pyramid.h"
#include "csrc/core/macros.h"

namespace deeplab {

constexpr int kPyramidThreads = 256;
constexpr int kPyramidUnitBytes = 16;

// One stage of shared memory: samples [kRows][kDepth] and weights
// [kDepth][kFilters], rows padded by one unit against bank conflicts.
template <typename T>
struct PyramidStage {
  static constexpr int kRows = PyramidPlan::kTileRows;
  static constexpr int kFilters = PyramidPlan::kTileFilters;
  static constexpr int kUnit = kPyramidUnitBytes / int{sizeof(T)};
  static constexpr int kDepth = 4 * kUnit;
  static constexpr int kSampleRow = kDepth + kUnit;
  static constexpr int kWeightRow = kFilters + kUnit;

  T samples[kRows * kSampleRow];
  T weights[kDepth * kWeightRow];
};

// Copies a tile's stages, tap by tap, channels innermost. Each of the block's
// threads copies the same rows of samples and places of weights of every stage.
// Copy()(to, from, valid) moves 16 bytes, zeros where not valid.
template <typename T, typename Copy>
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

  DEEPLAB_HD PyramidLoader(const PyramidPlan& plan,
                           const PyramidArrays<T>& arrays,
                           const PyramidTile& tile, int thread)
      : plan_(plan),
        arrays_(arrays),
        tile_(tile),
        cursor_(plan, tile),
        thread_(thread) {
    DEEPLAB_UNROLL
    for (int i = 0; i < kSampleRounds; ++i) {
      const int row = (thread_ + i * kPyramidThreads) / kSampleUnits;
      const PyramidTile::Place place = tile.place(plan, row);
      pixels_[i] = place.output < 0 ? -1 : place.input;
    }
  }

  DEEPLAB_HD bool done() const { return cursor_.done(); }

  DEEPLAB_HD void load(Stage* stage) {
    const T* input = arrays_.inputs[cursor_.branch];
    const T* weight =
        arrays_.weights[cursor_.branch] +
        std::int64_t{cursor_.tap(plan_)} * plan_.channels * plan_.filters;
    const std::int32_t offset = cursor_.offset(plan_);
    DEEPLAB_UNROLL
    for (int i = 0; i < kSampleRounds; ++i) {
      const int place = thread_ + i * kPyramidThreads;
      const int c = place % kSampleUnits * kUnit;
      const bool valid = pixels_[i] >= 0 && channel_ + c < plan_.channels;
      const std::int64_t from =
          valid ? std::int64_t{pixels_[i] + offset} * plan_.channels +
                      channel_ + c
                : 0;
      Copy()(stage->samples + place / kSampleUnits * Stage::kSampleRow + c,
             input + from, valid);
    }
    DEEPLAB_UNROLL
    for (int i = 0; i < kWeightRounds; ++i) {
      const int place = thread_ + i * kPyramidThreads;
      const int c = place / kWeightUnits;
      const int f = place % kWeightUnits * kUnit;
      const bool valid = channel_ + c < plan_.channels &&
                         tile_.first_filter + f < plan_.filters;
      const std::int64_t from =
          valid ? std::int64_t{channel_ + c} * plan_.filters +
                      tile_.first_filter + f
                : 0;
      Copy()(stage->weights + c * Stage::kWeightRow + f, weight + from, valid);
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
  int thread_;
  std::int32_t channel_ = 0;
  std::int32_t pixels_[kSampleRounds];
};

// The sums of one thread without tensor cores: kSide rows times kSide filters.
struct PlainSums {
  static constexpr int kSide = 8;

  static DEEPLAB_HD int row(int thread, int i) { return thread / 16 + 16 * i; }
  // Two runs of four, so that four are read at once.
  static DEEPLAB_HD int column(int thread, int j) {
    return thread % 16 * 4 + j % 4 + j / 4 * 64;
  }
};

}  // namespace deeplab
