// How fast the path delivers: draft-cheng-iccrg-delivery-rate-estimation-02 (and draft-ietf-ccwg-bbr §4.1), in bytes.
// Each segment carries what had been delivered when it was sent; when it arrives, the difference is what the path
// delivered meanwhile. The longer of the times in which that was sent and acknowledged is the interval.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/base/time.h"
#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/scoreboard.h"

namespace sluice::tcp {

// The last sample that tells what the path can do: one of a sender that had not enough to send counts only if it is
// higher than that.
class BestRate {
 public:
  void on_sample(const cc::RateSample& s) {
    if (s.interval == Duration()) return;
    const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(s.interval.to_micros(), 1));
    const bool higher = s.delivered * interval_us_ >= std::uint64_t{delivered_} * us;
    if (s.app_limited && !higher) return;
    interval_us_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(us, UINT32_MAX));
    delivered_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(s.delivered, UINT32_MAX));
    app_limited_ = s.app_limited;
  }
  [[nodiscard]] std::uint64_t bytes_per_second() const {
    return interval_us_ != 0 ? std::uint64_t{delivered_} * 1'000'000 / interval_us_ : 0;
  }
  [[nodiscard]] bool app_limited() const { return app_limited_; }

 private:
  std::uint32_t interval_us_ = 0;
  std::uint32_t delivered_ = 0;  // bytes in it
  bool app_limited_ = false;
};

class DeliveryRate {
 public:
  // Something is sent after a pause: the clocks begin again. `delivered`: bytes in the life of the connection so far.
  void start(Instant now, std::uint64_t delivered) {
    delivered_ = delivered;
    delivered_at_ = burst_began_at_ = now;
  }
  // For a segment that is sent now.
  [[nodiscard]] SendStamp stamp(Instant now) const {
    return {.at = now,
            .delivered_at = delivered_at_,
            .burst_began_at = burst_began_at_,
            .delivered = static_cast<std::uint32_t>(delivered_),
            .lost = lost_,
            .app_limited = app_limited_ != 0};
  }
  void on_lost(std::uint32_t bytes) { lost_ += bytes; }
  // The application has nothing to send, though the window would take it: samples until what is in flight now has been
  // delivered say less than the path can do.
  void on_app_limited(std::uint32_t in_flight) { app_limited_ = std::max<std::uint64_t>(delivered_ + in_flight, 1); }

  // Fills in the sample, the sum and whether a round trip is over.
  void on_delivery(const Delivery& d, cc::Ack& ack) {
    delivered_ += d.bytes;
    delivered_at_ = ack.now;
    if (app_limited_ != 0 && delivered_ > app_limited_) app_limited_ = 0;
    ack.total_delivered = delivered_;
    if (d.latest.length == 0) return;
    const SendStamp& then = d.latest.stamp;
    const std::uint32_t meanwhile = static_cast<std::uint32_t>(delivered_) - then.delivered;
    const std::uint64_t prior = delivered_ - meanwhile;
    ack.round_start = prior >= next_round_;
    if (ack.round_start) next_round_ = delivered_;
    burst_began_at_ = then.at;
    const Duration interval = std::max(then.at - then.burst_began_at, ack.now - then.delivered_at);
    ack.rate = {.interval = interval,
                .delivered = meanwhile,
                .prior_delivered = prior,
                .lost = lost_ - then.lost,
                .sent_in_flight = d.latest.sent_in_flight,
                .app_limited = then.app_limited};
    // Shorter than a round trip: it comes from what was sent more than once.
    if (interval < ack.min_rtt || interval == Duration()) ack.rate = {};
  }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }

 private:
  std::uint64_t delivered_ = 0;
  std::uint64_t app_limited_ = 0;  // until so much is delivered; 0: no
  std::uint64_t next_round_ = 0;   // a round trip ends with what is sent when so much has been delivered
  Instant delivered_at_{};
  Instant burst_began_at_{};
  std::uint32_t lost_ = 0;
};

}  // namespace sluice::tcp
