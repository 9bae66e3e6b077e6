// Virtual time: a clock that jumps from one timer to the next. Timers due at the same time fire in an order that
// depends on nothing but the calls made before: a run repeats exactly.
#pragma once

#include "stack/base/timer_wheel.h"

namespace sluice::sim {

class Scheduler {
 public:
  [[nodiscard]] Instant now() const { return now_; }
  void schedule(Timer& timer, Instant at) { timers_.schedule(timer, at); }
  // Only if that is earlier than what it is armed for.
  void schedule_by(Timer& timer, Instant at) {
    if (at < timer.deadline()) timers_.schedule(timer, at);
  }

  // Fires all that is due up to `end`, at its time; then it is `end`.
  void run_until(Instant end) {
    for (Instant next = timers_.next_deadline(); next <= end; next = timers_.next_deadline()) {
      now_ = next < now_ ? now_ : next;
      timers_.advance(now_, 1);
    }
    now_ = end;
  }

 private:
  Instant now_ = Instant::from_nanos(0);
  TimerWheel timers_;
};

}  // namespace sluice::sim
