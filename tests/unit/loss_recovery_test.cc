// The parts of loss recovery by themselves: scoreboard (RFC 6675, RFC 8985), PRR (RFC 9937), RACK's window, delivery
// rates, undo.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "stack/tcp/delivery_rate.h"
#include "stack/tcp/min_rtt.h"
#include "stack/tcp/prr.h"
#include "stack/tcp/rack.h"
#include "stack/tcp/scoreboard.h"
#include "stack/tcp/send_state.h"
#include "stack/tcp/undo.h"

namespace sluice::test {
namespace {

using tcp::Delivery;
using tcp::Scoreboard;
using tcp::Sent;
using tcp::Seq;

constexpr std::uint32_t kMss = 1000;

Instant at_ms(std::int64_t ms) {
  return Instant::from_nanos(ms * 1'000'000);
}

// Ten segments, one a millisecond from 0 on.
Scoreboard ten_segments(Seq first) {
  Scoreboard b;
  b.start(first);
  for (std::uint32_t i = 0; i < 10; ++i) b.sent(first + i * kMss, kMss, {.at = at_ms(i)});
  return b;
}

struct Range {
  std::uint32_t from, to;  // segments
};

// (RFC2018-10, RFC6675-02, -03): what the rule of RFC 6675 §4 finds lost, and the pipe that is left.
TEST(Scoreboard, LostBySacks) {
  struct Row {
    const char* name;
    std::vector<Range> sacked;
    std::vector<std::uint32_t> lost;
  };
  const Row rows[] = {
      {"nothing", {}, {}},
      {"two segments above", {{1, 3}}, {}},
      {"three segments above", {{1, 4}}, {0}},
      {"three ranges above", {{1, 2}, {3, 4}, {5, 6}}, {0}},
      {"more above the lower hole", {{1, 2}, {3, 6}}, {0, 2}},
      {"many", {{1, 2}, {3, 4}, {5, 6}, {7, 8}}, {0, 2}},
  };
  for (const std::uint32_t iss : {1u, 0x7ffff000u, 0xfffff000u}) {  // S54
    for (const Row& row : rows) {
      SCOPED_TRACE(row.name);
      const Seq first(iss);
      Scoreboard b = ten_segments(first);
      std::uint32_t sacked = 0;
      for (const Range& r : row.sacked) {
        Delivery d;
        b.sack(first + r.from * kMss, first + r.to * kMss, kMss, d);
        EXPECT_EQ(d.bytes, (r.to - r.from) * kMss);
        sacked += d.sacked;
      }
      EXPECT_EQ(b.lose_below_sacks(kMss), row.lost.size() * kMss);
      EXPECT_EQ(b.sacked(), sacked);
      EXPECT_EQ(b.lost(), row.lost.size() * kMss);
      EXPECT_EQ(b.in_flight(), 10 * kMss - sacked - b.lost());
      for (const std::uint32_t segment : row.lost) {  // (RFC6675-04): in order
        const Sent* next = b.next_lost();
        ASSERT_NE(next, nullptr);
        EXPECT_EQ(next->begin, first + segment * kMss);
        b.sent(next->begin, kMss, {.at = at_ms(20)});
      }
      EXPECT_EQ(b.next_lost(), nullptr);
      EXPECT_EQ(b.in_flight(), 10 * kMss - sacked);
    }
  }
}

// (RFC6675-03, RFC8985-04): sent again while not known to be lost it is in flight twice, until something is known.
TEST(Scoreboard, TwiceInFlight) {
  const Seq first(1);
  Scoreboard b = ten_segments(first);
  b.sent(first, kMss, {.at = at_ms(20)});
  EXPECT_EQ(b.in_flight(), 11 * kMss);
  Delivery d;
  b.acknowledge(first + kMss, d);
  EXPECT_EQ(b.in_flight(), 9 * kMss);
  EXPECT_EQ(d.bytes, kMss);
  EXPECT_TRUE(d.retransmission);
  EXPECT_EQ(d.latest_fresh.length, 0u);
}

// (RFC8985-02, -12, -07): by time of sending; of one moment the lower numbers were first.
TEST(Scoreboard, LostByTime) {
  const Seq first(1);
  Scoreboard b = ten_segments(first);
  Delivery d;
  b.sack(first + 5 * kMss, first + 6 * kMss, kMss, d);
  EXPECT_EQ(d.latest.begin, first + 5 * kMss);
  const auto found = b.lose_sent_before(d.latest, at_ms(2));
  EXPECT_EQ(found.bytes, 3 * kMss);
  EXPECT_TRUE(found.waiting);
  EXPECT_FALSE(b.lose_sent_before(d.latest, at_ms(100)).waiting);
  EXPECT_EQ(b.lost(), 5 * kMss);  // those after it are not
  Scoreboard burst;
  burst.start(first);
  burst.sent(first, 10 * kMss, {.at = at_ms(0)});
  Delivery one;
  burst.sack(first + 4 * kMss, first + 5 * kMss, kMss, one);
  EXPECT_EQ(burst.lose_sent_before(one.latest, at_ms(0)).bytes, 4 * kMss);
}

// (RFC8985-08): a first transmission below what was delivered is a sign of reordering, a second one is none.
TEST(Scoreboard, Reordering) {
  for (const bool again : {false, true}) {
    const Seq first(1);
    Scoreboard b = ten_segments(first);
    Delivery d;
    b.sack(first + 3 * kMss, first + 4 * kMss, kMss, d);
    EXPECT_EQ(d.reordered, 0u);
    if (again) b.sent(first + kMss, kMss, {.at = at_ms(20)});
    b.sack(first + kMss, first + 2 * kMss, kMss, d);
    EXPECT_EQ(d.reordered > 0, !again);
  }
}

// A super-segment is one record until its parts fare differently, and is cut between segments only (S55).
TEST(Scoreboard, SuperSegments) {
  const Seq first(1);
  Scoreboard b;
  b.start(first);
  b.sent(first, 45 * kMss, {.at = at_ms(0)});
  b.sent(first + 45 * kMss, 45 * kMss, {.at = at_ms(1)});
  EXPECT_EQ(b.records(), 2u);
  Delivery d;
  b.sack(first + 10 * kMss, first + 20 * kMss, kMss, d);
  EXPECT_EQ(b.records(), 4u);
  b.sack(first + 20 * kMss, first + 90 * kMss, kMss, d);  // joins its neighbours
  EXPECT_EQ(b.records(), 2u);
  EXPECT_EQ(d.sacked, 80 * kMss);
  Delivery none;
  b.sack(first + 1, first + 2, kMss, none);
  b.sack(first + 500, first + 1999, kMss, none);
  EXPECT_EQ(none.bytes, 0u);
  b.sack(first + 500, first + 2000, kMss, none);
  EXPECT_EQ(none.bytes, kMss);
}

// Against a model of one entry a byte: whatever is sent, SACKed, lost and acknowledged, the sums are right.
TEST(Scoreboard, AgainstAModel) {
  std::mt19937 random(1);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int run = 0; run < 200; ++run) {
    const Seq first(0xffffff00u);
    Scoreboard b;
    b.start(first);
    std::vector<Sent::State> model;  // from `una` on
    std::uint32_t una = 0;
    for (int step = 0; step < 200; ++step) {
      const auto size = static_cast<std::uint32_t>(model.size());
      Delivery d;
      std::uint32_t delivered = 0;
      const std::uint32_t action = below(6);
      if (action == 0) {
        const std::uint32_t n = 1 + below(20);
        b.sent(first + una + size, n, {.at = at_ms(step)});
        model.insert(model.end(), n, Sent::State::kInFlight);
      } else if (action <= 2 && size > 0) {  // an `mss` of one byte: cut anywhere
        const std::uint32_t from = below(size);
        const std::uint32_t to = from + 1 + below(size - from);
        b.sack(first + una + from, first + una + to, 1, d);
        for (std::uint32_t i = from; i < to; ++i) {
          delivered += model[i] == Sent::State::kSacked ? 0 : 1;
          model[i] = Sent::State::kSacked;
        }
      } else if (action == 3 && size > 0 && below(4) == 0) {
        const std::uint32_t n = 1 + below(size);
        b.acknowledge(first + una + n, d);
        delivered = static_cast<std::uint32_t>(
            std::count_if(model.begin(), model.begin() + n, [](Sent::State s) { return s != Sent::State::kSacked; }));
        model.erase(model.begin(), model.begin() + n);
        una += n;
      } else if (action == 4 && below(3) == 0) {
        (void)b.lose_all();
        for (Sent::State& s : model) s = s == Sent::State::kInFlight ? Sent::State::kLost : s;
      } else if (const Sent* lost = b.next_lost()) {
        const auto at = static_cast<std::uint32_t>(lost->begin - first) - una;
        ASSERT_EQ(std::find(model.begin(), model.end(), Sent::State::kLost) - model.begin(), at);
        const std::uint32_t n = 1 + below(lost->length);
        b.sent(lost->begin, n, {.at = at_ms(step)});
        std::fill_n(model.begin() + at, n, Sent::State::kInFlight);
      }
      ASSERT_EQ(d.bytes, delivered);
      const auto count = [&](Sent::State s) {
        return static_cast<std::uint32_t>(std::count(model.begin(), model.end(), s));
      };
      ASSERT_EQ(b.in_flight(), count(Sent::State::kInFlight));
      ASSERT_EQ(b.sacked(), count(Sent::State::kSacked));
      ASSERT_EQ(b.lost(), count(Sent::State::kLost));
      std::uint32_t at = una;
      for (std::uint32_t i = 0; i < b.records(); ++i) {  // the records follow one another
        ASSERT_EQ(b.record(i).begin, first + at);
        ASSERT_EQ(b.record(i).state, model[at - una]);
        at += b.record(i).length;
      }
      ASSERT_EQ(at - una, model.size());
    }
  }
}

// S55: a peer that reports every second segment, and then a different block in each ACK, for ever. Records stay bounded
// by segments, and the time for each ACK small, or this would not end.
TEST(Scoreboard, HostileSacks) {
  const Seq first(1);
  Scoreboard b;
  b.start(first);
  constexpr std::uint32_t kSegments = 16'000;
  for (std::uint32_t i = 0; i < kSegments; i += 40) b.sent(first + i * kMss, 40 * kMss, {.at = at_ms(i)});
  Delivery d;
  for (std::uint32_t i = 1; i < kSegments; i += 2) b.sack(first + i * kMss, first + (i + 1) * kMss, kMss, d);
  EXPECT_LE(b.records(), kSegments);
  for (std::uint32_t i = 0; i < 1'000'000; ++i) {
    const std::uint32_t at = i * 7919 % (kSegments * kMss - 2000);
    b.sack(first + at, first + at + 1 + i % 1999, kMss, d);
  }
  EXPECT_LE(b.records(), kSegments);
  EXPECT_LE(d.bytes, kSegments * kMss);
}

// An application that writes byte by byte: records are not as many as bytes.
TEST(Scoreboard, TinySegments) {
  Scoreboard b;
  b.start(Seq(1));
  for (std::uint32_t i = 0; i < 1'000'000; ++i) b.sent(Seq(1 + i), 1, {.at = at_ms(i)});
  EXPECT_LT(b.records(), 6000u);
  EXPECT_EQ(b.in_flight(), 1'000'000u);
}

// RFC 9937 §6: (RFC9937-01, -02, -03, -04, -05, -06, -08). Rows are ACKs; `sent` is what the sender then does with the
// window.
TEST(Prr, Table) {
  struct Row {
    std::uint32_t delivered, in_flight;
    bool safe;
    std::uint32_t want;  // SndCnt
  };
  // 20 segments out, one lost, ssthresh 10: after the fast retransmission one goes out for two that are delivered,
  // and one for one when ssthresh is reached.
  tcp::Prr half;
  half.start(10 * kMss, 20 * kMss, 19 * kMss);
  EXPECT_EQ(half.window(), 19 * kMss);
  std::uint32_t in_flight = 18 * kMss;
  const std::uint32_t half_a_segment = kMss / 2;
  for (int i = 0; i < 18; ++i) {
    if (i > 0) in_flight -= kMss;
    half.on_ack(kMss, in_flight, false, kMss);
    const std::uint32_t count = half.window() - in_flight;
    if (i == 1 || i == 15) {
      EXPECT_EQ(count, 0u) << i;  // the fast retransmission was an advance; ssthresh is reached
    } else if (i < 15) {
      EXPECT_EQ(count, i % 2 == 0 ? half_a_segment : kMss) << i;
    } else {
      EXPECT_EQ(count, kMss) << i;
    }
    if (i > 0 && count < kMss) continue;
    half.on_sent(kMss);
    in_flight += kMss;
  }
  // Below ssthresh: as much as was delivered; a segment more for an ACK that advances without new loss; never above.
  const Row below[] = {{1000, 3000, false, 1000},
                       {1000, 3000, true, 2000},
                       {3000, 3000, true, 4000},
                       {8000, 3000, true, 7000},
                       {0, 3000, true, 0}};
  for (const Row& row : below) {
    tcp::Prr p;
    p.start(10 * kMss, 20 * kMss, row.in_flight);
    p.on_ack(row.delivered, row.in_flight, row.safe, kMss);
    EXPECT_EQ(p.window() - row.in_flight, row.want) << row.delivered << row.safe;
  }
  // Nothing to send by the sum: a fast retransmission nevertheless, once.
  tcp::Prr forced;
  forced.start(10 * kMss, 20 * kMss, 10 * kMss);
  forced.on_ack(1, 10 * kMss, false, kMss);
  EXPECT_EQ(forced.window(), 11 * kMss);
  forced.on_sent(kMss);
  forced.on_ack(1, 10 * kMss, false, kMss);
  EXPECT_EQ(forced.window(), 10 * kMss);
}

// (RFC8985-03, -09, -10, -11)
TEST(Rack, Window) {
  tcp::Rack r;
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), Duration());
  EXPECT_EQ(r.window(false, 40_ms, 50_ms), 10_ms);
  r.on_reordering(0);
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 10_ms);
  r.on_duplicate(Seq(1), Seq(1000));
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 20_ms);
  r.on_duplicate(Seq(500), Seq(2000));  // the same round trip
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 20_ms);
  for (std::uint32_t i = 1; i < 10; ++i) r.on_duplicate(Seq(i * 1000), Seq((i + 1) * 1000));
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 50_ms);  // SRTT at most
  for (int i = 0; i < 15; ++i) r.on_recovery_done();
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 50_ms);
  r.on_recovery_done();
  EXPECT_EQ(r.window(true, 40_ms, 50_ms), 10_ms);
}

// (RFC8985-05)
TEST(MinRtt, Forgets) {
  tcp::MinRtt m;
  EXPECT_EQ(m.get(), Duration());
  m.sample(at_ms(0), 10_ms);
  m.sample(at_ms(100'000), 20_ms);
  EXPECT_EQ(m.get(), 10_ms);
  m.sample(at_ms(200'000), 20_ms);
  EXPECT_EQ(m.get(), 10_ms);
  m.sample(at_ms(360'000), 20_ms);
  EXPECT_EQ(m.get(), 20_ms);
}

// The proofs of RFC 3708 and RFC 3522.
TEST(Undo, Proofs) {
  tcp::Undo u;
  EXPECT_FALSE(u.on_duplicate(Seq(1), Seq(1001)));
  u.start(Seq(1));
  EXPECT_FALSE(u.on_duplicate(Seq(1), Seq(1001)));  // nothing was sent again
  u.on_retransmit(Seq(1001), 1000, 500);
  u.on_retransmit(Seq(2001), 1000, 600);
  EXPECT_FALSE(u.on_duplicate(Seq(1), Seq(1001)));
  EXPECT_TRUE(u.on_duplicate(Seq(1001), Seq(2001)));
  EXPECT_TRUE(u.proven_by_echo(499, Seq(2001)));
  EXPECT_FALSE(u.proven_by_echo(499, Seq(2000)));  // of the second nothing is known
  EXPECT_FALSE(u.proven_by_echo(500, Seq(2001)));
  u.stop();
  EXPECT_FALSE(u.proven_by_echo(499, Seq(2001)));
}

// 10 segments of 1000 bytes at one a millisecond over a round trip of 10 ms: 1000 bytes a millisecond.
TEST(DeliveryRate, ConstantRate) {
  tcp::DeliveryRate rate;
  Scoreboard b;
  b.start(Seq(1));
  rate.start(at_ms(0), 0);
  std::uint32_t rounds = 0;
  for (std::uint32_t ms = 0; ms < 40; ++ms) {
    if (ms >= 10) {
      Delivery d;
      b.acknowledge(Seq(1 + (ms - 9) * kMss), d);
      tcp::cc::Ack ack{.now = at_ms(ms), .delivered = d.bytes, .min_rtt = 10_ms};
      rate.on_delivery(d, ack);
      rounds += ack.round_start ? 1 : 0;
      EXPECT_EQ(ack.total_delivered, (ms - 9) * kMss);
      EXPECT_EQ(ack.rate.app_limited, ms >= 20 && ms < 30);
      if (ms >= 20) {
        EXPECT_EQ(ack.rate.interval, 10_ms);
        EXPECT_EQ(ack.rate.delivered, 10 * kMss);
        EXPECT_EQ(ack.rate.prior_delivered, (ms - 19) * kMss);
        EXPECT_EQ(ack.rate.sent_in_flight, 10 * kMss);
      }
    }
    b.sent(Seq(1 + ms * kMss), kMss, rate.stamp(at_ms(ms)));
    if (ms == 9) rate.on_app_limited(b.in_flight());
  }
  EXPECT_EQ(rounds, 3u);
}

// A connection that ends with data in flight leaves none of it to the next one.
TEST(SendStates, WhatWasUsedIsEmpty) {
  tcp::SendStates states;
  std::unique_ptr<tcp::SendState> state = states.take();
  state->board.start(tcp::Seq(1000));
  state->board.sent(tcp::Seq(1000), 500, {});
  (void)state->board.lose_all();
  state->board.sent(tcp::Seq(1500), 500, {});
  states.give_back(std::move(state));
  state = states.take();
  EXPECT_TRUE(state->board.empty());
  EXPECT_EQ(state->board.in_flight() + state->board.lost() + state->board.sacked(), 0u);
  state->board.start(tcp::Seq(7));
  state->board.sent(tcp::Seq(7), 10, {});
  EXPECT_EQ(state->board.in_flight(), 10u);
}

}  // namespace
}  // namespace sluice::test
