#include "csrc/cpu/conv/pack.h"

#include <algorithm>
#include <cstddef>

#include "csrc/cpu/buffer.h"
#include "csrc/cpu/conv/kernels.h"
#include "csrc/cpu/parallel.h"

namespace deeplab {
namespace {

// Channels packed at a time: what is read of one filter are then whole cache
// lines, and what is written stays in the first-level cache.
constexpr std::int64_t kChannels = 16;
// Row length of the transposing buffer, odd in cache lines of float.
constexpr std::int64_t kRow = kFilterBlock + 16;

struct Piece {
  std::int64_t group;
  std::int64_t filter;
  std::int64_t filters;
  std::int64_t channel;
  std::int64_t channels;
};

// Cuts the weights into pieces of one filter block by a few channels.
class Pieces {
 public:
  Pieces(std::int64_t groups, std::int64_t filters, std::int64_t channels)
      : groups_(groups), filters_(filters), channels_(channels) {}

  std::int64_t count() const { return groups_ * blocks() * slices(); }

  Piece at(std::int64_t index) const {
    Piece piece;
    piece.channel = index % slices() * kChannels;
    piece.channels = std::min(kChannels, channels_ - piece.channel);
    piece.filter = index / slices() % blocks() * kFilterBlock;
    piece.filters = std::min(kFilterBlock, filters_ - piece.filter);
    piece.group = index / slices() / blocks();
    return piece;
  }

 private:
  std::int64_t blocks() const {
    return (filters_ + kFilterBlock - 1) / kFilterBlock;
  }
  std::int64_t slices() const {
    return (channels_ + kChannels - 1) / kChannels;
  }

  std::int64_t groups_;
  std::int64_t filters_;
  std::int64_t channels_;
};

// Calls visit(offset in the view, offset in rows [taps, kChannels, kRow]) for
// each of the piece's weights.
template <typename T, typename Visit>
void for_each_weight(const WeightView<T>& weight, const Piece& piece,
                     const Visit& visit) {
  const std::int64_t* stride = weight.strides;
  for (std::int64_t f = 0; f < piece.filters; ++f) {
    for (std::int64_t c = 0; c < piece.channels; ++c) {
      const std::int64_t from = piece.group * stride[0] +
                                (piece.filter + f) * stride[1] +
                                (piece.channel + c) * stride[2];
      std::int64_t to = c * kRow + f;
      for (std::int64_t y = 0; y < weight.kernel_h; ++y) {
        for (std::int64_t x = 0; x < weight.kernel_w; ++x) {
          visit(from + y * stride[3] + x * stride[4], to);
          to += kChannels * kRow;
        }
      }
    }
  }
}

}  // namespace

std::int64_t packed_positions(ConvPath path, std::int64_t taps) {
  const std::int64_t tile = winograd_tile(path);
  return tile == 0 ? taps : (tile + 2) * (tile + 2);
}

template <typename T>
void pack_weight(ConvPath path, const WeightView<T>& weight, T* packed) {
  const std::int64_t taps = weight.kernel_h * weight.kernel_w;
  const std::int64_t tile = winograd_tile(path);
  const PackedLayout layout = {packed_positions(path, taps), weight.filters,
                               weight.channels};
  const Pieces pieces(weight.groups, weight.filters, weight.channels);
  const auto transform = conv_kernels<T>().winograd_weight[tile == 4];
  parallel_tasks(pieces.count(), [&](TaskQueue& queue) {
    const auto rows = make_buffer<T>(taps * kChannels * kRow);
    std::int64_t task;
    while (queue.take(&task)) {
      const Piece piece = pieces.at(task);
      for_each_weight(weight, piece, [&](std::int64_t from, std::int64_t to) {
        rows[static_cast<std::size_t>(to)] = weight.data[from];
      });
      T* block = packed + layout.block(piece.group, piece.filter) +
                 piece.channel * piece.filters;
      const std::int64_t stride = weight.channels * piece.filters;
      for (std::int64_t c = 0; c < piece.channels; ++c) {
        const T* row = rows.get() + c * kRow;
        T* to = block + c * piece.filters;
        if (tile != 0) {
          transform({to, stride, piece.filters}, row, kChannels * kRow);
          continue;
        }
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          std::copy_n(row + tap * kChannels * kRow, piece.filters,
                      to + tap * stride);
        }
      }
    }
  });
}

template <typename T>
void unpack_weight(const WeightView<T>& weight, const T* packed, T* result) {
  const std::int64_t taps = weight.kernel_h * weight.kernel_w;
  const PackedLayout layout = {taps, weight.filters, weight.channels};
  const Pieces pieces(weight.groups, weight.filters, weight.channels);
  parallel_tasks(pieces.count(), [&](TaskQueue& queue) {
    const auto rows = make_buffer<T>(taps * kChannels * kRow);
    std::int64_t task;
    while (queue.take(&task)) {
      const Piece piece = pieces.at(task);
      const T* block = packed + layout.block(piece.group, piece.filter) +
                       piece.channel * piece.filters;
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        for (std::int64_t c = 0; c < piece.channels; ++c) {
          std::copy_n(block + (tap * weight.channels + c) * piece.filters,
                      piece.filters, rows.get() + (tap * kChannels + c) * kRow);
        }
      }
      for_each_weight(weight, piece, [&](std::int64_t to, std::int64_t from) {
        result[to] = rows[static_cast<std::size_t>(from)];
      });
    }
  });
}

template void unpack_weight(const WeightView<float>&, const float*, float*);
template void unpack_weight(const WeightView<double>&, const double*, double*);
template void pack_weight(ConvPath, const WeightView<float>&, float*);
template void pack_weight(ConvPath, const WeightView<double>&, double*);

}  // namespace deeplab
