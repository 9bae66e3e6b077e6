// What keeps the sender from sending, and for how long in all: TCP_INFO's busy_time, rwnd_limited and sndbuf_limited.
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp {

class LimitTimes {
 public:
  enum class Reason : std::uint8_t {
    kIdle,        // all that was queued is acknowledged
    kPath,        // it waits for ACKs
    kPeerWindow,  // for the peer's window
    kSendBuffer,  // all is sent, and the user has more than the buffer takes
  };

  void set(Reason reason, Instant now) {
    if (reason == reason_) return;
    if (reason_ != Reason::kIdle) totals_[place_of(reason_)] += millis(now) - since_;
    reason_ = reason;
    since_ = millis(now);
  }
  [[nodiscard]] Duration of(Reason reason, Instant now) const {  // not of kIdle
    const std::uint32_t before = totals_[place_of(reason)];
    return Duration::millis(reason == reason_ ? before + (millis(now) - since_) : before);
  }
  [[nodiscard]] Duration busy(Instant now) const {
    return of(Reason::kPath, now) + of(Reason::kPeerWindow, now) + of(Reason::kSendBuffer, now);
  }

 private:
  // Small, since every connection has them: 49 days in milliseconds.
  static std::uint32_t millis(Instant at) { return static_cast<std::uint32_t>(at.to_nanos() / 1'000'000); }
  static std::size_t place_of(Reason reason) { return static_cast<std::size_t>(reason) - 1; }

  std::array<std::uint32_t, 3> totals_{};
  std::uint32_t since_ = 0;
  Reason reason_ = Reason::kIdle;
};

}  // namespace sluice::tcp
