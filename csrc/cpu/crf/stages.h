// Where a launcher's time goes: seconds by name of a step, counted on the
// thread that calls the launcher and only while it asks for them.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace deeplab {

// Counts the steps that the thread runs while it lives.
class StageClock {
 public:
  StageClock();
  ~StageClock();
  StageClock(const StageClock&) = delete;
  StageClock& operator=(const StageClock&) = delete;

  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  friend class Stage;
  StageClock* outer_;
  std::map<std::string, double> seconds_;
  bool busy_ = false;
};

// One step, as long as it lives; a step inside of another counts as the outer
// one.
class Stage {
 public:
  explicit Stage(const char* name);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

 private:
  StageClock* clock_;
  const char* name_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace deeplab
