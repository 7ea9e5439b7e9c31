#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "csrc/core/conv/im2col.h"
#include "csrc/cpu/conv/im2col.h"
#include "tests/cpp/conv/helpers.h"

namespace deeplab {
namespace {

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Odd sizes, asymmetric axes, strides, and rates larger than the map.
const Window2d kWindows[] = {
    {make_window_axis(7, 3, 1, 2, 2), make_window_axis(5, 3, 1, 2, 2)},
    {make_window_axis(5, 3, 1, 12, 12), make_window_axis(9, 2, 1, 13, 24)},
    {make_window_axis(9, 4, 3, 1, 2), make_window_axis(11, 3, 2, 0, 1)},
    {make_window_axis(1, 1, 1, 0, 1), make_window_axis(6, 1, 1, 0, 1)},
    {make_window_axis(4, 1, 2, 3, 1), make_window_axis(3, 3, 2, 40, 30)},
};

class Im2Col : public testing::TestWithParam<Window2d> {
 protected:
  static constexpr std::int64_t kPlanes = 6;
  Window2d window = GetParam();
  std::int64_t images_size = kPlanes * window.input_size();
  std::int64_t columns_size = kPlanes * window.taps() * window.output_size();
};

TEST_P(Im2Col, RowsAgreeWithTheFunctor) {
  const Values images = random_values(images_size, 1);
  Values columns(static_cast<std::size_t>(columns_size), -9);
  im2col_cpu(window, kPlanes, images.data(), columns.data());
  const Im2ColAt<double> at{window, images.data()};
  std::size_t i = 0;
  for (std::int64_t plane = 0; plane < kPlanes; ++plane) {
    for (std::int64_t tap_h = 0; tap_h < window.h.kernel; ++tap_h) {
      for (std::int64_t tap_w = 0; tap_w < window.w.kernel; ++tap_w) {
        for (std::int64_t y = 0; y < window.h.output; ++y) {
          for (std::int64_t x = 0; x < window.w.output; ++x) {
            EXPECT_EQ(columns[i++], at(plane, tap_h, tap_w, y, x));
          }
        }
      }
    }
  }
}

TEST_P(Im2Col, Col2ImAgreesWithTheFunctorToTheBit) {
  const Values columns = random_values(columns_size, 2);
  Values images(static_cast<std::size_t>(images_size), -9);
  col2im_cpu(window, kPlanes, columns.data(), images.data());
  const Col2ImAt<double> at{window, columns.data()};
  std::size_t i = 0;
  for (std::int64_t plane = 0; plane < kPlanes; ++plane) {
    for (std::int64_t y = 0; y < window.h.input; ++y) {
      for (std::int64_t x = 0; x < window.w.input; ++x) {
        EXPECT_EQ(images[i++], at(plane, y, x));
      }
    }
  }
}

TEST_P(Im2Col, Col2ImIsTheAdjoint) {
  const Values images = random_values(images_size, 3);
  const Values columns = random_values(columns_size, 4);
  Values sampled(columns.size());
  Values gathered(images.size());
  im2col_cpu(window, kPlanes, images.data(), sampled.data());
  col2im_cpu(window, kPlanes, columns.data(), gathered.data());
  EXPECT_NEAR(dot(sampled, columns), dot(images, gathered), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Windows, Im2Col, testing::ValuesIn(kWindows));

// One convolution with everything it reads, and the definition to hold it to.
class AtrousConv : public testing::TestWithParam<Window2d> {
 protected:
  void SetUp() override {
    shape = {2, 6, 4, 2, GetParam()};
    input = random_values(shape.batch * shape.input_size(), 5);
    weight = random_values(shape.filters * shape.group_rows(), 6);
    bias = random_values(shape.filters, 7);
    grad = random_values(shape.batch * shape.output_size(), 8);
  }

  Values forward(const Values& images, const Values& weights,
                 const double* biases) const {
    Values output(grad.size(), -9);
    atrous_conv2d_cpu(shape, images.data(), weights.data(), biases,
                      output.data(), Multiply<double>(multiply_plainly));
    return output;
  }

  double defined_at(std::int64_t n, std::int64_t filter, std::int64_t out_h,
                    std::int64_t out_w) const {
    const Window2d& window = shape.window;
    const std::int64_t channels = shape.channels / shape.groups;
    const std::int64_t first = filter / shape.group_filters() * channels;
    double sum = bias[static_cast<std::size_t>(filter)];
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t tap = 0; tap < window.taps(); ++tap) {
        const double sample = Im2ColAt<double>{window, input.data()}(
            n * shape.channels + first + c, tap / window.w.kernel,
            tap % window.w.kernel, out_h, out_w);
        const std::int64_t index =
            (filter * channels + c) * window.taps() + tap;
        sum += sample * weight[static_cast<std::size_t>(index)];
      }
    }
    return sum;
  }

  Conv2dShape shape;
  Values input, weight, bias, grad;
};

TEST_P(AtrousConv, FollowsTheDefinition) {
  const Values output = forward(input, weight, bias.data());
  std::size_t i = 0;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for (std::int64_t filter = 0; filter < shape.filters; ++filter) {
      for (std::int64_t y = 0; y < shape.window.h.output; ++y) {
        for (std::int64_t x = 0; x < shape.window.w.output; ++x) {
          EXPECT_NEAR(output[i++], defined_at(n, filter, y, x), 1e-12);
        }
      }
    }
  }
}

// The output is linear in input, in weight and in bias, so each gradient is an
// adjoint.
TEST_P(AtrousConv, GradientsAreAdjoints) {
  Values grad_input(input.size(), -9);
  Values grad_weight(weight.size(), -9);
  Values grad_bias(bias.size(), -9);
  atrous_conv2d_backward_cpu(
      shape, grad.data(), input.data(), weight.data(), grad_input.data(),
      grad_weight.data(), grad_bias.data(), Multiply<double>(multiply_plainly));
  const double linear = dot(forward(input, weight, nullptr), grad);
  EXPECT_NEAR(dot(input, grad_input), linear, 1e-11);
  EXPECT_NEAR(dot(weight, grad_weight), linear, 1e-11);
  const double with_bias = dot(forward(input, weight, bias.data()), grad);
  EXPECT_NEAR(dot(bias, grad_bias), with_bias - linear, 1e-11);
}

TEST_P(AtrousConv, LeavesOutUnwantedGradients) {
  atrous_conv2d_backward_cpu<double>(shape, grad.data(), input.data(),
                                     weight.data(), nullptr, nullptr, nullptr,
                                     multiply_plainly);
}

TEST_P(AtrousConv, TakesAnEmptyBatch) {
  shape.batch = 0;
  Values grad_weight(weight.size(), -9);
  Values grad_bias(bias.size(), -9);
  atrous_conv2d_backward_cpu<double>(shape, nullptr, nullptr, weight.data(),
                                     nullptr, grad_weight.data(),
                                     grad_bias.data(), multiply_plainly);
  EXPECT_EQ(grad_weight, Values(weight.size(), 0));
  EXPECT_EQ(grad_bias, Values(bias.size(), 0));
}

INSTANTIATE_TEST_SUITE_P(Windows, AtrousConv, testing::ValuesIn(kWindows));

}  // namespace
}  // namespace deeplab
