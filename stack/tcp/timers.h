// The logical timers of a connection on one node of the wheel. Moving a deadline later costs nothing: the node fires at
// the old time and is put down again.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/timer_wheel.h"

namespace sluice::tcp {

enum class TimerKind : std::uint8_t { kRetransmit, kPersist, kDelayedAck, kKeepAlive, kFinWait2, kOverride, kPacing };
inline constexpr std::size_t kTimerKinds = 7;

class TimerSet {
 public:
  TimerSet(TimerWheel& wheel, Timer::Callback callback, void* owner) : node_(wheel, callback, owner) {
    deadlines_.fill(Instant::never());
  }

  void set(TimerKind kind, Instant at) {
    deadlines_[static_cast<std::size_t>(kind)] = at;
    if (at < node_.deadline()) node_.schedule(at);
  }
  void cancel(TimerKind kind) { deadlines_[static_cast<std::size_t>(kind)] = Instant::never(); }
  void cancel_all() {
    deadlines_.fill(Instant::never());
    node_.cancel();
  }
  [[nodiscard]] bool armed(TimerKind kind) const { return !deadlines_[static_cast<std::size_t>(kind)].is_never(); }
  [[nodiscard]] Instant deadline(TimerKind kind) const { return deadlines_[static_cast<std::size_t>(kind)]; }

  // True, and disarms it, when the timer is due.
  bool take_due(TimerKind kind, Instant now) {
    Instant& at = deadlines_[static_cast<std::size_t>(kind)];
    if (at > now) return false;
    at = Instant::never();
    return true;
  }
  // After the node fired: waits for the earliest that is left.
  void rearm() { node_.schedule(*std::min_element(deadlines_.begin(), deadlines_.end())); }

 private:
  Timer node_;
  std::array<Instant, kTimerKinds> deadlines_{};
};

}  // namespace sluice::tcp
