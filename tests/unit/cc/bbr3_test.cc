// BBR version 3 on a modelled path.
#include <gtest/gtest.h>

#include <map>

#include "stack/tcp/cc/bbr.h"
#include "stack/tcp/cc/bbr3.h"
#include "tests/unit/cc/path.h"

namespace sluice::test {
namespace {

using tcp::cc::Bbr3;
using State = Bbr3::State;

const Path::Spec kSpecs[] = {
    {.rate = 1.25e6, .rtt = 40_ms, .buffer = 200'000}, {.rate = 12.5e6, .rtt = 40_ms, .buffer = 2'000'000},
    {.rate = 12.5e6, .rtt = 5_ms, .buffer = 400'000},  {.rate = 125e6, .rtt = 20_ms, .buffer = 10'000'000},
    {.rate = 125e3, .rtt = 200_ms, .buffer = 100'000},
};

TEST(Bbr3, FindsThePath) {
  for (const Path::Spec& spec : kSpecs) {
    SCOPED_TRACE(testing::Message() << spec.rate << " " << spec.rtt.to_millis());
    Bbr3 cc;
    Path path(cc, spec);
    EXPECT_EQ(cc.state(), State::kStartup);
    path.run(spec.rtt * 60);
    EXPECT_GE(cc.state(), State::kDown);
    EXPECT_NEAR(static_cast<double>(cc.bandwidth()), spec.rate, 0.05 * spec.rate);
    EXPECT_GE(cc.min_rtt(), spec.rtt);
    EXPECT_LE(cc.min_rtt().to_seconds(), spec.rtt.to_seconds() + 2e3 / spec.rate + 0.001);
    EXPECT_GT(path.goodput(spec.rtt * 150), 0.93 * spec.rate);
    EXPECT_EQ(path.lost(), 0u);
  }
}

// §5.6.1: the pacing gain of each state, less one percent, and what is in flight.
TEST(Bbr3, Gains) {
  Bbr3 cc;
  Path path(cc, kSpecs[1]);
  std::map<State, double> gains;
  for (int i = 0; i < 9000; ++i) {
    path.run(1_ms);
    const double gain = static_cast<double>(cc.pacing_rate()) / static_cast<double>(cc.bandwidth());
    if (cc.state() != State::kStartup) gains[cc.state()] = gain;
  }
  const std::map<State, double> want = {{State::kDrain, 0.5}, {State::kDown, 0.9}, {State::kCruise, 1},
                                        {State::kRefill, 1},  {State::kUp, 1.25},  {State::kProbeRtt, 1}};
  ASSERT_EQ(gains.size(), want.size());
  for (const auto& [state, gain] : want) EXPECT_NEAR(gains[state], gain * 0.99, 0.002) << static_cast<int>(state);
}

// §5.3.3.5: a probe each two to three seconds on a path as long as this.
TEST(Bbr3, ProbesEveryTwoToThreeSeconds) {
  Bbr3 cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 100_ms, .buffer = 5'000'000});
  path.run(4_s);
  int probes = 0;
  State last = cc.state();
  for (int i = 0; i < 30'000; ++i) {
    path.run(1_ms);
    if (cc.state() == State::kUp && last != State::kUp) ++probes;
    last = cc.state();
  }
  EXPECT_GE(probes, 6);
  EXPECT_LE(probes, 15);
}

// §5.3.4: each 5 s half the bandwidth-delay product for 200 ms.
TEST(Bbr3, ProbesTheRoundTrip) {
  Bbr3 cc;
  Path path(cc, kSpecs[1]);
  path.run(4_s);
  path.spec.rtt = 60_ms;
  int low = 0;
  for (int i = 0; i < 16'000; ++i) {
    path.run(1_ms);
    if (cc.state() == State::kProbeRtt && path.in_flight() <= 0.55 * path.bdp()) ++low;
  }
  EXPECT_GE(low, 200);
  EXPECT_LE(low, 1500);
  EXPECT_NEAR(cc.min_rtt().to_seconds(), 0.060, 0.002);
  EXPECT_GT(path.goodput(5_s), 0.9 * path.spec.rate);
}

// §5.5.10: a shallow queue. Too much lost while probing limits what is in flight; the limit leaves few losses, fewer
// than those of version 1.
TEST(Bbr3, LearnsWhatIsTooMuch) {
  const Path::Spec shallow{.rate = 12.5e6, .rtt = 40_ms, .buffer = 50'000};
  Bbr3 cc;
  Path path(cc, shallow);
  path.run(10_s);
  EXPECT_NE(cc.longterm_limit(), UINT32_MAX);
  EXPECT_LT(cc.longterm_limit(), 1.3 * path.bdp());
  EXPECT_GT(path.goodput(20_s), 0.85 * shallow.rate);
  for (int i = 0; i < 5000; ++i) {
    path.run(1_ms);
    ASSERT_LE(cc.cwnd(), cc.longterm_limit());
  }
  tcp::cc::Bbr first;
  Path other(first, shallow);
  other.run(30_s);
  EXPECT_LT(2 * path.lost(), other.lost());
}

// §5.3.1.3: losses end Startup before the rate has stood still for three round trips.
TEST(Bbr3, LossesEndStartup) {
  Bbr3 cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 100_ms, .buffer = 20'000});
  while (cc.state() == State::kStartup) path.run(1_ms);
  EXPECT_NE(cc.longterm_limit(), UINT32_MAX);
  EXPECT_GT(cc.longterm_limit(), 0.5 * path.bdp());
}

// §5.5.9: ACKs that come together at longer intervals than a round trip do not stop the sender.
TEST(Bbr3, AggregatedAcks) {
  Bbr3 cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 5_ms, .buffer = 5'000'000, .bursts = 20_ms});
  path.run(3_s);
  EXPECT_GT(path.goodput(8_s), 0.9 * path.spec.rate);
}

// §5.5.11.2: a loss that was none takes nothing away.
TEST(Bbr3, Undo) {
  for (const State when : {State::kUp, State::kCruise}) {
    Bbr3 cc;
    Path path(cc, {.rate = 12.5e6, .rtt = 100_ms, .buffer = 5'000'000});
    path.run(3_s);
    while (cc.state() != when) path.run(1_ms);
    path.spec.loss = 0.3;
    for (int i = 0; i < 600 && cc.longterm_limit() == UINT32_MAX && cc.shortterm_limit() == UINT32_MAX; ++i)
      path.run(1_ms);
    EXPECT_NE(std::min(cc.longterm_limit(), cc.shortterm_limit()), UINT32_MAX);
    cc.on_undo({});
    EXPECT_EQ(cc.longterm_limit(), UINT32_MAX);
    EXPECT_EQ(cc.shortterm_limit(), UINT32_MAX);
  }
}

// §5.5.10.3: losses outside of probing bound the rate for a while; the next probe forgets that.
TEST(Bbr3, YieldsToLosses) {
  Bbr3 cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 100_ms, .buffer = 5'000'000});
  path.run(3_s);
  while (cc.state() != State::kCruise) path.run(1_ms);
  EXPECT_EQ(cc.shortterm_limit(), UINT32_MAX);
  path.spec.loss = 0.5;
  path.run(600_ms);
  path.spec.loss = 0;
  EXPECT_LT(cc.shortterm_limit(), 0.9 * 2 * path.bdp());
  EXPECT_LT(static_cast<double>(cc.bandwidth()), 0.9 * path.spec.rate);
  while (cc.state() != State::kRefill) path.run(1_ms);
  EXPECT_EQ(cc.shortterm_limit(), UINT32_MAX);
  EXPECT_GT(path.goodput(10_s), 0.9 * path.spec.rate);
}

// §5.3.3.5.3: between two probes the rate yields by the share that is lost, each round trip.
TEST(Bbr3, KeepsItsRateUnderLittleLoss) {
  Bbr3 cc;
  Path path(cc, {.rate = 12.5e6, .rtt = 40_ms, .buffer = 1'000'000, .loss = 0.01});
  path.run(3_s);
  EXPECT_GT(path.goodput(30_s), 0.7 * 12.5e6);
}

TEST(Bbr3, RecoveryAndTimeout) {
  Bbr3 cc;
  Path path(cc, kSpecs[1]);
  path.run(2_s);
  const std::uint32_t before = cc.cwnd();
  EXPECT_TRUE(cc.rules_recovery());
  cc.on_congestion({.now = path.now(), .flight = 300'000});
  EXPECT_EQ(cc.cwnd(), before);
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
}

}  // namespace
}  // namespace sluice::test
