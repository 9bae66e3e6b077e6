// DCTCP against RFC 8257 §3.3.
#include <gtest/gtest.h>

#include "stack/tcp/cc/dctcp.h"

namespace sluice::test {
namespace {

using tcp::cc::Signal;

constexpr std::uint32_t kMss = 1000;

double share_of(const tcp::cc::Dctcp& cc) {
  return static_cast<double>(cc.alpha()) / tcp::cc::Dctcp::kOne;
}

// A window of observation: ten ACKs of one segment, `marked` of which carry a mark.
void observe(tcp::cc::Dctcp& cc, int marked) {
  for (int i = 0; i < 10; ++i) {
    cc.on_ack({.acked = kMss, .delivered = kMss, .marked = i < marked ? kMss : 0, .round_start = i == 9});
  }
}

// alpha = alpha * (1 - g) + g * M with g = 1/16, from 1 on.
TEST(Dctcp, Alpha) {
  tcp::cc::Dctcp cc;
  cc.start({.mss = kMss, .initial_window = 100'000});
  double alpha = 1;
  for (const int marked : {0, 0, 0, 5, 10, 10, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}) {
    EXPECT_NEAR(share_of(cc), alpha, 1e-4);
    observe(cc, marked);
    alpha = alpha * (1 - 1.0 / 16) + marked / 10.0 / 16;
  }
  EXPECT_NEAR(share_of(cc), alpha, 1e-4);
}

// cwnd = cwnd * (1 - alpha / 2) for a mark; half of the flight for a loss.
TEST(Dctcp, Reductions) {
  struct Row {
    int quiet_rounds;
    Signal signal;
  };
  for (const Row& row : {Row{0, Signal::kEcn}, Row{10, Signal::kEcn}, Row{60, Signal::kEcn}, Row{60, Signal::kLoss}}) {
    tcp::cc::Dctcp cc;
    cc.start({.mss = kMss, .initial_window = 100'000});
    double alpha = 1;
    for (int i = 0; i < row.quiet_rounds; ++i) {
      observe(cc, 0);
      alpha *= 1 - 1.0 / 16;
    }
    const double window = cc.cwnd();
    cc.on_congestion({.now = {}, .signal = row.signal, .flight = cc.cwnd()});
    EXPECT_NEAR(cc.cwnd(), row.signal == Signal::kEcn ? window * (1 - alpha / 2) : window / 2, window * 1e-4);
    EXPECT_EQ(cc.ssthresh(), cc.cwnd());
  }
  tcp::cc::Dctcp small;
  small.start({.mss = kMss, .initial_window = 2000});
  small.on_congestion({.now = {}, .signal = Signal::kEcn, .flight = 2000});
  EXPECT_EQ(small.cwnd(), 2000u);
}

// In all else it is Reno.
TEST(Dctcp, GrowsAsReno) {
  tcp::cc::Dctcp cc;
  cc.start({.mss = kMss, .initial_window = 10'000});
  for (int i = 0; i < 10; ++i) cc.on_ack({.acked = kMss, .delivered = kMss});
  EXPECT_EQ(cc.cwnd(), 20'000u);
  cc.on_timeout({.now = {}, .flight = 20'000, .first = true});
  EXPECT_EQ(cc.cwnd(), kMss);
  EXPECT_EQ(cc.ssthresh(), 10'000u);
}

}  // namespace
}  // namespace sluice::test
