// In what pieces the stream goes out: the size of bursts, blocks of the send queue, records; and the switches that make
// timers, probes and windows behave as other hosts' do.
#include <gtest/gtest.h>

#include "stack/tcp/cc/registry.h"

#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using tcp::Switch;

constexpr std::uint32_t kMss = 1000;

Segment peer_syn(std::uint16_t window = 65535) {
  return {.flags = "S", .seq = 0, .ack = 0, .win = window, .mss = kMss, .sack_ok = true};
}

// Established after a handshake that took so long.
void establish(Script& h, Duration rtt, std::uint16_t window = 65535) {
  h.listen();
  h.rx(peer_syn(window));
  h.expect_tx({.flags = "SA"});
  h.after(rtt);
  h.rx({.seq = 1, .ack = 1, .win = window});
  h.accept();
}

std::size_t write_record(Script& h, std::size_t size) {
  const std::string data(size, 'r');
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  const auto sent = h.stack().sockets().send(h.handle(), std::span(&bytes, 1), nullptr, {.end_of_record = true});
  h.after(Duration());
  return sent ? *sent : 0;
}

// What a write takes.
std::size_t write_some(Script& h, std::size_t size) {
  const std::string data(size, 'b');
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  const auto sent = h.stack().sockets().send(h.handle(), std::span(&bytes, 1), nullptr, {});
  h.after(Duration());
  return sent ? *sent : 0;
}

// P or . for each segment that has left.
std::string pushes(Script& h) {
  std::string text;
  while (const auto s = h.next_tx()) text += s->flags.find('P') != std::string::npos ? 'P' : '.';
  return text;
}

// A burst is two segments on a slow path, the window's half on a short one; its end is pushed.
TEST(Burst, IsAMillisecondsWorth) {
  struct Row {
    const char* name;
    Switch sizing;
    Duration rtt;
    std::uint8_t least;
    std::string pushed;
  };
  const Row rows[] = {
      {"off", Switch::kOff, 100_ms, 2, ".........P"},
      {"slow", Switch::kOn, 100_ms, 2, ".P.P.P.P.P"},
      {"3 at least", Switch::kOn, 100_ms, 3, "..P..P..P."},
      {"half of the window", Switch::kOn, 100_ms, 9, "....P....P"},
      {"short", Switch::kOn, Duration::micros(100), 2, "....P....P"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ScriptOptions o;
    o.tcp.burst_sizing = row.sizing;
    o.tcp.least_burst = row.least;
    Script h(o);
    establish(h, row.rtt);
    EXPECT_EQ(write_some(h, 20 * kMss), 20 * kMss);
    EXPECT_EQ(pushes(h), row.pushed);
  }
}

// MSG_EOR: what follows a record shares no segment with it, though each is small and waits for the window.
TEST(Record, SharesNoSegment) {
  Script h;
  establish(h, 10_ms);
  EXPECT_EQ(write_some(h, 10'400), 10'400u);
  EXPECT_EQ(pushes(h), ".........P");
  EXPECT_EQ(write_record(h, 400), 400u);
  EXPECT_EQ(write_record(h, 300), 300u);
  EXPECT_EQ(write_some(h, 3000), 3000u);
  h.expect_nothing();
  h.rx({.seq = 1, .ack = 10'001});
  h.expect_tx({.flags = "PA", .seq = 10'001, .size = 800});
  h.expect_tx({.flags = "PA", .seq = 10'801, .size = 300});
  h.expect_tx({.flags = "A", .seq = 11'101, .size = kMss});
  h.expect_tx({.flags = "A", .seq = 12'101, .size = kMss});
  h.expect_tx({.flags = "PA", .seq = 13'101, .size = kMss});
}

// Nor when it is sent again, with SACK or without.
TEST(Record, StaysApartWhenSentAgain) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    Script h;
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = sack});
    h.set(socket::Option::kTcpNoDelay, 1);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(write_record(h, 300), 300u);
    for (std::uint32_t i = 0; i < 4; ++i) h.expect_tx({.flags = "PA", .seq = 1 + 300 * i, .size = 300});
    std::optional<Segment> again;
    for (int i = 0; i < 3 && !(again && again->seq == 1); ++i) {
      ASSERT_TRUE(h.until_tx(3_s).has_value());
      again = h.next_tx();
    }
    EXPECT_EQ(again->seq, 1u);
    EXPECT_EQ(again->payload.size(), 300u);
    EXPECT_NE(again->flags.find('P'), std::string::npos);
    h.rx({.seq = 1, .ack = 301});
    h.expect_tx({.flags = "PA", .seq = 301, .size = 300});
  }
}

// Each write's end was pushed, and is again.
TEST(Push, StandsWhereItStood) {
  Script h;
  establish(h, 100_ms);
  h.set(socket::Option::kTcpNoDelay, 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(write_some(h, 500), 500u);
  EXPECT_EQ(write_some(h, 3500), 3500u);
  EXPECT_EQ(pushes(h), "PPP...P");
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1, .sack = {{1501, 5001}}});  // the rest is lost
  h.expect_tx({.flags = "PA", .seq = 1, .size = 500});
}

// A burst's end carries PSH only because of its size: a part of it that is sent again does not.
TEST(Push, OfABurstIsNotKept) {
  Script h;
  establish(h, 100_ms);
  EXPECT_EQ(write_some(h, 20 * kMss), 20 * kMss);
  EXPECT_EQ(pushes(h), ".........P");
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 9001, .win = 1000});  // no more fits in
  ASSERT_TRUE(h.until_tx(3_s).has_value());
  h.expect_tx({.flags = "A", .seq = 9001, .size = kMss});
}

// The queue is filled in blocks of half the peer's window: one that is begun is filled whatever the buffer.
TEST(Blocks, AreFilled) {
  struct Row {
    const char* name;
    Switch blocks;
    std::uint32_t lowat;  // 0: none
    std::size_t taken;
  };
  // The window is 32 000: blocks of 16 segments. Ten go at once, so that the first block is filled up again.
  const Row rows[] = {{"bytes", Switch::kOff, 0, 50'000},
                      {"blocks", Switch::kOn, 0, 58'000},
                      {"bytes, 4000 unsent", Switch::kOff, 4000, 14'000},
                      {"blocks, 4000 unsent", Switch::kOn, 4000, 26'000}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ScriptOptions o;
    o.tcp.send_blocks = row.blocks;
    o.tcp.send_buffer = o.tcp.max_send_buffer = 50'000;
    Script h(o);
    establish(h, 10_ms, 32'792);
    if (row.lowat != 0) h.set(socket::Option::kTcpNotsentLowWater, row.lowat);
    EXPECT_EQ(write_some(h, 59'000), row.taken);
  }
}

// Within a call a block's end is pushed when it is more than half of the peer's window beyond the last push.
TEST(Blocks, ArePushedEachHalfWindow) {
  ScriptOptions o;
  o.tcp.send_blocks = Switch::kOn;
  Script h(o);
  establish(h, 10_ms, 2500);  // blocks of one segment
  EXPECT_EQ(write_some(h, 500), 500u);
  EXPECT_EQ(pushes(h), "P");
  EXPECT_EQ(write_some(h, 4 * kMss), 4 * kMss);
  EXPECT_EQ(pushes(h), ".P");
}

// With memory counted, overhead fills the buffer too; it grows and the user hears of room only after a refusal, when
// the window is not full.
TEST(Blocks, CountMemory) {
  ScriptOptions o;
  o.tcp.send_blocks = o.tcp.count_memory = Switch::kOn;
  o.tcp.slow_start_limit = Switch::kOff;
  o.tcp.send_buffer = 50'000;
  o.tcp.max_send_buffer = 4'000'000;
  Script h(o);
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .win = 32'792, .mss = kMss, .scale = 7, .sack_ok = true});
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 1, .win = 257});
  h.accept();
  EXPECT_EQ(write_some(h, 59'000), 58'000u);
  h.rx({.seq = 1, .ack = 10'001, .win = 257});  // the window of 20 is full: a larger buffer would not help
  EXPECT_EQ(h.info().send_buffer, 50'000u);
  h.rx({.seq = 1, .ack = 26'001, .win = 257});  // 36, of which the peer takes 32
  EXPECT_EQ(h.info().send_buffer, 2 * 36 * (2048 + 256u));
  EXPECT_EQ(write_some(h, 180'000), 128'000u);  // eight blocks; three transmissions are in flight
  h.discard_tx();
}

// With exactly half of the limit unsent there is no room yet, as on Linux.
TEST(Blocks, RoomBelowTheLowWaterMark) {
  Script h;
  establish(h, 10_ms, 10'000);
  h.set(socket::Option::kTcpNotsentLowWater, 4000);
  EXPECT_EQ(write_some(h, 12'000), 12'000u);
  EXPECT_FALSE(any(h.ready() & socket::Ready::kOut));
  h.rx({.seq = 1, .ack = 1001, .win = 10'000});
  EXPECT_TRUE(any(h.ready() & socket::Ready::kOut));
  h.discard_tx();
}

// No segment goes across the end of a block.
TEST(Blocks, EndSegments) {
  ScriptOptions o;
  o.tcp.send_blocks = Switch::kOn;
  Script h(o);
  establish(h, 10_ms, 5000);  // blocks of two segments
  EXPECT_EQ(write_some(h, 8 * kMss), 8 * kMss);
  EXPECT_EQ(pushes(h), ".P.P.");
}

// Ten segments go at once, what follows at the pace; or all of it at the pace.
TEST(Pacing, MayBeginLater) {
  for (const int unpaced : {0, 10}) {
    ScriptOptions o;
    o.tcp.pacing = Switch::kOn;
    o.tcp.unpaced_segments = static_cast<std::uint8_t>(unpaced);
    Script h(o);
    establish(h, 100_ms);
    EXPECT_EQ(write_some(h, 20 * kMss), 20 * kMss);
    EXPECT_EQ(pushes(h).size(), unpaced == 0 ? 2u : 10u);
  }
}

// Timestamps were agreed: a segment without them is dropped (RFC7323-19), or let in.
TEST(Timestamps, MayBeMissing) {
  for (const bool required : {true, false}) {
    ScriptOptions o;
    o.tcp.require_timestamps = required ? Switch::kOn : Switch::kOff;
    Script h(o);
    h.listen();
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ts = Segment::Timestamps{100, 0}});
    const Segment answer = h.expect_tx({.flags = "SA"});
    h.rx({.seq = 1, .ack = 1, .ts = Segment::Timestamps{101, answer.ts->value}});
    h.accept();
    h.rx({.seq = 1, .ack = 1, .payload = "abc"});
    EXPECT_EQ(h.read(), required ? "" : "abc");
  }
}

// A closed window is probed with a byte, or with nothing, below the window.
TEST(Probe, WithOrWithoutData) {
  for (const bool data : {true, false}) {
    ScriptOptions o;
    o.tcp.probe_with_data = data ? Switch::kOn : Switch::kOff;
    Script h(o);
    establish(h, 10_ms);
    EXPECT_EQ(write_some(h, 500), 500u);
    h.expect_tx({.size = 500});
    h.rx({.seq = 1, .ack = 501, .win = 0});
    EXPECT_EQ(write_some(h, 500), 500u);
    ASSERT_TRUE(h.until_tx(2_s).has_value());
    h.expect_tx({.flags = "A", .seq = data ? 501u : 500u, .size = data ? 1u : 0u});
    h.rx({.seq = 1, .ack = 501, .win = 5000});
    h.expect_tx({.seq = 501, .size = 500});
  }
}

// The RTO is SRTT and a margin, however steady the path.
TEST(Timers, RtoMargin) {
  for (const Duration margin : {Duration(), 300_ms}) {
    ScriptOptions o;
    o.tcp.rto_margin = margin;
    Script h(o);
    establish(h, 100_ms);
    for (std::uint32_t i = 0; i < 20; ++i) {
      EXPECT_EQ(write_some(h, 100), 100u);
      h.expect_tx({.size = 100});
      h.after(100_ms);
      h.rx({.seq = 1, .ack = 101 + 100 * i});
    }
    EXPECT_EQ(h.info().rto, std::max(200_ms, 100_ms + margin));
  }
}

// A tail loss probe goes after two round trips and the slack.
TEST(Timers, Slack) {
  ScriptOptions o;
  o.tcp.timer_slack = 7_ms;
  Script h(o);
  establish(h, 50_ms);
  EXPECT_EQ(write_some(h, 2 * kMss), 2 * kMss);
  h.discard_tx();
  const auto waited = h.until_tx(1_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_NEAR(waited->to_seconds(), 0.107, 0.0015);
}

// What an ACK adds to the window in slow start: eight segments, or all that it acknowledges.
TEST(SlowStart, Limit) {
  for (const bool limit : {true, false}) {
    ScriptOptions o;
    o.tcp.slow_start_limit = limit ? Switch::kOn : Switch::kOff;
    for (const char* controller : {"newreno", "cubic"}) {
      o.tcp.congestion = tcp::cc::index_of(controller);
      Script h(o);
      establish(h, 50_ms);
      EXPECT_EQ(write_some(h, 30 * kMss), 30 * kMss);
      h.discard_tx();
      h.after(50_ms);
      h.rx({.seq = 1, .ack = 10'001});
      EXPECT_EQ(h.info().cwnd, (limit ? 18 : 20) * kMss) << controller;
    }
  }
}

// Two segments are SACKed, then three are acknowledged: the window grows by three, or by the one that was new.
TEST(SlowStart, CountsSackedOrNot) {
  for (const bool sack : {true, false}) {
    for (const bool count : {true, false}) {
      ScriptOptions o;
      o.tcp.count_sacked = count ? Switch::kOn : Switch::kOff;
      Script h(o);
      h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = sack});
      EXPECT_EQ(write_some(h, 30 * kMss), 30 * kMss);
      h.rx({.seq = 1,
            .ack = 1,
            .sack = sack ? std::vector<Segment::Block>{{1001, 2001}} : std::vector<Segment::Block>{}});
      h.rx({.seq = 1,
            .ack = 1,
            .sack = sack ? std::vector<Segment::Block>{{1001, 3001}} : std::vector<Segment::Block>{}});
      h.discard_tx();
      h.rx({.seq = 1, .ack = 3001});
      EXPECT_EQ(h.info().cwnd, (count ? 13 : 11) * kMss) << sack;
    }
  }
}

// Nine of ten are sent: the window grows to twice that, and not at all when half of it was not used.
TEST(SlowStart, GrowsToTwiceWhatWasUsed) {
  struct Row {
    std::uint32_t segments, window;
  };
  for (const Row& row : {Row{9, 18}, Row{6, 12}, Row{5, 10}, Row{10, 20}}) {
    Script h;
    establish(h, 50_ms);
    EXPECT_EQ(write_some(h, row.segments * kMss), row.segments * kMss);
    h.discard_tx();
    h.after(50_ms);
    for (std::uint32_t acked = 1; acked <= row.segments; ++acked) h.rx({.seq = 1, .ack = 1 + acked * kMss});
    EXPECT_EQ(h.info().cwnd, row.window * kMss) << row.segments;
  }
}

// One segment is lost where ten were allowed: half of the one (two at least), or of the ten.
TEST(Reduction, OfTheFlightOrTheWindow) {
  for (const bool flight : {true, false}) {
    ScriptOptions o;
    o.tcp.reduce_flight = flight ? Switch::kOn : Switch::kOff;
    o.tcp.tail_probe = Switch::kOff;
    Script h(o);
    establish(h, 50_ms);
    EXPECT_EQ(write_some(h, kMss), kMss);
    h.expect_tx({.size = kMss});
    ASSERT_TRUE(h.until_tx(2_s).has_value());
    EXPECT_EQ(h.info().ssthresh, (flight ? 2 : 5) * kMss);
  }
}

TEST(Challenge, OfAnAckForWhatWasNeverSent) {
  for (const bool answer : {true, false}) {
    ScriptOptions o;
    o.tcp.answer_unsent_ack = answer ? Switch::kOn : Switch::kOff;
    Script h(o);
    establish(h, 10_ms);
    h.rx({.seq = 1, .ack = 9999, .payload = "x"});
    if (answer) h.expect_tx({.flags = "A", .ack = 1});
    h.expect_nothing();
  }
}

// What keeps the sender from sending, in time: the path, the peer's window, the send buffer.
TEST(LimitTimes, AreTold) {
  ScriptOptions o;
  o.tcp.send_buffer = o.tcp.max_send_buffer = 5000;
  Script h(o);
  establish(h, 10_ms);
  h.after(1_s);
  EXPECT_EQ(h.info().busy_time, Duration());
  EXPECT_EQ(write_some(h, 1000), 1000u);  // the path, 100 ms
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1001, .win = 0});
  EXPECT_EQ(write_some(h, 1000), 1000u);  // the peer, 50 ms
  h.after(50_ms);
  h.rx({.seq = 1, .ack = 1001});
  h.after(20_ms);  // the path
  h.rx({.seq = 1, .ack = 2001});
  EXPECT_EQ(write_some(h, 9000), 5000u);  // the buffer, 30 ms
  h.after(30_ms);
  h.rx({.seq = 1, .ack = 7001});
  h.after(1_s);
  const tcp::Info info = h.info();
  EXPECT_EQ(info.busy_time, 200_ms);
  EXPECT_EQ(info.peer_limited_time, 50_ms);
  EXPECT_EQ(info.buffer_limited_time, 30_ms);
}

// How far apart what came out of order was: the third segment arrives when the sixth has.
TEST(Reordering, IsMeasured) {
  Script h;
  establish(h, 50_ms);
  EXPECT_EQ(write_some(h, 10 * kMss), 10 * kMss);
  h.discard_tx();
  h.after(50_ms);
  h.rx({.seq = 1, .ack = 2001, .sack = {{5001, 6001}}});
  h.rx({.seq = 1, .ack = 3001, .sack = {{5001, 6001}}});
  EXPECT_EQ(h.info().reordering, 4 * kMss);
  EXPECT_EQ(h.info().reordering_events, 1u);
}

}  // namespace
}  // namespace sluice::test
