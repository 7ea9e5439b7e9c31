// The data-parallel lattice, run as loops, against the CPU's.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "tests/cpp/crf/batch_twins.h"
#include "tests/cpp/crf/host_executor.h"

namespace deeplab {
namespace {

TEST(Batch, OneImageHasTheCpusTables) {
  for (int d : {1, 2, 3, 5, 6, 7, 20}) {
    for (bool wide : {false, true}) {
      for (std::int64_t stride : {1, 13}) {
        const auto features = normal<float>(300 * d, 0.8);
        const CpuLattice<float> cpu(features.data(), 300, d);
        const HostLattice<float> batch(HostExecutor(stride), features.data(), 1,
                                       300, d, true, wide);
        ASSERT_EQ(batch.count, cpu.view.vertex_count);
        if (wide) {
          EXPECT_FALSE(batch.packed);
        }
        const std::int64_t v = batch.count;
        EXPECT_EQ(batch.vertices, cpu.vertices);
        EXPECT_EQ(batch.weights, cpu.weights);
        EXPECT_EQ(batch.entries, cpu.entries);
        EXPECT_EQ(
            batch.neighbors,
            std::vector<std::int32_t>(cpu.neighbors.begin(),
                                      cpu.neighbors.begin() + v * (d + 1) * 2));
        EXPECT_EQ(batch.offsets,
                  std::vector<std::int32_t>(cpu.offsets.begin(),
                                            cpu.offsets.begin() + v + 1));
      }
    }
  }
}

TEST(Batch, ThreadsThatClaimTheSameSlotsLeaveTheSameTables) {
  // Few vertices with many references each: threads meet in every slot.
  const auto features = normal<float>(6000 * 5, 0.05);
  for (bool wide : {false, true}) {
    const HostLattice<float> one(HostExecutor(), features.data(), 3, 2000, 5,
                                 false, wide);
    for (int run = 0; run < 5; ++run) {
      const HostLattice<float> many(HostExecutor(1, 8), features.data(), 3,
                                    2000, 5, false, wide);
      ASSERT_EQ(many.count, one.count);
      ASSERT_EQ(many.vertices, one.vertices);
      ASSERT_EQ(many.neighbors, one.neighbors);
      ASSERT_EQ(many.entries, one.entries);
    }
  }
}

TEST(Batch, KeysFallBackToVectorsWhereTheBitsDoNotSuffice) {
  const float least[5] = {0, 0, 0, 0, 0};
  const float photo[5] = {500 / 67.f, 375 / 67.f, 85, 85, 85};
  EXPECT_TRUE(batch_keys(least, photo, 5, 1).packing.fits);
  EXPECT_TRUE(batch_keys(least, photo, 5, 1024).packing.fits);
  const float fine[5] = {500 / 67.f, 375 / 67.f, 510, 510, 510};
  const BatchKeys one = batch_keys(least, fine, 5, 1);
  ASSERT_TRUE(one.packing.fits);
  ASSERT_LE(one.packing.bits, 63);
  EXPECT_EQ(one.image_shift, one.packing.bits);
  const std::int64_t images = std::int64_t{1} << (63 - one.packing.bits);
  EXPECT_TRUE(batch_keys(least, fine, 5, images).packing.fits);
  EXPECT_FALSE(batch_keys(least, fine, 5, images + 1).packing.fits);
  const float far[5] = {500 / 67.f, 375 / 67.f, 5100, 5100, 5100};
  EXPECT_FALSE(batch_keys(least, far, 5, 1).packing.fits);
}

TEST(Batch, ImagesKeepTheirVerticesApart) {
  // The same image three times: were a key shared, vertices would be too.
  const auto one = normal<float>(120 * 5, 0.6);
  std::vector<float> three;
  for (int image = 0; image < 3; ++image) {
    three.insert(three.end(), one.begin(), one.end());
  }
  for (bool wide : {false, true}) {
    const HostLattice<float> alone(HostExecutor(), one.data(), 1, 120, 5, true,
                                   wide);
    const HostLattice<float> batch(HostExecutor(7), three.data(), 3, 120, 5,
                                   true, wide);
    ASSERT_EQ(batch.count, 3 * alone.count);
    for (std::size_t e = 0; e < batch.vertices.size(); ++e) {
      const auto image = static_cast<std::int32_t>(e / alone.vertices.size());
      ASSERT_EQ(batch.vertices[e], alone.vertices[e % alone.vertices.size()] +
                                       image * alone.count);
    }
  }
}

TEST(Batch, FilterEqualsTheCpus) {
  for (int d : {1, 2, 5, 9}) {
    for (std::int64_t channels : {1, 2, 8, 9, 21}) {
      const auto features = normal<double>(257 * d, 0.7);
      const auto values = normal<double>(257 * channels, 1, 3);
      const CpuLattice<double> cpu(features.data(), 257, d);
      for (bool reverse : {false, true}) {
        std::vector<double> expected(values.size());
        lattice_filter_cpu(cpu.view, blur_chains(cpu.view), values.data(),
                           channels, reverse, expected.data());
        for (bool by_point : {false, true}) {
          const HostLattice<double> batch(HostExecutor(), features.data(), 1,
                                          257, d, by_point);
          const auto out =
              batch.filter(HostExecutor(5), values, channels, reverse);
          EXPECT_LT(worst(out, expected), 1e-12);
        }
      }
    }
  }
}

TEST(Batch, LongListsAreSummedInPieces) {
  // 5000 equal points and some others: lists of 5000, 64, 65 and few entries.
  std::vector<double> features(2 * 5000, 0.3);
  for (int copy = 0; copy < 64; ++copy) features.insert(features.end(), {9, 9});
  for (int copy = 0; copy < 65; ++copy) {
    features.insert(features.end(), {-9, 9});
  }
  const auto rest = normal<double>(2 * 50, 20);
  features.insert(features.end(), rest.begin(), rest.end());
  const auto points = static_cast<std::int64_t>(features.size()) / 2;
  const auto values = normal<double>(points * 3, 1);
  const CpuLattice<double> cpu(features.data(), points, 2);
  std::vector<double> expected(values.size());
  lattice_filter_cpu(cpu.view, blur_chains(cpu.view), values.data(), 3, false,
                     expected.data());
  const HostLattice<double> batch(HostExecutor(3), features.data(), 1, points,
                                  2);
  std::int64_t pieces = 0;
  for (std::int64_t v = 0; v < batch.count; ++v) {
    const int length = batch.offsets[v + 1] - batch.offsets[v];
    const int own = batch.piece_offsets[v + 1] - batch.piece_offsets[v];
    EXPECT_EQ(own, length > kPiece ? (length + kPiece - 1) / kPiece : 0);
    for (int p = 0; p < own; ++p) {
      EXPECT_EQ(batch.piece_vertices[batch.piece_offsets[v] + p], v);
    }
    pieces += own;
  }
  EXPECT_GE(pieces, 3 * 79);
  EXPECT_LE(pieces, batch.view.piece_bound());
  EXPECT_LT(worst(batch.filter(HostExecutor(), values, 3, false), expected),
            1e-10);
}

TEST(Batch, RefusesFeaturesThatAreNotFiniteOrTooFar) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity(), 1e30f}) {
    const std::vector<float> features{0.f, bad, 1.f, 2.f};
    EXPECT_EQ(
        HostLattice<float>(HostExecutor(), features.data(), 1, 2, 2).count, -1);
  }
}

TEST(Batch, ImagesPerLatticeKeepsEntriesInRange) {
  EXPECT_EQ(images_per_lattice(8, 187500, 6), 8);
  EXPECT_EQ(images_per_lattice(8, std::int64_t{1} << 27, 6), 1);
  EXPECT_EQ(images_per_lattice(8, std::int64_t{1} << 28, 6), 0);
  EXPECT_EQ(images_per_lattice(3, 0, 6), 3);
  const std::int64_t most = images_per_lattice(1 << 20, 187500, 6);
  EXPECT_LT(most * 187500 * 6, kMaxLatticeEntries);
}

}  // namespace
}  // namespace deeplab
