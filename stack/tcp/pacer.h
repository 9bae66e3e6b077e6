// Pacing: spreads what is sent over time, so that a window does not leave in one burst (draft-ietf-ccwg-bbr §5.6.2).
// Says when the next segment may go and how large it may be; the connection's timer does the waiting.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp {

class Pacer {
 public:
  static constexpr std::uint64_t kUnlimited = 0;

  void set_rate(std::uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  [[nodiscard]] std::uint64_t rate() const { return rate_; }
  [[nodiscard]] bool on() const { return rate_ != kUnlimited; }
  [[nodiscard]] bool may_send(Instant now) const { return !on() || now >= next_; }
  [[nodiscard]] Instant next() const { return next_; }

  // While on: the most that goes at once, in bytes. What the rate gives in a millisecond, at least two segments, in
  // whole segments: few timers and large segments when it is fast, small bursts when it is slow.
  [[nodiscard]] std::uint32_t quantum(std::uint32_t mss) const {
    const std::uint64_t bytes = std::min<std::uint64_t>(rate_ / 1000, kMaxQuantum);
    return std::max(static_cast<std::uint32_t>(bytes) / mss, 2u) * mss;
  }

  // A timer that fires late is made good, but never by more than kCatchUp: that bounds the burst after silence.
  void on_sent(Instant now, std::uint32_t bytes) {
    if (!on()) return;
    const auto time = Duration::nanos(static_cast<std::int64_t>(std::uint64_t{bytes} * 1'000'000'000 / rate_));
    next_ = std::max(next_, now - kCatchUp) + time;
  }

 private:
  static constexpr std::uint32_t kMaxQuantum = 64u << 10;
  static constexpr Duration kCatchUp = 1_ms;

  std::uint64_t rate_ = kUnlimited;  // bytes/s
  Instant next_;
};

}  // namespace sluice::tcp
