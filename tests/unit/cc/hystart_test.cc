// HyStart++ by itself (RFC 9406).
#include <gtest/gtest.h>

#include <vector>

#include "stack/tcp/cc/hystart.h"

namespace sluice::test {
namespace {

using tcp::cc::HyStart;
using State = HyStart::State;

constexpr std::uint32_t kMss = 1000;

// A round trip of `acks` ACKs, all with this RTT in milliseconds; the growth.
std::uint32_t round_trip(HyStart& h, double ms, int acks = 8, std::uint32_t acked = kMss) {
  std::uint32_t growth = 0;
  for (int i = 0; i < acks; ++i) {
    growth += h.on_ack({.acked = acked,
                        .delivered = acked,
                        .rtt = Duration::micros(static_cast<std::int64_t>(ms * 1000)),
                        .round_start = i == 0},
                       kMss);
  }
  return growth;
}

struct Row {
  const char* what;
  std::vector<double> rounds;  // RTT of each, ms
  int acks;
  State state;
};

// (RFC9406-02, -04, -06, -09): the threshold is an eighth of the last round's minimum, between 4 and 16 ms; eight
// samples are needed; a smaller RTT takes it back.
TEST(HyStart, Thresholds) {
  const Row rows[] = {
      {"nothing to compare with", {100}, 8, State::kSlowStart},
      {"steady", {100, 100, 100}, 8, State::kSlowStart},
      {"an eighth less a little", {100, 112.4}, 8, State::kSlowStart},
      {"an eighth", {100, 112.5}, 8, State::kConservative},
      {"too few samples", {100, 150}, 7, State::kSlowStart},
      {"short: below 4 ms", {10, 13.9}, 8, State::kSlowStart},
      {"short: 4 ms", {10, 14}, 8, State::kConservative},
      {"long: below 16 ms", {400, 415.9}, 8, State::kSlowStart},
      {"long: 16 ms", {400, 416}, 8, State::kConservative},
      {"creeping", {100, 105, 110, 115, 120}, 8, State::kSlowStart},
      {"spurious", {100, 120, 119.9}, 8, State::kSlowStart},
      {"the baseline itself is not below it", {100, 120, 120}, 8, State::kConservative},
      {"four rounds more", {100, 120, 120, 121, 122, 123}, 8, State::kConservative},
      {"five", {100, 120, 120, 121, 122, 123, 124}, 8, State::kDone},
  };
  for (const Row& row : rows) {
    HyStart h;
    h.start({.slow_start = tcp::cc::SlowStart::kHyStart});
    for (const double ms : row.rounds) (void)round_trip(h, ms, row.acks);
    EXPECT_EQ(h.state(), row.state) << row.what;
  }
}

// (RFC9406-01, -03, -05, -10): eight segments an ACK at most, a quarter of that in CSS, nothing afterwards.
TEST(HyStart, Growth) {
  HyStart h;
  h.start({.slow_start = tcp::cc::SlowStart::kHyStart});
  EXPECT_EQ(round_trip(h, 100, 8, kMss), 8 * kMss);
  EXPECT_EQ(round_trip(h, 100, 8, 20 * kMss), 64 * kMss);
  EXPECT_EQ(round_trip(h, 120, 8, kMss), 8 * kMss);  // at its last ACK CSS begins
  EXPECT_EQ(h.state(), State::kConservative);
  EXPECT_EQ(round_trip(h, 120, 8, kMss), 2 * kMss);
  EXPECT_EQ(round_trip(h, 120, 8, 20 * kMss), 16 * kMss);
  for (int i = 0; i < 3; ++i) (void)round_trip(h, 120);
  EXPECT_EQ(round_trip(h, 120), 0u);
  EXPECT_EQ(h.state(), State::kDone);
}

// (RFC9406-08, -11): over with the first loss, mark or timeout; and it can be off.
TEST(HyStart, Ends) {
  for (const double second : {100.0, 120.0}) {
    HyStart h;
    h.start({.slow_start = tcp::cc::SlowStart::kHyStart});
    (void)round_trip(h, 100);
    (void)round_trip(h, second);
    h.stop();
    EXPECT_EQ(h.state(), State::kDone);
    EXPECT_EQ(round_trip(h, 10), 0u);
    EXPECT_EQ(h.state(), State::kDone);
  }
  HyStart off;
  off.start({.slow_start = tcp::cc::SlowStart::kStandard});
  for (const double ms : {100, 200, 300}) (void)round_trip(off, ms);
  off.stop();
  EXPECT_EQ(off.state(), State::kOff);
}

}  // namespace
}  // namespace sluice::test
