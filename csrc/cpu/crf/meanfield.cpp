#include "csrc/cpu/crf/meanfield.h"

#include <algorithm>
#include <utility>

#include "csrc/cpu/crf/point_rows.h"
#include "csrc/cpu/crf/row_kernels.h"
#include "csrc/cpu/crf/stages.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 2048;
constexpr std::int64_t kRunGrain = 1024;

// Rows are padded to whole vectors.
std::int64_t padded_width(std::int64_t labels) { return (labels + 7) / 8 * 8; }

// Adds up the rows of shared vertices, blurs, and copies the results back to
// all of a vertex's rows [R, width].
template <typename scalar_t>
void blur_rows(const MeanfieldLattice<scalar_t>& lattice, std::int64_t width,
               scalar_t* rows) {
  const RowKernels<scalar_t>& kernels = row_kernels<scalar_t>();
  const auto shared = static_cast<std::int64_t>(lattice.shared.size());
  parallel_for(0, shared, kRunGrain, [&](std::int64_t begin, std::int64_t end) {
    kernels.combine(lattice.shared.data(), shared, width, rows, begin, end);
  });
  for (const RowRuns& runs : lattice.axes) {
    const auto length = static_cast<std::int64_t>(runs.size());
    parallel_for(0, length, kRunGrain,
                 [&](std::int64_t begin, std::int64_t end) {
                   kernels.blur(runs.data(), length, width, rows, begin, end);
                 });
  }
  parallel_for(0, shared, kRunGrain, [&](std::int64_t begin, std::int64_t end) {
    kernels.spread(lattice.shared.data(), shared, width, rows, begin, end);
  });
}

// Calls run(chunk) for each chunk of the points, on all threads.
template <typename Run>
void for_each_chunk(const PointChunks& chunks, const Run& run) {
  parallel_tasks(chunks.count, [&](TaskQueue& queue) {
    for (std::int64_t chunk; queue.take(&chunk);) run(chunk);
  });
}

// norm [P] = the filtered ones.
template <typename scalar_t>
void filter_ones(const MeanfieldLattice<scalar_t>& lattice, scalar_t* norm) {
  const ChunkedLattice& table = lattice.lattice;
  const int corners = lattice.features + 1;
  std::vector<scalar_t> rows(table.row_count());
  for_each_chunk(table.chunks, [&](std::int64_t chunk) {
    scalar_t* own = rows.data() + table.first_row[chunk];
    for (std::int64_t e = table.chunks.begin(chunk) * corners;
         e < table.chunks.end(chunk) * corners; ++e) {
      own[lattice.rows[e]] += lattice.weights[e];
    }
  });
  blur_rows(lattice, 1, rows.data());
  const auto scale = slice_scale<scalar_t>(lattice.features);
  for_each_chunk(table.chunks, [&](std::int64_t chunk) {
    const scalar_t* own = rows.data() + table.first_row[chunk];
    for (std::int64_t i = table.chunks.begin(chunk);
         i < table.chunks.end(chunk); ++i) {
      scalar_t sum = 0;
      for (std::int64_t e = i * corners; e < (i + 1) * corners; ++e) {
        sum += lattice.weights[e] * own[lattice.rows[e]];
      }
      norm[i] = scale * sum;
    }
  });
}

// A kernel with what its filter needs in every iteration.
template <typename scalar_t>
struct Kernel {
  const MeanfieldLattice<scalar_t>* lattice;
  Buffer<scalar_t> input_scale;   // [P] or null
  Buffer<scalar_t> output_scale;  // [P] or null
  scalar_t constant_scale;
  Buffer<scalar_t> from, to;  // [R, width]
};

template <typename scalar_t>
Kernel<scalar_t> prepare_kernel(const MeanfieldLattice<scalar_t>& lattice,
                                double weight, Normalization mode,
                                std::int64_t width) {
  const Stage stage("normalize");
  const std::int64_t points = lattice.lattice.chunks.points;
  Kernel<scalar_t> kernel{};
  kernel.lattice = &lattice;
  kernel.constant_scale =
      static_cast<scalar_t>(weight) * slice_scale<scalar_t>(lattice.features);
  if (mode != Normalization::kNo) {
    auto norm = make_buffer<scalar_t>(points);
    filter_ones(lattice, norm.get());
    if (mode != Normalization::kAfter) {
      kernel.input_scale = make_buffer<scalar_t>(points);
      for (std::int64_t i = 0; i < points; ++i) {
        kernel.input_scale[i] = input_scale(norm[i], mode);
      }
    }
    if (mode != Normalization::kBefore) {
      for (std::int64_t i = 0; i < points; ++i) {
        norm[i] = kernel.constant_scale * output_scale(norm[i], mode);
      }
      kernel.output_scale = std::move(norm);
    }
  }
  const std::int64_t size = lattice.lattice.row_count() * width;
  kernel.from = make_buffer<scalar_t>(size);
  kernel.to = make_buffer<scalar_t>(size);
  return kernel;
}

// Builds the lattice of features [P, d] whose points come in `order`.
template <typename scalar_t>
bool build_kernel(const KernelFeatures<scalar_t>& features,
                  const std::int32_t* order, std::int64_t points,
                  MeanfieldLattice<scalar_t>& out) {
  const int d = features.count;
  {
    const auto ordered = make_buffer<scalar_t>(points * d);
    parallel_for(0, points, kPointGrain,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     for (int j = 0; j < d; ++j) {
                       ordered[i * d + j] =
                           features.data[std::int64_t{order[i]} * d + j];
                     }
                   }
                 });
    if (!build_chunks(ordered.get(), d, out.rows.get(), out.weights.get(),
                      out.lattice)) {
      return false;
    }
  }
  out.axes.resize(d + 1);
  // The runs of shared vertices are one more task.
  parallel_tasks(d + 2, [&](TaskQueue& queue) {
    for (std::int64_t axis; queue.take(&axis);) {
      if (axis <= d) {
        out.axes[axis] = blur_runs(out.lattice, static_cast<int>(axis));
      } else {
        out.shared = shared_runs(out.lattice);
      }
    }
  });
  out.lattice.after.reset();
  out.lattice.vertex_of_row.reset();
  return true;
}

}  // namespace

template <typename scalar_t>
bool meanfield_plan(const std::vector<KernelFeatures<scalar_t>>& kernels,
                    std::int64_t points, MeanfieldPlan<scalar_t>& plan) {
  const Stage stage("build");
  plan.order = point_order(kernels, points);
  for (const KernelFeatures<scalar_t>& features : kernels) {
    const std::int64_t entries = points * (features.count + 1);
    plan.kernels.push_back({features.count,
                            ChunkedLattice(points),
                            make_buffer<std::int32_t>(entries),
                            make_buffer<scalar_t>(entries),
                            {},
                            {}});
    if (!build_kernel(features, plan.order.get(), points,
                      plan.kernels.back())) {
      return false;
    }
  }
  return true;
}

template <typename scalar_t>
void meanfield_cpu(const MeanfieldProblem<scalar_t>& problem,
                   const MeanfieldPlan<scalar_t>& plan, scalar_t* out) {
  const std::int64_t width = padded_width(problem.labels);
  const PointChunks chunks(problem.points);
  const Buffer<scalar_t> unary =
      make_buffer<scalar_t>(rows_size(width, problem.points));
  {
    const Stage stage("reorder");
    planes_to_rows(problem.unary, problem.unary_factor, plan.order.get(),
                   problem.labels, problem.points, width, unary.get());
  }
  {
    std::vector<Kernel<scalar_t>> kernels;
    for (std::size_t m = 0; m < plan.kernels.size(); ++m) {
      kernels.push_back(prepare_kernel(plan.kernels[m], problem.weights[m],
                                       problem.normalization, width));
    }
    for (int iteration = 0; iteration <= problem.iterations; ++iteration) {
      const bool last = iteration == problem.iterations;
      {
        const Stage stage("slice + softmax + splat");
        for_each_chunk(chunks, [&](std::int64_t chunk) {
          std::vector<ChunkKernel<scalar_t>> parts;
          for (const Kernel<scalar_t>& kernel : kernels) {
            const ChunkedLattice& table = kernel.lattice->lattice;
            const std::int64_t first = table.first_row[chunk] * width;
            parts.push_back({kernel.lattice->features + 1,
                             kernel.lattice->rows.get(),
                             kernel.lattice->weights.get(),
                             kernel.from.get() + first, kernel.to.get() + first,
                             table.tile_rows.data(), kernel.input_scale.get(),
                             kernel.output_scale.get(), kernel.constant_scale});
          }
          UpdateArguments<scalar_t> arguments{};
          arguments.kernels = parts.data();
          arguments.kernel_count = static_cast<int>(parts.size());
          // Round 0 has no messages yet: softmax(-U).
          arguments.gathers = iteration > 0 && !parts.empty();
          arguments.scatters = !last && !parts.empty();
          arguments.unary = unary.get();
          arguments.labels = problem.labels;
          arguments.width = width;
          arguments.kind = problem.kind;
          arguments.compatibility = problem.compatibility;
          // The energies are read for the last time.
          arguments.marginals = last ? unary.get() : nullptr;
          const auto scratch = make_buffer<scalar_t>(2 * kPointTile * width);
          std::fill_n(scratch.get(), 2 * kPointTile * width, scalar_t(0));
          row_kernels<scalar_t>().update(
              arguments, scratch.get(), chunks.begin(chunk), chunks.end(chunk));
        });
      }
      if (last) break;
      for (Kernel<scalar_t>& kernel : kernels) {
        const Stage stage("blur");
        std::swap(kernel.from, kernel.to);
        blur_rows(*kernel.lattice, width, kernel.from.get());
      }
    }
  }
  // After the kernels' rows are gone: `out` need not have memory before.
  const Stage stage("reorder");
  rows_to_planes(unary.get(), plan.order.get(), problem.labels, problem.points,
                 width, out);
}

#define DEEPLAB_INSTANTIATE(scalar_t)                                        \
  template bool meanfield_plan(const std::vector<KernelFeatures<scalar_t>>&, \
                               std::int64_t, MeanfieldPlan<scalar_t>&);      \
  template void meanfield_cpu(const MeanfieldProblem<scalar_t>&,             \
                              const MeanfieldPlan<scalar_t>&, scalar_t*);
DEEPLAB_INSTANTIATE(float)
DEEPLAB_INSTANTIATE(double)
#undef DEEPLAB_INSTANTIATE

}  // namespace deeplab
