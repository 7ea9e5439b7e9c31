#include "csrc/cpu/crf/stages.h"

namespace deeplab {
namespace {

thread_local StageClock* listening = nullptr;

}  // namespace

StageClock::StageClock() : outer_(listening) { listening = this; }
StageClock::~StageClock() { listening = outer_; }

Stage::Stage(const char* name)
    : clock_(listening != nullptr && !listening->busy_ ? listening : nullptr),
      name_(name) {
  if (clock_ == nullptr) return;
  clock_->busy_ = true;
  start_ = std::chrono::steady_clock::now();
}

Stage::~Stage() {
  if (clock_ == nullptr) return;
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - start_;
  clock_->seconds_[name_] += passed.count();
  clock_->busy_ = false;
}

}  // namespace deeplab
