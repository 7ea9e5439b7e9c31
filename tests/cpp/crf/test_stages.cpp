#include <gtest/gtest.h>

#include <thread>

#include "csrc/cpu/crf/stages.h"

namespace deeplab {
namespace {

TEST(Stages, CountOnlyWhileTheirThreadListens) {
  { const Stage unheard("before"); }
  const StageClock clock;
  { const Stage stage("one"); }
  {
    const Stage stage("two");
    const Stage inner("inner");
  }
  std::thread([] { const Stage stage("elsewhere"); }).join();
  { const Stage stage("one"); }
  ASSERT_EQ(clock.seconds().size(), 2u);
  EXPECT_GE(clock.seconds().at("one"), 0.0);
  EXPECT_EQ(clock.seconds().count("inner"), 0u);
}

}  // namespace
}  // namespace deeplab
