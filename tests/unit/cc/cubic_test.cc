// CUBIC against the formulas of RFC 9438, computed here in floating point and segments.
#include <gtest/gtest.h>

#include <cmath>

#include "stack/tcp/cc/cubic.h"
#include "stack/tcp/cc/registry.h"
#include "tests/unit/cc/path.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr double kC = 0.4;
constexpr double kBeta = 0.7;

// (RFC9438-01, -02, -24): C * t^3 and its inverse, to a millisecond.
TEST(Cubic, Curve) {
  for (const std::uint32_t mss : {88u, 536u, 1448u, 9000u, 65483u}) {
    for (const double t : {0.0, 0.001, 0.05, 0.7, 1.0, 4.25, 13.7, 60.0, 100.0, 4000.0}) {
      const double want = std::min(kC * t * t * t * mss, 1073741824.0);
      EXPECT_NEAR(tcp::cc::cubic_rise(Duration::millis(std::llround(t * 1000)), mss), want, 1) << mss << " " << t;
    }
    for (const std::uint32_t bytes : {0u, 1u, 1000u, 123'456u, 30'000'000u, 1u << 30}) {
      const double want = std::cbrt(bytes / (kC * mss));
      EXPECT_NEAR(tcp::cc::cubic_time(bytes, mss).to_seconds(), want, 0.0011) << mss << " " << bytes;
    }
  }
  EXPECT_EQ(tcp::cc::cubic_rise(Duration::max(), 1448), 1u << 30);
}

// The text of RFC 9438 §4.2 to §4.5 in segments and seconds.
struct Reference {
  double cwnd, w_max, prior, w_est, t = 0;
  Reference(double at, double plateau, double before) : cwnd(at), w_max(plateau), prior(before), w_est(at) {
    k = std::cbrt((w_max - cwnd) / kC);
  }
  double k;
  [[nodiscard]] double curve(double at) const { return kC * std::pow(at - k, 3) + w_max; }
  void ack(double rtt) {  // of one segment
    const double alpha = w_est >= prior ? 1 : 3 * (1 - kBeta) / (1 + kBeta);
    w_est += alpha / cwnd;
    if (curve(t) < w_est) {
      cwnd = std::max(cwnd, w_est);
      return;
    }
    const double target = std::min(std::max(curve(t + rtt), cwnd), 1.5 * cwnd);
    cwnd += (target - cwnd) / cwnd;
  }
};

struct Regions {
  double window;  // segments, at the loss
  double rtt;     // seconds
  int rounds;
};

// (RFC9438-01, -02, -03, -05, -06, -07, -08, -09, -25): the window after a loss, round trip by round trip, through the
// concave and the convex part and, with short round trips, in Reno's region.
TEST(Cubic, FollowsTheFormulas) {
  for (const Regions& row : {Regions{1000, 0.1, 200}, Regions{100, 0.1, 150}, Regions{40, 0.01, 400},
                             Regions{5000, 0.2, 100}, Regions{12, 0.04, 200}}) {
    SCOPED_TRACE(row.window);
    tcp::cc::Cubic cc;
    const auto window = static_cast<std::uint32_t>(row.window) * kMss;
    cc.start({.mss = kMss, .initial_window = window});
    cc.on_congestion({.now = {}, .flight = window});
    cc.on_recovery_done({.now = {}, .window = cc.ssthresh()});
    EXPECT_EQ(cc.cwnd(), window * 7 / 10);  // (RFC9438-10, -11, -12)
    Reference want(row.window * kBeta, row.window, row.window);
    double now = 0;
    for (int round = 0; round < row.rounds; ++round) {
      const int acks = static_cast<int>(want.cwnd);
      for (int i = 0; i < acks; ++i) {
        const auto at = Instant::from_nanos(std::llround(now * 1e9));
        cc.on_ack({.now = at, .acked = kMss, .delivered = kMss, .rtt = Duration::nanos(std::llround(row.rtt * 1e9))});
        want.t = now;
        want.ack(row.rtt);
        now += row.rtt / acks;
      }
      ASSERT_NEAR(cc.cwnd() / 1000.0, want.cwnd, 1 + want.cwnd / 200) << "round " << round;
    }
  }
}

// RFC 9438 §5.1, the table for RTT 0.1 s and C = 0.4: average window in segments at a loss each 1/p segments.
TEST(Cubic, ResponseFunction) {
  struct Row {
    int every;
    double window;
  };
  for (const Row& row : {Row{100, 12}, Row{1000, 38}, Row{10'000, 187}, Row{100'000, 1054}}) {
    tcp::cc::Cubic cc;
    cc.start({.mss = kMss, .initial_window = static_cast<std::uint32_t>(row.window) * kMss});
    double now = 0, sum = 0;
    const int all = row.every * 40;
    for (int i = 1; i <= all; ++i) {
      cc.on_ack({.now = Instant::from_nanos(std::llround(now * 1e9)), .acked = kMss, .delivered = kMss, .rtt = 100_ms});
      const double step = 0.1 * kMss / cc.cwnd();
      now += step;
      if (2 * i > all) sum += step * cc.cwnd() / kMss;
      if (i == all / 2) now = 0;
      if (i % row.every == 0) {
        cc.on_congestion({.now = {}, .flight = cc.cwnd()});
        cc.on_recovery_done({.now = {}, .window = cc.ssthresh()});
      }
    }
    EXPECT_NEAR(sum / now, row.window, row.window * 0.1) << row.every;
  }
}

// (RFC9438-12, -15), (RFC9438-14): thresholds and floors; who loses below its plateau lowers that further.
TEST(Cubic, Reductions) {
  struct Row {
    tcp::cc::Signal signal;
    std::uint32_t flight, cwnd, ssthresh;
  };
  using tcp::cc::Signal;
  for (const Row& row : {Row{Signal::kLoss, 100'000, 70'000, 70'000}, Row{Signal::kLoss, 60'000, 42'000, 42'000},
                         Row{Signal::kLoss, 2000, 2000, 2000}, Row{Signal::kEcn, 100'000, 70'000, 70'000},
                         Row{Signal::kEcn, 2000, 1400, 2000}, Row{Signal::kEcn, 1000, 1000, 2000}}) {
    tcp::cc::Cubic cc;
    cc.start({.mss = kMss, .initial_window = 100'000});
    cc.on_congestion({.now = {}, .signal = row.signal, .flight = row.flight});
    EXPECT_EQ(cc.cwnd(), row.cwnd);
    EXPECT_EQ(cc.ssthresh(), row.ssthresh);
  }
}

// How long a window takes from a reduction back to `wanted` bytes, RTT 200 ms.
double seconds_to(tcp::cc::Cubic& cc, std::uint32_t wanted, Instant now) {
  const Instant began = now;
  while (cc.cwnd() < wanted) {
    cc.on_ack({.now = now, .acked = cc.cwnd() / 10, .delivered = 1, .rtt = 200_ms});
    now = now + 20_ms;
  }
  return (now - began).to_seconds();
}

void lose(tcp::cc::Cubic& cc) {
  cc.on_congestion({.now = {}, .flight = cc.cwnd()});
  cc.on_recovery_done({.now = {}, .window = cc.ssthresh()});
}

// (RFC9438-15): the second loss in a row leaves the plateau at (1 + beta) / 2 of the window, so 0.85 of it is where
// the curve is flat, K seconds on.
TEST(Cubic, FastConvergence) {
  tcp::cc::Cubic cc;
  cc.start({.mss = kMss, .initial_window = 2'000'000});
  lose(cc);
  lose(cc);  // at 1400 segments, below 2000
  const double plateau = 1400 * 0.85;
  const double k = std::cbrt((plateau - 980) / kC);
  const double before = seconds_to(cc, 1'180'000, Instant::from_nanos(0));
  EXPECT_LT(before, k);
  EXPECT_NEAR(before, k - std::cbrt((plateau - 1180) / kC), 0.4);
}

// (RFC9438-16, -17): after a timeout one segment; slow start to 0.7; then the curve begins at its flat point.
TEST(Cubic, Timeout) {
  tcp::cc::Cubic cc;
  cc.start({.mss = kMss, .initial_window = 2'000'000});
  lose(cc);
  cc.on_timeout({.now = {}, .flight = 1'000'000, .first = true});
  EXPECT_EQ(cc.cwnd(), kMss);
  EXPECT_EQ(cc.ssthresh(), 700'000u);
  cc.on_timeout({.now = {}, .flight = 1000, .first = false});
  EXPECT_EQ(cc.ssthresh(), 700'000u);
  for (int i = 0; i < 699; ++i) cc.on_ack({.now = {}, .acked = 44 * kMss, .delivered = kMss, .rtt = 200_ms});
  EXPECT_EQ(cc.cwnd(), 700'000u);  // (RFC9438-21): one segment an ACK
  const double t = seconds_to(cc, 750'000, {});
  EXPECT_NEAR(t, std::cbrt(50 / kC), 0.4);
  // In recovery: a second congestion, of what the first had left (RFC5681-38).
  cc.on_congestion({.now = {}, .flight = 100'000});
  cc.on_timeout({.now = {}, .flight = 120'000, .first = true});
  EXPECT_EQ(cc.ssthresh(), 49'000u);
}

// (RFC9438-18, -19, -20)
TEST(Cubic, Undo) {
  tcp::cc::Cubic cc, other;
  for (auto* c : {&cc, &other}) {
    c->start({.mss = kMss, .initial_window = 1'000'000});
    lose(*c);
    (void)seconds_to(*c, 900'000, Instant::from_nanos(0));
  }
  const std::uint32_t before = cc.cwnd();
  for (const bool timeout : {false, true}) {
    if (timeout) {
      cc.on_timeout({.now = {}, .flight = before, .first = true});
    } else {
      cc.on_congestion({.now = {}, .flight = before});
    }
    EXPECT_LT(cc.cwnd(), before);
    cc.on_undo({});
    EXPECT_EQ(cc.cwnd(), before);
    EXPECT_EQ(cc.ssthresh(), 700'000u);
  }
  const Instant on = Instant::from_nanos(10'000'000'000);
  EXPECT_NEAR(seconds_to(cc, 1'100'000, on), seconds_to(other, 1'100'000, on), 0.2);  // the curve goes on
  cc.on_congestion({.now = {}, .flight = 500'000});
  cc.on_recovery_done({.now = {}, .window = 2'000'000});
  cc.on_undo({});
  EXPECT_EQ(cc.cwnd(), 2'000'000u);
}

// (RFC9438-04, -13): time in which the window was not used is no time.
TEST(Cubic, TimeStandsWhileTheWindowIsNotUsed) {
  tcp::cc::Cubic busy, paused;
  for (auto* c : {&busy, &paused}) {
    c->start({.mss = kMss, .initial_window = 1'000'000});
    lose(*c);
  }
  Instant now = Instant::from_nanos(0);
  paused.on_ack({.now = now, .acked = kMss, .delivered = kMss, .rtt = 200_ms});
  const std::uint32_t before = paused.cwnd();
  for (int i = 0; i < 1000; ++i) {
    now = now + 20_ms;
    paused.on_ack({.now = now, .acked = kMss, .delivered = kMss, .rtt = 200_ms, .cwnd_limited = false});
  }
  EXPECT_EQ(paused.cwnd(), before);
  EXPECT_NEAR(seconds_to(paused, 1'000'000, now), seconds_to(busy, 1'000'000, Instant::from_nanos(0)), 0.1);
}

// (RFC5681-32), RFC 2861: after silence the restart window, and three quarters of what was.
TEST(Cubic, Idle) {
  tcp::cc::Cubic cc;
  cc.start({.mss = kMss, .initial_window = 10'000});
  for (int i = 0; i < 30; ++i) cc.on_ack({.now = {}, .acked = 3000, .delivered = 3000});
  EXPECT_EQ(cc.cwnd(), 100'000u);
  lose(cc);
  (void)seconds_to(cc, 100'000, Instant::from_nanos(0));
  const std::uint32_t before = cc.cwnd();
  cc.on_idle({});
  EXPECT_EQ(cc.cwnd(), 10'000u);
  EXPECT_EQ(cc.ssthresh(), before - before / 4);
}

// (RFC9438-22, -23), (RFC9406-07): HyStart++ ends slow start without a loss, the plain one does not; and the rate
// stays.
TEST(Cubic, SlowStartEndsBeforeTheQueueOverflows) {
  const Path::Spec spec{.rate = 12.5e6, .rtt = 40_ms, .buffer = 3'500'000};
  tcp::cc::Cubic cc;
  Path path(cc, spec);
  path.run(3_s);
  EXPECT_EQ(path.lost(), 0u);
  EXPECT_NE(cc.ssthresh(), UINT32_MAX);
  EXPECT_GT(path.goodput(5_s), 0.97 * spec.rate);

  tcp::cc::Cubic plain;
  Path other(plain, spec);
  plain.start({.mss = Path::kMss, .initial_window = 10'000, .slow_start = tcp::cc::SlowStart::kStandard});
  other.run(3_s);
  EXPECT_GT(other.lost(), 0u);
}

// Losses of 1 %: at least what RFC 9438 §5.1 says, which is Reno's 12 segments a round trip.
TEST(Cubic, RandomLoss) {
  tcp::cc::Cubic cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 100_ms, .buffer = 1'000'000, .loss = 0.01});
  path.run(10_s);
  EXPECT_GT(path.goodput(300_s), 0.9 * 12 * Path::kMss / 0.1);
}

// Smaller segments: as many of them (RFC5681-07). Larger ones: as many bytes (RFC4821-04), and one at least, also after
// an idle time and at the end of a recovery.
TEST(Cubic, SegmentSize) {
  for (std::uint8_t index = 1; index <= tcp::cc::count(); ++index) {
    const auto cc = tcp::cc::make(index);
    SCOPED_TRACE(cc->name());
    cc->start({.mss = 1000, .initial_window = 10'000});
    const bool in_segments = cc->ssthresh() == UINT32_MAX && !cc->rules_recovery();
    cc->on_mss_change(500);
    if (in_segments) {
      EXPECT_EQ(cc->cwnd(), 5000u);
    }
    cc->on_timeout({.flight = 500});
    cc->on_mss_change(8000);
    EXPECT_GE(cc->cwnd(), 8000u);
    if (in_segments) {
      EXPECT_EQ(cc->cwnd(), 8000u);
    }
    cc->on_idle({});
    EXPECT_GE(cc->cwnd(), 8000u);
    cc->on_recovery_done({.window = std::min(cc->cwnd(), cc->ssthresh())});
    EXPECT_GE(cc->cwnd(), 8000u);
  }
}

}  // namespace
}  // namespace sluice::test
