// The retransmission timeout: RFC 6298 (RFC8961-01), with the gains of RFC 7323 Appendix G. Knows neither the clock nor
// the connection.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp {

class RtoEstimator {
 public:
  struct Bounds {
    Duration initial = 1_s;  // before the first sample (RFC6298-02)
    Duration min = 200_ms;
    Duration max = 60_s;  // (RFC6298-09)
    Duration margin{};    // above SRTT at least
  };

  // The bounds outlive it: all connections of a stack have the same.
  explicit RtoEstimator(const Bounds& bounds) : bounds_(bounds), base_(to_32_bits(bounds.initial)) {}

  // A round-trip measurement; `per_round_trip` samples are expected in a window, so each weighs less
  // (RFC 7323 Appendix G). Negative or absurd samples are clamped. Ends any backoff.
  void sample(Duration rtt, int per_round_trip);

  void back_off();  // the timer has expired (RFC6298-18)
  void reset_backoff() { backoff_ = 0; }
  // The SYN's timer expired with an RTO below 3 s: data starts with 3 s (RFC6298-20).
  void on_syn_timeout();

  [[nodiscard]] Duration rto() const;
  [[nodiscard]] Duration srtt() const { return srtt_; }
  [[nodiscard]] Duration rttvar() const { return rttvar_; }
  [[nodiscard]] bool has_sample() const { return has_sample_; }
  [[nodiscard]] int backoff() const { return backoff_; }

 private:
  static std::uint32_t to_32_bits(Duration d) {  // microseconds, at most 71 minutes
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(d.to_micros(), 0, UINT32_MAX));
  }

  const Bounds& bounds_;
  Duration srtt_;
  Duration rttvar_;
  std::uint32_t base_;  // without backoff, microseconds
  std::uint8_t backoff_ = 0;
  bool has_sample_ = false;
};

}  // namespace sluice::tcp
