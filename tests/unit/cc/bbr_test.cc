// BBR version 1 on a modelled path.
#include <gtest/gtest.h>

#include <set>

#include "stack/tcp/cc/bbr.h"
#include "tests/unit/cc/path.h"

namespace sluice::test {
namespace {

using tcp::cc::Bbr;
using State = Bbr::State;

const Path::Spec kSpecs[] = {
    {.rate = 1.25e6, .rtt = 40_ms, .buffer = 200'000}, {.rate = 12.5e6, .rtt = 40_ms, .buffer = 2'000'000},
    {.rate = 12.5e6, .rtt = 5_ms, .buffer = 400'000},  {.rate = 125e6, .rtt = 20_ms, .buffer = 10'000'000},
    {.rate = 125e3, .rtt = 200_ms, .buffer = 100'000},
};

// Rate and round trip are found, Startup and Drain are left, the queue stays small.
TEST(Bbr, FindsThePath) {
  for (const Path::Spec& spec : kSpecs) {
    SCOPED_TRACE(testing::Message() << spec.rate << " " << spec.rtt.to_millis());
    Bbr cc;
    Path path(cc, spec);
    EXPECT_EQ(cc.state(), State::kStartup);
    path.run(spec.rtt * 60);
    EXPECT_EQ(cc.state(), State::kProbeBw);
    EXPECT_NEAR(static_cast<double>(cc.bandwidth()), spec.rate, 0.05 * spec.rate);
    EXPECT_GE(cc.min_rtt(), spec.rtt);
    EXPECT_LE(cc.min_rtt().to_seconds(), spec.rtt.to_seconds() + 2e3 / spec.rate + 0.001);
    EXPECT_GT(path.goodput(spec.rtt * 150), 0.95 * spec.rate);
    EXPECT_EQ(path.lost(), 0u);
  }
}

// The first rate is that of the initial window in a round trip, times 2 / ln 2.
TEST(Bbr, FirstRate) {
  for (const int ms : {0, 1, 40}) {
    Bbr cc;
    cc.start({.mss = 1000, .initial_window = 10'000, .srtt = Duration::millis(ms)});
    EXPECT_NEAR(static_cast<double>(cc.pacing_rate()), 2 / std::log(2) * 10'000 / (std::max(ms, 1) * 1e-3), 2e4);
  }
}

// In ProbeBW the gains are 5/4, 3/4 and six times 1, a round trip each; in-flight data is two BDP at most.
TEST(Bbr, Cycle) {
  Bbr cc;
  const Path::Spec spec = kSpecs[1];
  Path path(cc, spec);
  path.run(2_s);
  std::set<int> gains;
  double most = 0;
  for (int i = 0; i < 2000; ++i) {
    path.run(1_ms);
    gains.insert(static_cast<int>(
        std::lround(100.0 * static_cast<double>(cc.pacing_rate()) / static_cast<double>(cc.bandwidth()))));
    most = std::max(most, path.queue());
  }
  EXPECT_EQ(gains, (std::set<int>{75, 100, 125}));
  EXPECT_LT(most, 0.5 * path.bdp());
}

// Every 10 s without a lower sample: four segments in flight for 200 ms, in which the queue runs empty; then on as
// before.
TEST(Bbr, ProbesTheRoundTrip) {
  Bbr cc;
  Path path(cc, kSpecs[1]);
  path.run(5_s);
  path.spec.rtt = 60_ms;  // a new way: no sample is as low as before
  int low = 0;
  std::uint32_t before = 0, saved = 0, behind = 0;  // the window on either side of ProbeRTT
  State last = cc.state();
  for (int i = 0; i < 12'000; ++i) {
    if (cc.state() != State::kProbeRtt) before = cc.cwnd();
    path.run(1_ms);
    if (last == State::kProbeRtt && cc.state() != last) behind = cc.cwnd();
    if (cc.state() == State::kProbeRtt && last != State::kProbeRtt) saved = before;
    last = cc.state();
    if (cc.state() == State::kProbeRtt && path.in_flight() <= 4 * Path::kMss) ++low;
  }
  EXPECT_GT(behind, saved * 9 / 10);
  EXPECT_GE(low, 150);
  EXPECT_LE(low, 400);
  EXPECT_EQ(cc.state(), State::kProbeBw);
  EXPECT_NEAR(cc.min_rtt().to_seconds(), 0.060, 0.001);
  EXPECT_GT(path.goodput(5_s), 0.93 * path.spec.rate);
}

// The rate follows the path: down within ten round trips, up by a quarter each cycle of eight.
TEST(Bbr, FollowsTheRate) {
  Bbr cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 40_ms, .buffer = 5'000'000});
  path.run(3_s);
  path.spec.rate = 6.25e6;
  path.run(3_s);
  EXPECT_NEAR(static_cast<double>(cc.bandwidth()), 6.25e6, 0.4e6);
  path.spec.rate = 12.5e6;
  path.run(4_s);
  EXPECT_NEAR(static_cast<double>(cc.bandwidth()), 12.5e6, 0.8e6);
}

// Losses do not lower the rate: 1 % and 5 %.
TEST(Bbr, KeepsItsRateUnderLoss) {
  for (const double loss : {0.01, 0.05}) {
    Bbr cc;
    Path path(cc, {.rate = 12.5e6, .rtt = 40_ms, .buffer = 1'000'000, .loss = loss});
    path.run(3_s);
    EXPECT_GT(path.goodput(20_s), (0.95 - loss) * 12.5e6) << loss;
  }
}

// The window in recovery: what is in flight, no more than is delivered for a round trip; afterwards what was before.
TEST(Bbr, RecoveryAndTimeout) {
  Bbr cc;
  Path path(cc, kSpecs[1]);
  path.run(2_s);
  const std::uint32_t before = cc.cwnd();
  EXPECT_TRUE(cc.rules_recovery());
  cc.on_congestion({.now = path.now(), .flight = 300'000});
  EXPECT_EQ(cc.cwnd(), 300'000u);
  cc.on_recovery_done({.now = path.now(), .window = 1000});
  EXPECT_EQ(cc.cwnd(), before);
  cc.on_timeout({.now = path.now(), .flight = 300'000});
  EXPECT_EQ(cc.cwnd(), Path::kMss);
  cc.on_ack({.now = path.now(), .acked = 1000, .delivered = 1000, .phase = tcp::cc::Phase::kLoss});
  EXPECT_LE(cc.cwnd(), 4 * Path::kMss);
  cc.on_ack({.now = path.now(), .acked = 1000, .delivered = 1000});
  EXPECT_GE(cc.cwnd(), before);
  cc.on_timeout({.now = path.now(), .flight = 300'000});
  EXPECT_EQ(cc.cwnd(), Path::kMss);
  cc.on_undo({});
  EXPECT_GE(cc.cwnd(), before);
  cc.on_congestion({.now = path.now(), .signal = tcp::cc::Signal::kEcn, .flight = 300'000});
  EXPECT_GE(cc.cwnd(), before);
}

}  // namespace
}  // namespace sluice::test
