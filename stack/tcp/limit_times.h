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
    total(reason_) += now - since_;
    reason_ = reason;
    since_ = now;
  }
  [[nodiscard]] Duration of(Reason reason, Instant now) const {
    const Duration before = totals_[static_cast<std::size_t>(reason)];
    return reason == reason_ ? before + (now - since_) : before;
  }
  [[nodiscard]] Duration busy(Instant now) const {
    return of(Reason::kPath, now) + of(Reason::kPeerWindow, now) + of(Reason::kSendBuffer, now);
  }

 private:
  Duration& total(Reason reason) { return totals_[static_cast<std::size_t>(reason)]; }

  std::array<Duration, 4> totals_{};
  Instant since_{};
  Reason reason_ = Reason::kIdle;
};

}  // namespace sluice::tcp
