// Segments spread over time: when they leave, and how many at once.
#include "stack/tcp/cc/registry.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1460;

// What leaves until `time` is over: how many segments at each instant.
std::vector<std::pair<Instant, int>> bursts(Script& h, Duration time) {
  std::vector<std::pair<Instant, int>> out;
  h.after(time);
  while (const auto s = h.next_tx()) {
    if (s->payload.empty()) continue;
    if (out.empty() || out.back().first != h.sent_at()) out.emplace_back(h.sent_at(), 0);
    ++out.back().second;
  }
  return out;
}

// A limit of 1.46 MB/s is a segment each millisecond, two at once; the first burst may hold what a millisecond more
// gives. Without a limit all of the window goes at once.
TEST(Pacing, Limit) {
  for (const bool limited : {false, true}) {
    Script h;
    h.establish();
    if (limited) h.set(socket::Option::kMaxPacingRate, kMss * 1000);
    h.write(std::string(10 * kMss, 'x'));
    const auto sent = bursts(h, 20_ms);
    if (!limited) {
      ASSERT_EQ(sent.size(), 1u);
      EXPECT_EQ(sent[0].second, 10);
      EXPECT_EQ(h.info().pacing_rate, 0u);
      continue;
    }
    EXPECT_EQ(h.info().pacing_rate, kMss * 1000);
    ASSERT_GE(sent.size(), 4u);
    int all = 0;
    for (const auto& [at, segments] : sent) {
      EXPECT_LE(segments, 3);
      all += segments;
      EXPECT_GE(at - sent.front().first, Duration::millis(all - 4));
    }
    EXPECT_EQ(all, 10);
    EXPECT_LE(sent.back().first - sent.front().first, 9_ms);
  }
}

// The limit may change on the way, and go.
TEST(Pacing, LimitLifted) {
  Script h;
  h.establish();
  h.set(socket::Option::kMaxPacingRate, kMss);  // a segment a second
  h.write(std::string(10 * kMss, 'x'));
  EXPECT_LE(bursts(h, 10_ms).size(), 1u);
  h.set(socket::Option::kMaxPacingRate, -1);
  EXPECT_EQ(h.info().pacing_rate, 0u);
  int all = 0;
  for (const auto& [at, segments] : bursts(h, 5_s)) all += segments;
  EXPECT_GE(all, 7);
}

// With the switch on: twice the window in a round trip, in slow start, and 1.2 times after a loss.
TEST(Pacing, Switch) {
  ScriptOptions o;
  o.tcp.pacing = tcp::Switch::kOn;
  Script h(o);
  h.connect();
  h.expect_tx({.flags = "S"});
  h.after(100_ms);
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss});
  EXPECT_EQ(h.info().pacing_rate, 10 * kMss * 2 * 10);
  h.write(std::string(10 * kMss, 'x'));
  const auto sent = bursts(h, 90_ms);
  EXPECT_GE(sent.size(), 4u);
  EXPECT_GE(sent.back().first - sent.front().first, 30_ms);
  EXPECT_LE(sent.back().first - sent.front().first, 50_ms);
  h.after(500_ms);  // a timeout
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1 + 10 * kMss});
  h.rx({.seq = 1, .ack = 1 + 10 * kMss});
  const tcp::Info info = h.info();
  const double window = info.cwnd * (info.cwnd < info.ssthresh ? 2 : 1.2);
  EXPECT_NEAR(static_cast<double>(info.pacing_rate), window / info.srtt.to_seconds(), window / 1000);
}

// A controller that asks for a rate is paced, whatever the switch says; the user's limit stands above it.
TEST(Pacing, TheControllersRate) {
  ScriptOptions o;
  o.tcp.congestion = tcp::cc::index_of("bbr");
  Script h(o);
  h.establish();
  EXPECT_GT(h.info().pacing_rate, 100'000u);
  h.set(socket::Option::kMaxPacingRate, 50'000);
  EXPECT_EQ(h.info().pacing_rate, 50'000u);
}

// What waits for its time is not taken for a closed window, and not sent by the timer against silly windows.
TEST(Pacing, NoProbe) {
  Script h;
  h.establish();
  h.set(socket::Option::kMaxPacingRate, kMss);
  h.write(std::string(3 * kMss, 'x'));
  std::uint32_t acked = 1;
  for (int i = 0; i < 100; ++i) {
    while (const auto s = h.next_tx()) acked += static_cast<std::uint32_t>(s->payload.size());
    h.rx({.seq = 1, .ack = acked});
    h.after(50_ms);
  }
  EXPECT_EQ(h.counters().get(Counter::kTcpZeroWindowProbes), 0u);
  EXPECT_EQ(h.counters().get(Counter::kTcpRetransmits), 0u);
  EXPECT_EQ(acked, 1 + 3 * kMss);
}

// A round trip of minutes, as an echoed timestamp shows after several timeouts, does not stop the flow.
TEST(Pacing, OverSecondsAtMost) {
  ScriptOptions o;
  o.tcp.pacing = tcp::Switch::kOn;
  o.tcp.initial_rto = o.tcp.max_rto = 300_s;
  Script h(o);
  h.connect();
  h.expect_tx({.flags = "S"});
  h.after(100_s);
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss});
  EXPECT_GE(h.info().srtt, 100_s);
  EXPECT_GE(h.info().pacing_rate, 10 * kMss / 4);
}

}  // namespace
}  // namespace sluice::test
