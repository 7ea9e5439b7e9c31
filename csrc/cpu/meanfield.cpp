#include "csrc/cpu/meanfield.h"

#include <limits>
#include <memory>
#include <utility>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/lattice.h"
#include "csrc/cpu/parallel.h"
#include "csrc/cpu/row_kernels.h"
#include "csrc/cpu/stages.h"

namespace deeplab {
namespace {

constexpr std::int64_t kPointGrain = 512;

// Rows are padded to whole vectors; softmax_row counts on it.
std::int64_t padded_width(std::int64_t labels) { return (labels + 7) / 8 * 8; }

// A kernel's lattice with what its filter needs in every iteration.
template <typename scalar_t>
struct Kernel {
  LatticeView<scalar_t> lattice;
  BlurChains chains;
  SplatEntries<scalar_t> entries;      // weights times the input scale
  std::vector<scalar_t> output_scale;  // [P], empty where it is constant
  scalar_t constant_scale;
  Buffer<scalar_t> rows;  // [V, width]
};

template <typename scalar_t>
Kernel<scalar_t> prepare_kernel(const LatticeView<scalar_t>& lattice,
                                double weight, Normalization normalization,
                                std::int64_t width) {
  const Stage stage("normalize");
  BlurChains chains = blur_chains(lattice);
  const scalar_t constant_scale =
      static_cast<scalar_t>(weight) * slice_scale<scalar_t>(lattice.features);
  std::vector<scalar_t> input, output;
  if (normalization != Normalization::kNo) {
    const std::vector<scalar_t> ones(lattice.points, scalar_t(1));
    std::vector<scalar_t> norm(lattice.points);
    lattice_filter_cpu(lattice, chains, ones.data(), 1, false, norm.data());
    if (normalization != Normalization::kAfter) {
      for (const scalar_t n : norm) {
        input.push_back(input_scale(n, normalization));
      }
    }
    if (normalization != Normalization::kBefore) {
      for (const scalar_t n : norm) {
        output.push_back(constant_scale * output_scale(n, normalization));
      }
    }
  }
  SplatEntries<scalar_t> entries(lattice,
                                 input.empty() ? nullptr : input.data());
  return {lattice,
          std::move(chains),
          std::move(entries),
          std::move(output),
          constant_scale,
          make_buffer<scalar_t>(lattice.vertex_count * width)};
}

}  // namespace

template <typename scalar_t>
void meanfield_cpu(const MeanfieldProblem<scalar_t>& problem, scalar_t* out) {
  const std::int64_t points = problem.points;
  const std::int64_t labels = problem.labels;
  const std::int64_t width = padded_width(labels);

  const Buffer<scalar_t> logits = make_buffer<scalar_t>(points * width);
  parallel_for(
      0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          for (std::int64_t l = 0; l < labels; ++l) {
            logits[i * width + l] = -problem.unary[l * points + i];
          }
          for (std::int64_t l = labels; l < width; ++l) {
            logits[i * width + l] = -std::numeric_limits<scalar_t>::max();
          }
        }
      });

  std::vector<Kernel<scalar_t>> kernels;
  std::vector<KernelRows<scalar_t>> rows;
  kernels.reserve(problem.lattices.size());
  for (std::size_t m = 0; m < problem.lattices.size(); ++m) {
    kernels.push_back(prepare_kernel(problem.lattices[m], problem.weights[m],
                                     problem.normalization, width));
    const Kernel<scalar_t>& kernel = kernels.back();
    rows.push_back(
        {kernel.lattice, kernel.rows.get(),
         kernel.output_scale.empty() ? nullptr : kernel.output_scale.data(),
         kernel.constant_scale});
  }

  const Buffer<scalar_t> marginals = make_buffer<scalar_t>(points * width);
  UpdateArguments<scalar_t> arguments{
      rows.data(),    0,     nullptr,      logits.get(),
      labels,         width, problem.kind, problem.compatibility,
      marginals.get()};
  for (int iteration = 0; iteration <= problem.iterations; ++iteration) {
    // Round 0 has no messages yet: softmax(-U).
    arguments.kernel_count = iteration == 0 ? 0 : static_cast<int>(rows.size());
    for (int m = 0; m < arguments.kernel_count; ++m) {
      const Kernel<scalar_t>& kernel = kernels[m];
      lattice_splat_cpu(kernel.entries.list(), kernel.lattice.vertex_count,
                        marginals.get(), width, kernel.rows.get());
      lattice_blur_cpu(kernel.chains, false, width, kernel.rows.get());
    }
    const Stage stage("slice + softmax");
    parallel_for(
        0, points, kPointGrain, [&](std::int64_t begin, std::int64_t end) {
          std::vector<scalar_t> scratch(2 * kUpdateTile * width);
          row_kernels<scalar_t>().update(arguments, scratch.data(), begin, end);
        });
  }

  parallel_for(0, points, kPointGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t l = 0; l < labels; ++l) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     out[l * points + i] = marginals[i * width + l];
                   }
                 }
               });
}

template void meanfield_cpu(const MeanfieldProblem<float>&, float*);
template void meanfield_cpu(const MeanfieldProblem<double>&, double*);

}  // namespace deeplab
