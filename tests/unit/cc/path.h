// A path for a controller by itself: one bottleneck with a queue that drops at its end, one sender that always has
// data, every segment acknowledged, losses found by three later segments. No protocol, no stack: the events of
// congestion.h are made from nothing but segments and times.
#pragma once

#include <deque>
#include <random>
#include <vector>

#include "stack/tcp/cc/congestion.h"

namespace sluice::test {

namespace cc = tcp::cc;

class Path {
 public:
  struct Spec {
    double rate = 1.25e6;  // bytes/s
    Duration rtt = 40_ms;
    std::uint32_t buffer = 100'000;  // bytes waiting, at most
    double loss = 0;                 // share of the segments, at random
    Duration bursts{};               // ACKs arrive together at multiples of this
    std::uint64_t seed = 1;
  };
  static constexpr std::uint32_t kMss = 1000;

  Path(cc::Controller& controller, const Spec& wanted) : cc_(controller), spec(wanted), dice_(wanted.seed) {
    cc_.start({.mss = kMss, .initial_window = 10 * kMss, .srtt = spec.rtt, .seed = spec.seed});
  }

  void run(Duration time) {
    const Instant end = now_ + time;
    while (true) {
      send_what_may_go();
      Instant next = acks_.empty() ? end : acks_.front().arrives;
      if (may_send_by_window()) next = std::min(next, std::max(next_send_, now_));
      if (timeout_at() < next) next = timeout_at();
      if (next >= end) break;
      now_ = next;
      if (!acks_.empty() && acks_.front().arrives <= now_) acknowledge();
      if (timeout_at() <= now_) time_out();
    }
    now_ = end;
  }

  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] std::uint32_t in_flight() const { return flight_; }
  [[nodiscard]] double queue() const {  // bytes
    return link_free_ > now_ ? (link_free_ - now_).to_seconds() * spec.rate : 0;
  }
  [[nodiscard]] double bdp() const { return spec.rate * spec.rtt.to_seconds(); }
  // Bytes a second over the time that is run here.
  double goodput(Duration time) {
    const std::uint64_t before = delivered_;
    run(time);
    return static_cast<double>(delivered_ - before) / time.to_seconds();
  }

 private:
  struct Segment {
    std::uint64_t number = 0;
    Instant sent, arrives;
    Instant first_sent, delivered_at;
    std::uint64_t delivered = 0, lost = 0;
    std::uint32_t flight = 0;
  };

  [[nodiscard]] bool may_send_by_window() const { return flight_ + kMss <= std::max(cc_.cwnd(), kMss); }
  [[nodiscard]] Instant timeout_at() const {
    return flight_ > 0 && acks_.empty() ? last_sent_ + spec.rtt * 2 + 200_ms : Instant::never();
  }

  void send_what_may_go() {
    while (may_send_by_window() && next_send_ <= now_) {
      if (flight_ == 0) first_sent_ = delivered_at_ = now_;
      Segment s{.number = next_++,
                .sent = now_,
                .arrives = {},
                .first_sent = first_sent_,
                .delivered_at = delivered_at_,
                .delivered = delivered_,
                .lost = lost_};
      flight_ += kMss;
      s.flight = flight_;
      last_sent_ = now_;
      if (cc_.pacing_rate() > 0) {
        next_send_ = std::max(next_send_, now_ - 1_ms) +
                     Duration::nanos(static_cast<std::int64_t>(1e9 * kMss / static_cast<double>(cc_.pacing_rate())));
      }
      link_free_ = std::max(link_free_, now_);
      const bool overflow = (link_free_ - now_).to_seconds() * spec.rate > spec.buffer;
      if (overflow || std::uniform_real_distribution<>(0, 1)(dice_) < spec.loss) {
        missing_.push_back(s.number);
        continue;
      }
      link_free_ = link_free_ + Duration::nanos(static_cast<std::int64_t>(1e9 * kMss / spec.rate));
      s.arrives = link_free_ + spec.rtt;
      if (const std::int64_t n = spec.bursts.to_nanos(); n > 0) {
        s.arrives = Instant::from_nanos((s.arrives.to_nanos() + n - 1) / n * n);
      }
      acks_.push_back(s);
    }
  }

  void acknowledge() {
    const Segment s = acks_.front();
    acks_.pop_front();
    cc::Ack ack;
    ack.now = now_;
    ack.acked = ack.delivered = kMss;
    ack.flight = flight_;
    while (!missing_.empty() && missing_.front() + 3 <= s.number) {
      if (!recovering_) {
        recovering_ = true;
        recover_ = repaired_ = next_;
        cc_.on_congestion({.now = now_, .flight = flight_});
      }
      if (missing_.front() < recover_) repaired_ = next_;  // its repair goes out now
      missing_.pop_front();
      ack.lost += kMss;
    }
    lost_ += ack.lost;
    delivered_ += kMss;
    delivered_at_ = now_;
    first_sent_ = s.sent;
    ack.rtt = now_ - s.sent;
    min_rtt_ = ack.min_rtt = std::min(min_rtt_, ack.rtt);
    ack.total_delivered = delivered_;
    ack.rate = {.interval = std::max(now_ - s.delivered_at, s.sent - s.first_sent),
                .delivered = delivered_ - s.delivered,
                .prior_delivered = s.delivered,
                .lost = static_cast<std::uint32_t>(lost_ - s.lost),
                .sent_in_flight = s.flight};
    ack.round_start = s.number >= round_end_;
    if (ack.round_start) round_end_ = next_;
    ack.cwnd_limited = !may_send_by_window();
    ack.phase = recovering_ ? cc::Phase::kRecovery : cc::Phase::kOpen;
    if (recovering_ && s.number >= repaired_) {
      recovering_ = false;
      cc_.on_recovery_done({.now = now_, .window = cc_.cwnd()});
    }
    cc_.on_ack(ack);
    flight_ -= ack.delivered + ack.lost;
  }

  void time_out() {
    cc_.on_timeout({.now = now_, .flight = flight_});
    lost_ += flight_;
    flight_ = 0;
    missing_.clear();
    recovering_ = false;
    last_sent_ = now_;
  }

  cc::Controller& cc_;

 public:
  Spec spec;  // may change on the way

 private:
  std::mt19937_64 dice_;
  std::deque<Segment> acks_;
  std::deque<std::uint64_t> missing_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  Instant next_send_ = now_, link_free_ = now_, last_sent_ = now_, first_sent_ = now_, delivered_at_ = now_;
  Duration min_rtt_ = Duration::max();
  std::uint64_t next_ = 0, round_end_ = 0, recover_ = 0, repaired_ = 0, delivered_ = 0, lost_ = 0;
  std::uint32_t flight_ = 0;
  bool recovering_ = false;
};

}  // namespace sluice::test
