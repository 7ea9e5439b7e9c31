#include "csrc/cpu/conv/pyramid.h"

#include <vector>

#include "csrc/core/conv/products.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

template <typename T>
void run_tile(const PyramidPlan& plan, const PyramidArrays<T>& arrays,
              std::int32_t index) {
  const PyramidTile tile(plan, index);
  const std::int32_t filters =
      std::min(PyramidPlan::kTileFilters, plan.filters - tile.first_filter);
  const Finish<T> finish = {arrays.biases[tile.output], arrays.relu};
  std::vector<T> sums(static_cast<std::size_t>(filters));
  for (std::int32_t row = 0; row < PyramidPlan::kTileRows; ++row) {
    const PyramidTile::Place place = tile.place(plan, row);
    if (place.output < 0) break;
    std::fill(sums.begin(), sums.end(), T(0));
    for (PyramidCursor cursor(plan, tile); !cursor.done();
         cursor.next(plan, tile)) {
      const T* sample =
          arrays.inputs[cursor.branch] +
          std::int64_t{place.input + cursor.offset(plan)} * plan.channels;
      const T* weight =
          arrays.weights[cursor.branch] +
          std::int64_t{cursor.tap(plan)} * plan.channels * plan.filters +
          tile.first_filter;
      for (std::int32_t c = 0; c < plan.channels; ++c, weight += plan.filters) {
        for (std::int32_t f = 0; f < filters; ++f) {
          sums[f] += sample[c] * weight[f];
        }
      }
    }
    T* output = arrays.outputs[tile.output] +
                std::int64_t{place.output} * plan.filters + tile.first_filter;
    for (std::int32_t f = 0; f < filters; ++f) {
      output[f] =
          finish(sums[f], static_cast<std::uint32_t>(tile.first_filter + f));
    }
  }
}

}  // namespace

template <typename T>
void pyramid_cpu(const PyramidPlan& plan, const PyramidArrays<T>& arrays) {
  parallel_tasks(plan.tiles, [&](TaskQueue& queue) {
    std::int64_t task;
    while (queue.take(&task)) {
      run_tile(plan, arrays, static_cast<std::int32_t>(task));
    }
  });
}

template void pyramid_cpu(const PyramidPlan&, const PyramidArrays<float>&);
template void pyramid_cpu(const PyramidPlan&, const PyramidArrays<double>&);

}  // namespace deeplab
