// Runs the data-parallel steps of core/ as plain loops, so that their index
// logic is tested without a GPU. Items are visited in a chosen order: none may
// matter.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "csrc/core/crf/batch/inference.h"

namespace deeplab {

class HostExecutor {
 public:
  // stride 1: forwards; otherwise items in steps of `stride`, begun at the end.
  // Several threads take items in turn.
  explicit HostExecutor(std::int64_t stride = 1, int threads = 1)
      : stride_(stride), threads_(threads) {}

  template <typename F>
  void for_each(std::int64_t n, const F& f) {
    visit(n, [&](std::int64_t k) { f(k); });
  }
  template <typename F>
  void for_each(std::int64_t n, int layers, const F& f) {
    visit(n, [&](std::int64_t k) {
      for (int layer = layers - 1; layer >= 0; --layer) f(k, layer);
    });
  }
  void fill(void* places, int byte, std::int64_t bytes) {
    if (bytes > 0) std::memset(places, byte, bytes);
    ++steps;
  }
  void exclusive_sum(const std::int32_t* in, std::int32_t* out,
                     std::int64_t n) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int32_t value = in[k];
      out[k] = sum;
      sum += value;
    }
    ++steps;
  }
  void sort_pairs(const std::int32_t* keys, std::int32_t* sorted_keys,
                  const std::int32_t* values, std::int32_t* sorted_values,
                  std::int64_t n, int bits) {
    std::vector<std::int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    const std::uint32_t mask = bits >= 32 ? ~0u : (1u << bits) - 1;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) {
                       return (keys[a] & mask) < (keys[b] & mask);
                     });
    for (std::int64_t k = 0; k < n; ++k) {
      sorted_keys[k] = keys[order[k]];
      sorted_values[k] = values[order[k]];
    }
    ++steps;
  }

  int steps = 0;

 private:
  template <typename F>
  void visit(std::int64_t n, const F& f) {
    ++steps;
    if (threads_ > 1) {
      std::vector<std::thread> running;
      for (int t = 0; t < threads_; ++t) {
        running.emplace_back([&, t] {
          for (std::int64_t k = t; k < n; k += threads_) f(k);
        });
      }
      for (std::thread& each : running) each.join();
      return;
    }
    if (stride_ == 1) {
      for (std::int64_t k = 0; k < n; ++k) f(k);
      return;
    }
    for (std::int64_t start = stride_ - 1; start >= 0; --start) {
      for (std::int64_t k = start; k < n; k += stride_) f(k);
    }
  }

  std::int64_t stride_;
  int threads_;
};

// Memory for an arena, poisoned so that a place nobody wrote shows.
class HostMemory {
 public:
  explicit HostMemory(std::int64_t bytes)
      : memory_(std::aligned_alloc(256, (bytes / 256 + 1) * 256)) {
    std::memset(memory_, 0xfb, (bytes / 256 + 1) * 256);
  }
  ~HostMemory() { std::free(memory_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_;
};

// A lattice of a batch with its memory; built by the steps the CUDA launchers
// run.
template <typename scalar_t>
class HostLattice {
 public:
  HostLattice(HostExecutor run, const scalar_t* features, std::int64_t images,
              std::int64_t image_points, int d, bool by_point = false,
              bool wide = false)
      : points_(images * image_points), d_(d) {
    const std::int64_t entries = points_ * (d + 1);
    vertices.resize(entries);
    weights.resize(entries);
    BatchBuild<scalar_t> build{};
    build.features = features;
    build.points = points_;
    build.image_points = image_points;
    build.d = d;
    build.vertices = vertices.data();
    build.weights = weights.data();
    build.point_stride = by_point ? d + 1 : 1;
    build.corner_stride = by_point ? 1 : points_;
    build.count = &count;
    Arena measure;
    take_scratch(measure, build);
    const HostMemory memory(measure.bytes());
    Arena arena(memory.get());
    take_scratch(arena, build);
    if (wide) {
      WideKeys keys{run};
      number_vertices(keys, build);
    } else {
      number_vertices(run, build);
    }
    packed = build.keys->packing.fits;
    if (count < 0) return;
    const std::int64_t axes = d + 1;
    neighbors.resize(2 * count * axes);
    sorted.resize(entries);
    this->entries.resize(entries);
    offsets.resize(count + 1);
    links_ = {count,
              neighbors.data(),
              by_point ? 2 * axes : 2,
              by_point ? 2 : 2 * count,
              sorted.data(),
              this->entries.data(),
              offsets.data()};
    link_vertices(run, build, links_);
    splat_points.resize(entries);
    splat_weights.resize(entries);
    piece_offsets.resize(count + 1);
    piece_vertices.resize(2 * entries / kPiece);
    std::vector<std::int32_t> counts(count + 1);
    view = {points_,
            d,
            count,
            vertices.data(),
            weights.data(),
            build.point_stride,
            build.corner_stride,
            neighbors.data(),
            links_.vertex_stride,
            links_.axis_stride,
            offsets.data(),
            splat_points.data(),
            splat_weights.data(),
            piece_offsets.data(),
            piece_vertices.data()};
    list_splat(run, view, this->entries.data(), counts.data());
  }
  HostLattice(const HostLattice&) = delete;
  HostLattice& operator=(const HostLattice&) = delete;

  // values [points, channels] -> [points, channels]
  std::vector<scalar_t> filter(HostExecutor run,
                               const std::vector<scalar_t>& values,
                               std::int64_t channels, bool reverse) const {
    const int blocks = static_cast<int>((channels + kRowBlock - 1) / kRowBlock);
    Arena measure;
    take_filter(measure, blocks);
    const HostMemory memory(measure.bytes());
    Arena arena(memory.get());
    const auto [blocked, rows] = take_filter(arena, blocks);
    std::vector<scalar_t> out(values.size());
    filter_values(run, rows, values.data(), channels, blocked, reverse,
                  out.data());
    return out;
  }

  std::vector<std::int32_t> vertices, neighbors, sorted, entries, offsets,
      splat_points, piece_offsets, piece_vertices;
  std::vector<scalar_t> weights, splat_weights;
  std::int64_t count = -2;
  bool packed = false;
  BatchLattice<scalar_t> view;

 private:
  // Refuses the packing right after it was chosen.
  struct WideKeys {
    HostExecutor run;
    template <typename F>
    void for_each(std::int64_t n, const F& f) {
      run.for_each(n, f);
    }
    void for_each(std::int64_t n, const BudgetAt<scalar_t>& f) {
      run.for_each(n, f);
      f.build.keys->packing.fits = false;
    }
    void fill(void* places, int byte, std::int64_t bytes) {
      run.fill(places, byte, bytes);
    }
    void exclusive_sum(const std::int32_t* in, std::int32_t* out,
                       std::int64_t n) {
      run.exclusive_sum(in, out, n);
    }
  };

  std::pair<scalar_t*, FilterRows<scalar_t, scalar_t>> take_filter(
      Arena& arena, int blocks) const {
    return take_filter_rows(arena, view, blocks);
  }

  std::int64_t points_;
  int d_;
  BatchLinks links_;
};

}  // namespace deeplab
