// The sizes of TCP's buffers: what a sequence of round trips makes of them.
#include <gtest/gtest.h>

#include <vector>

#include "stack/tcp/receive_tuning.h"
#include "stack/tcp/send_tuning.h"

namespace sluice::test {
namespace {

using tcp::ReceiveTuning;
using tcp::Seq;

constexpr std::size_t kKi = 1024;
const Instant kStart = Instant::from_nanos(1'000'000'000);

// Gives `t` a round trip of `rtt`: a window that moved is full so much later.
void teach(ReceiveTuning& t, Duration rtt) {
  t.on_offer(kStart - rtt, Seq(1000));
  t.on_data(kStart, Seq(1000));
}

TEST(ReceiveTuning, RoundTrips) {
  struct Row {
    const char* name;
    std::vector<std::size_t> taken;  // KiB, one entry a round trip of 10 ms
    std::size_t device_queue;        // KiB
    std::size_t want;                // KiB, from 64 and up to 1024
  };
  const Row rows[] = {
      {"nothing", {}, 0, 64},
      {"little", {1, 1, 1, 1}, 0, 64},
      {"first one", {16}, 0, 96},
      {"doubling: four times", {10, 20, 40}, 0, 160},
      {"no more than before: twice is there already", {100, 100, 100}, 0, 600},
      {"fewer", {40, 20, 10}, 0, 240},
      {"up to the maximum", {100, 200, 400}, 0, 1024},
      {"within the device's queue", {100, 200, 400}, 300, 300},
      {"a queue below the first buffer takes nothing away", {100, 200, 400}, 30, 64},
  };
  for (const Row& row : rows) {
    ReceiveTuning t({64 * kKi, 1024 * kKi});
    teach(t, 10_ms);
    Instant now = kStart;
    t.on_taken(now, 0, 0);
    for (const std::size_t n : row.taken) {
      t.on_taken(now + 5_ms, n * kKi / 2, row.device_queue * kKi);  // no round trip yet
      now = now + 10_ms;
      t.on_taken(now, n * kKi / 2, row.device_queue * kKi);
    }
    EXPECT_EQ(t.buffer(), row.want * kKi) << row.name;
  }
}

// Who reads every fifth round trip takes five times as much, but the path does not carry more for that.
TEST(ReceiveTuning, ARareReader) {
  ReceiveTuning t({64 * kKi, 4096 * kKi});
  teach(t, 10_ms);
  t.on_taken(kStart, 0, 0);
  t.on_taken(kStart + 10_ms, 100 * kKi, 0);
  EXPECT_EQ(t.buffer(), 600 * kKi);
  t.on_taken(kStart + 60_ms, 500 * kKi, 0);
  EXPECT_EQ(t.buffer(), 600 * kKi);
  t.on_taken(kStart + 110_ms, 1000 * kKi, 0);  // now it does: twice as much
  EXPECT_EQ(t.buffer(), 800 * kKi);
}

// What is under way on a long path is not in the device's queue: with a path of 40 ms (39 by the clock of 1 ms) of a
// round trip of 50 ms, 39/50 of what came in it.
TEST(ReceiveTuning, ALongPathBehindASmallDeviceQueue) {
  ReceiveTuning t({64 * kKi, 4096 * kKi});
  t.on_echo(100, 140);
  t.on_taken(kStart, 0, 0);
  t.on_taken(kStart + 50_ms, 1000 * kKi, 100 * kKi);
  EXPECT_EQ(t.buffer(), 100 * kKi + 780 * kKi);
}

// (RFC7323-23): the clock of timestamps has ticks of a millisecond.
TEST(ReceiveTuning, RoundTripTime) {
  struct Echo {
    std::uint32_t echo, now;
  };
  struct Row {
    const char* name;
    std::int64_t window_us;  // how long a window took; 0: none did
    std::vector<Echo> echoes;
    std::int64_t want_us;
  };
  const Row rows[] = {
      {"unknown", 0, {}, 0},
      {"a window", 700, {}, 700},
      {"an echo is a tick more at most", 0, {{5, 15}}, 11'000},
      {"the same echo later says nothing", 0, {{5, 15}, {5, 11}}, 11'000},
      {"the next one does", 0, {{5, 15}, {6, 12}}, 7'000},
      {"across the wrap", 0, {{0xfffffffe, 2}}, 5'000},
      {"from the future", 0, {{9, 8}}, 0},
      {"none", 0, {{0, 8}}, 0},
      {"within a tick the window is finer", 700, {{5, 6}, {6, 7}}, 700},
      {"up by an eighth", 8'000, {{5, 14}, {14, 23}}, 8'000},
      {"up by an eighth of the way", 8'000, {{5, 18}}, 8'500},
      {"at most of a way twice as long", 8'000, {{5, 50'000}}, 9'000},
      {"down at once", 8'000, {{5, 8}}, 4'000},
  };
  for (const Row& row : rows) {
    ReceiveTuning t({64 * kKi, 1024 * kKi});
    if (row.window_us > 0) teach(t, Duration::micros(row.window_us));
    for (const Echo& e : row.echoes) t.on_echo(e.echo, e.now);
    EXPECT_EQ(t.rtt().to_micros(), row.want_us) << row.name;
  }
}

// An edge that stands since long may be reached at any moment: only one that has just moved is timed.
TEST(ReceiveTuning, OnlyAWindowThatMovedIsTimed) {
  ReceiveTuning t({64 * kKi, 1024 * kKi});
  t.on_offer(kStart, Seq(1000));
  t.on_offer(kStart + 5_ms, Seq(2000));
  t.on_data(kStart + 10_ms, Seq(999));
  EXPECT_EQ(t.rtt(), Duration());
  t.on_data(kStart + 10_ms, Seq(1500));
  EXPECT_EQ(t.rtt(), 10_ms);
  t.on_offer(kStart + 14_ms, Seq(2000));
  t.on_data(kStart + 15_ms, Seq(2000));
  EXPECT_EQ(t.rtt(), 10_ms);
}

TEST(ReceiveTuning, OneValueStays) {
  ReceiveTuning t({64 * kKi, 64 * kKi});
  teach(t, 1_ms);
  t.on_echo(5, 6);
  t.on_taken(kStart, 0, 0);
  t.on_taken(kStart + 10_ms, 1024 * kKi, 0);
  EXPECT_EQ(t.buffer(), 64 * kKi);
  EXPECT_EQ(t.rtt(), Duration());
}

TEST(SendTuning, TwiceTheWindow) {
  struct Row {
    std::uint32_t cwnd;
    std::size_t want;  // KiB, one after the other
  };
  tcp::SendTuning t({128 * kKi, 1024 * kKi});
  for (const Row& row : {Row{14600, 128}, Row{64 * kKi, 192}, Row{20 * kKi, 192}, Row{400 * kKi, 864},
                         Row{1u << 30, 1024}, Row{1460, 1024}}) {
    t.on_cwnd(row.cwnd);
    EXPECT_EQ(t.buffer(), row.want * kKi) << row.cwnd;
  }
}

TEST(BufferRange, WhatDecides) {
  struct Row {
    const char* name;
    std::uint32_t chosen;
    tcp::Switch tuning;
    std::size_t most, want_first, want_most;
  };
  const Row rows[] = {{"tuned", 0, tcp::Switch::kOn, 900, 100, 900},
                      {"chosen for the connection", 300, tcp::Switch::kOn, 900, 300, 300},
                      {"switched off", 0, tcp::Switch::kOff, 900, 100, 100},
                      {"no room", 0, tcp::Switch::kOn, 50, 100, 100}};
  for (const Row& row : rows) {
    tcp::TcpConfig c;
    c.receive_tuning = c.send_tuning = row.tuning;
    c.receive_buffer = c.send_buffer = 100;
    c.max_receive_buffer = c.max_send_buffer = row.most;
    tcp::ConnectionOptions o;
    o.receive_buffer = o.send_buffer = row.chosen;
    for (const tcp::BufferRange& range : {tcp::receive_range(o, c), tcp::send_range(o, c)}) {
      EXPECT_EQ(range.first, row.want_first) << row.name;
      EXPECT_EQ(range.most, row.want_most) << row.name;
    }
  }
}

}  // namespace
}  // namespace sluice::test
