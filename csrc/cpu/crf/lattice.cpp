#include "csrc/cpu/crf/lattice.h"

#include <algorithm>
#include <memory>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/crf/stages.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 2048;
constexpr std::int64_t kVertexGrain = 1024;

}  // namespace

template <typename scalar_t>
BlurChains blur_chains(const LatticeView<scalar_t>& lattice) {
  const int axis_count = lattice.features + 1;
  const std::int64_t row = 2 * axis_count;
  BlurChains chains;
  chains.axes.resize(axis_count);
  parallel_for(0, axis_count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t axis = begin; axis < end; ++axis) {
      std::vector<std::int32_t>& chain = chains.axes[axis];
      chain.reserve(lattice.vertex_count);
      const std::int32_t* pairs = lattice.neighbors + 2 * axis;
      for (std::int64_t v = 0; v < lattice.vertex_count; ++v) {
        std::int32_t after = pairs[v * row + 1];
        if (pairs[v * row] != -1 || after == -1) continue;
        chain.push_back(static_cast<std::int32_t>(v));
        while (after != -1) {
          chain.push_back(after);
          after = pairs[after * row + 1];
        }
        chain.back() = ~chain.back();
      }
    }
  });
  return chains;
}

template <typename scalar_t>
SplatEntries<scalar_t>::SplatEntries(const LatticeView<scalar_t>& lattice,
                                     const scalar_t* point_scale)
    : offsets_(lattice.offsets),
      points_(lattice.points * (lattice.features + 1)),
      weights_(points_.size()) {
  const std::int32_t corners = lattice.features + 1;
  parallel_for(0, static_cast<std::int64_t>(points_.size()), kPointGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t k = begin; k < end; ++k) {
                   const std::int32_t entry = lattice.entries[k];
                   points_[k] = entry / corners;
                   weights_[k] = lattice.weights[entry];
                   if (point_scale != nullptr) {
                     weights_[k] *= point_scale[points_[k]];
                   }
                 }
               });
}

template <typename scalar_t>
SplatList<scalar_t> SplatEntries<scalar_t>::list() const {
  return {offsets_, points_.data(), weights_.data()};
}

template <typename scalar_t>
void lattice_splat_cpu(const SplatList<scalar_t>& list,
                       std::int64_t vertex_count, const scalar_t* values,
                       std::int64_t width, scalar_t* rows) {
  const Stage stage("splat");
  parallel_for(
      0, vertex_count, kVertexGrain, [&](std::int64_t begin, std::int64_t end) {
        row_kernels<scalar_t>().splat(list, values, width, rows, begin, end);
      });
}

template <typename scalar_t>
void lattice_blur_cpu(const BlurChains& chains, bool reverse,
                      std::int64_t width, scalar_t* rows) {
  const Stage stage("blur");
  const auto axis_count = static_cast<std::int64_t>(chains.axes.size());
  for (std::int64_t k = 0; k < axis_count; ++k) {
    const auto& chain = chains.axes[reverse ? axis_count - 1 - k : k];
    const auto length = static_cast<std::int64_t>(chain.size());
    parallel_for(0, length, kVertexGrain,
                 [&](std::int64_t begin, std::int64_t end) {
                   row_kernels<scalar_t>().blur(chain.data(), length, width,
                                                rows, begin, end);
                 });
  }
}

template <typename scalar_t>
void lattice_filter_cpu(const LatticeView<scalar_t>& lattice,
                        const BlurChains& chains, const scalar_t* values,
                        std::int64_t width, bool reverse, scalar_t* out) {
  const Buffer<scalar_t> rows =
      make_buffer<scalar_t>(lattice.vertex_count * width);
  const SplatEntries<scalar_t> entries(lattice, nullptr);
  lattice_splat_cpu(entries.list(), lattice.vertex_count, values, width,
                    rows.get());
  lattice_blur_cpu(chains, reverse, width, rows.get());
  parallel_for(0, lattice.points, kPointGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 row_kernels<scalar_t>().slice(
                     lattice, rows.get(),
                     slice_scale<scalar_t>(lattice.features), width, out, begin,
                     end);
               });
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                        \
  template BlurChains blur_chains(const LatticeView<scalar_t>&);             \
  template class SplatEntries<scalar_t>;                                     \
  template void lattice_splat_cpu(const SplatList<scalar_t>&, std::int64_t,  \
                                  const scalar_t*, std::int64_t, scalar_t*); \
  template void lattice_blur_cpu(const BlurChains&, bool, std::int64_t,      \
                                 scalar_t*);                                 \
  template void lattice_filter_cpu(const LatticeView<scalar_t>&,             \
                                   const BlurChains&, const scalar_t*,       \
                                   std::int64_t, bool, scalar_t*);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
