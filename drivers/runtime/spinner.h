// Adaptive waiting: for a short time after something has happened it is cheaper to look again than to sleep and be
// woken (a wake-up across processors takes longer than a round trip on a TAP). Where looking does not pay - the peer is
// slow, or needs this very processor to answer - it stops, and is tried again now and then.
#pragma once

#include <algorithm>

#include "stack/base/time.h"

namespace sluice {

class Spinner {
 public:
  explicit Spinner(Duration longest) : longest_(longest) {}  // 0: never

  // Something has happened: frames came, or a caller had work.
  void on_work(Instant now) {
    if (spinning_) {
      misses_ = 0;
      pause_length_ = kFirstPause;
    }
    spinning_ = false;
    fresh_ = true;
    last_work_ = now;
  }

  // Nothing to do now: whether to look again at once rather than to sleep.
  [[nodiscard]] bool again(Instant now) {
    if (!fresh_ || longest_ <= Duration()) return false;
    if (paused_ > 0) {
      fresh_ = false;
      --paused_;
      return false;
    }
    spinning_ = now - last_work_ < longest_;
    if (spinning_) return true;
    fresh_ = false;
    if (++misses_ == kMisses) {
      misses_ = 0;
      paused_ = pause_length_;
      pause_length_ = std::min(2 * pause_length_, kLongestPause);
    }
    return false;
  }

 private:
  static constexpr int kMisses = 3;  // in a row, until it stops
  static constexpr int kFirstPause = 8;
  static constexpr int kLongestPause = 1024;  // times of waiting without looking, before the next try

  Duration longest_;
  Instant last_work_ = Instant::past();
  bool fresh_ = false;     // no sleep since the last work
  bool spinning_ = false;  // the last answer was yes
  int misses_ = 0;
  int paused_ = 0;
  int pause_length_ = kFirstPause;
};

}  // namespace sluice
