// The components of TCP by themselves.
#include <gtest/gtest.h>

#include "stack/tcp/cc/newreno.h"
#include "stack/tcp/reassembly.h"
#include "stack/tcp/receive_window.h"
#include "stack/tcp/recovery.h"
#include "stack/tcp/recovery_window.h"
#include "stack/tcp/rto.h"
#include "stack/tcp/seq.h"

namespace sluice::test {
namespace {

using tcp::Seq;

// (RFC9293-SEQ-01) S54
TEST(Seq, Comparison) {
  struct Row {
    std::uint32_t a, b;
    bool less;
  };
  for (const Row& r : {Row{0, 1, true}, Row{0xffffffff, 0, true}, Row{0, 0xffffffff, false},
                       Row{0x7fffffff, 0x80000000, true}, Row{0, 0x7fffffff, true}, Row{0xfffffff0, 0x10, true}}) {
    EXPECT_EQ(Seq(r.a) < Seq(r.b), r.less) << r.a;
  }
}

// (RFC9293-SEQ-02, RFC9293-SEQ-03), also across the wrap.
TEST(Seq, Acceptability) {
  struct Row {
    std::uint32_t window, seq, length;
    bool want;
  };
  const Row rows[] = {{0, 1000, 0, true},    {0, 999, 0, false},    {0, 1000, 1, false},   {100, 1000, 0, true},
                      {100, 1099, 0, true},  {100, 1100, 0, false}, {100, 999, 0, false},  {100, 999, 1, false},
                      {100, 999, 2, true},   {100, 1099, 50, true}, {100, 1100, 1, false}, {100, 900, 100, false},
                      {100, 900, 101, true}, {100, 900, 300, true}};
  for (const std::uint32_t base : {1000u, 4294967290u}) {
    for (const Row& r : rows) {
      EXPECT_EQ(tcp::acceptable(Seq(r.seq - 1000 + base), r.length, Seq(base), r.window), r.want)
          << r.seq << "+" << r.length;
    }
  }
}

// (RFC6298-02, -04, -05, -06, -07, -08, -12; RFC8961-01; RFC9293-MUST-18)
TEST(Rto, KnownSamples) {
  struct Row {
    double sample, srtt, rttvar, rto;
  };
  const Row rows[] = {{100, 100, 50, 1000},
                      {120, 102.5, 42.5, 1000},
                      {80, 99.6875, 37.5, 1000},
                      {200, 112.226562, 53.203125, 1000},
                      {100, 110.698242, 42.958984, 1000},
                      {100, 109.360962, 34.893799, 1000},
                      {100, 108.190842, 28.510590, 1000},
                      {3000, 469.666986, 744.335232, 3447.007914}};
  const tcp::RtoEstimator::Bounds bounds{.initial = 1_s, .min = 1_s, .max = 60_s};
  tcp::RtoEstimator rto(bounds);
  EXPECT_EQ(rto.rto().to_millis(), 1000);
  for (const Row& r : rows) {
    rto.sample(Duration::nanos(static_cast<std::int64_t>(r.sample * 1e6)), 1);
    EXPECT_NEAR(rto.srtt().to_seconds() * 1e3, r.srtt, 1e-4);
    EXPECT_NEAR(rto.rttvar().to_seconds() * 1e3, r.rttvar, 1e-4);
    EXPECT_NEAR(rto.rto().to_seconds() * 1e3, r.rto, 1e-3);
  }
}

// (RFC6298-09, -18, -20), S67: backoff doubles to the cap and saturates; absurd samples do no harm.
TEST(Rto, BackoffAndExtremes) {
  const tcp::RtoEstimator::Bounds bounds{.initial = 1_s, .min = 200_ms, .max = 60_s};
  tcp::RtoEstimator rto(bounds);
  const int want[] = {1, 2, 4, 8, 16, 32, 60, 60};
  for (const int seconds : want) {
    EXPECT_EQ(rto.rto().to_millis(), seconds * 1000);
    rto.back_off();
  }
  for (int i = 0; i < 1000; ++i) rto.back_off();
  EXPECT_EQ(rto.rto(), 60_s);
  rto.on_syn_timeout();
  EXPECT_EQ(rto.rto(), 3_s);
  for (const Duration d : {Duration::nanos(INT64_MIN), Duration(), Duration::max(), Duration::seconds(7200)}) {
    rto.sample(d, 1);
    EXPECT_GE(rto.rto(), 200_ms);
    EXPECT_LE(rto.rto(), 60_s);
  }
}

// (RFC5681-09, -16, -17, -18, -26): the figures of RFC 5681, SMSS 1000.
TEST(NewReno, KnownFigures) {
  tcp::cc::NewReno cc;
  cc.start({.mss = 1000, .initial_window = 10000});
  EXPECT_EQ(cc.ssthresh(), UINT32_MAX);  // (RFC5681-08)
  cc.on_congestion({.now = {}, .flight = 20000});
  EXPECT_EQ(cc.ssthresh(), 10000u);
  EXPECT_EQ(cc.cwnd(), 10000u);
  cc.on_recovery_done({.now = {}, .window = 7000});
  EXPECT_EQ(cc.cwnd(), 7000u);
  cc.on_congestion({.now = {}, .flight = 3000});
  EXPECT_EQ(cc.ssthresh(), 2000u);
  cc.on_recovery_done({.now = {}, .window = 2000});
  cc.on_timeout({.now = {}, .flight = 8000, .first = true});
  EXPECT_EQ(cc.cwnd(), 1000u);
  EXPECT_EQ(cc.ssthresh(), 4000u);
  cc.on_timeout({.now = {}, .flight = 1000, .first = false});
  EXPECT_EQ(cc.ssthresh(), 4000u);
}

// A reduction for nothing is taken back, the last one only, and never lowers what has grown since.
TEST(NewReno, Undo) {
  tcp::cc::NewReno cc;
  cc.start({.mss = 1000, .initial_window = 30000});
  cc.on_congestion({.now = {}, .flight = 30000});
  cc.on_undo({});
  EXPECT_EQ(cc.cwnd(), 30000u);
  EXPECT_EQ(cc.ssthresh(), UINT32_MAX);
  cc.on_timeout({.now = {}, .flight = 30000, .first = true});
  cc.on_timeout({.now = {}, .flight = 30000, .first = false});
  cc.on_undo({});
  EXPECT_EQ(cc.cwnd(), 30000u);
  EXPECT_EQ(cc.ssthresh(), UINT32_MAX);
  cc.on_congestion({.now = {}, .flight = 20000});
  cc.on_congestion({.now = {}, .flight = 10000});
  cc.on_undo({});
  EXPECT_EQ(cc.cwnd(), 10000u);
  EXPECT_EQ(cc.ssthresh(), 10000u);
}

// (RFC5681-29): there are no more duplicate ACKs to be expected than segments were out.
TEST(InflatedWindow, IsBounded) {
  tcp::InflatedWindow w;
  w.enter(5000, 1000, 10000);
  for (int i = 0; i < 100; ++i) w.on_duplicate_ack(1000);
  EXPECT_EQ(w.window(), 15000u);
  w.on_partial_ack(2000, 1000, 8000);
  for (int i = 0; i < 100; ++i) w.on_duplicate_ack(1000);
  EXPECT_EQ(w.window(), 22000u);
}

// (RFC5681-27, -28, -31; RFC6582-03, -04, -05): the figures of RFC 5681 and RFC 6582, SMSS 1000.
TEST(InflatedWindow, KnownFigures) {
  tcp::InflatedWindow w;
  w.enter(10000, 1000, 20000);
  EXPECT_EQ(w.window(), 13000u);
  w.on_duplicate_ack(1000);
  EXPECT_EQ(w.window(), 14000u);
  w.on_partial_ack(2500, 1000, 17500);
  EXPECT_EQ(w.window(), 12500u);
  w.on_partial_ack(400, 1000, 17100);
  EXPECT_EQ(w.window(), 12100u);
  w.on_partial_ack(50000, 1000, 3000);
  EXPECT_EQ(w.window(), 2000u);
  struct Row {
    std::uint32_t flight, want;
  };
  for (const Row& row : {Row{20000, 10000}, Row{9500, 10000}, Row{3000, 4000}, Row{0, 2000}}) {
    EXPECT_EQ(w.at_the_end(row.flight, 1000), row.want);
  }
}

// (RFC5681-38): a timeout in recovery lowers the threshold again, by what was halved before.
TEST(NewReno, TimeoutInRecovery) {
  tcp::cc::NewReno cc;
  cc.start({.mss = 1000, .initial_window = 10000});
  cc.on_congestion({.now = {}, .flight = 20000});
  cc.on_timeout({.now = {}, .flight = 24000, .first = true});
  EXPECT_EQ(cc.ssthresh(), 5000u);
  cc.on_timeout({.now = {}, .flight = 9000, .first = true});  // not in recovery any more
  EXPECT_EQ(cc.ssthresh(), 4500u);
  cc.on_congestion({.now = {}, .flight = 20000});
  cc.on_recovery_done({.now = {}, .window = 2000});
  cc.on_timeout({.now = {}, .flight = 24000, .first = true});
  EXPECT_EQ(cc.ssthresh(), 12000u);
}

// (RFC5681-02, -12, -15): whatever the sizes of window and ACK, slow start at most doubles, and congestion avoidance
// adds one segment for each window, not less and not more.
TEST(NewReno, GrowthIsBounded) {
  for (const std::uint32_t window : {50'000u, 5'000'000u, 500'000'000u}) {
    for (const std::uint32_t ack : {1000u, 3000u, 20'000u}) {
      tcp::cc::NewReno cc;
      cc.start({.mss = 1000, .initial_window = window});
      std::uint32_t acked = 0;
      for (; acked < 50'000; acked += ack) cc.on_ack({.now = {}, .acked = ack});
      EXPECT_LE(cc.cwnd(), window + acked);
      cc.on_congestion({.now = {}, .flight = 2 * window});
      cc.on_recovery_done({.now = {}, .window = window});
      std::uint64_t want = cc.cwnd();
      std::uint64_t rest = 0;
      for (std::uint64_t total = 10 * want; total > 0; total -= std::min<std::uint64_t>(total, ack)) {
        cc.on_ack({.now = {}, .acked = ack});
        rest += ack;
        if (rest < want) continue;
        rest -= want;
        want += 1000;
      }
      EXPECT_EQ(cc.cwnd(), want);
    }
  }
}

// (RFC6582-01, -02, -05, -06, -07): the variable "recover" and what enters, continues and ends recovery.
TEST(Recovery, NewReno) {
  using Dup = tcp::Recovery::OnDuplicate;
  using New = tcp::Recovery::OnAck;
  const auto third = [](tcp::Recovery& r, std::uint32_t una, std::uint32_t max) {
    EXPECT_EQ(r.on_duplicate_ack(Seq(una), Seq(max)), Dup::kLimitedTransmit);
    EXPECT_EQ(r.on_duplicate_ack(Seq(una), Seq(max)), Dup::kLimitedTransmit);
    return r.on_duplicate_ack(Seq(una), Seq(max));
  };
  for (const std::uint32_t iss : {100u, 0xffffff00u}) {
    tcp::Recovery r;
    r.start(Seq(iss));
    EXPECT_EQ(r.point(), Seq(iss));
    EXPECT_EQ(third(r, iss, iss + 1000), Dup::kNothing);  // covers nothing but the SYN
    EXPECT_EQ(r.on_ack(Seq(iss + 1)), New::kOpen);
    EXPECT_EQ(third(r, iss + 1, iss + 1000), Dup::kEnter);
    EXPECT_EQ(r.point(), Seq(iss + 1000));
    EXPECT_EQ(r.on_duplicate_ack(Seq(iss + 1), Seq(iss + 1000)), Dup::kInflate);
    EXPECT_EQ(r.on_ack(Seq(iss + 300)), New::kFirstPartial);
    EXPECT_EQ(r.on_ack(Seq(iss + 600)), New::kPartial);
    EXPECT_EQ(r.on_ack(Seq(iss + 999)), New::kPartial);
    EXPECT_EQ(r.on_ack(Seq(iss + 1000)), New::kDone);
    EXPECT_FALSE(r.active());
    EXPECT_EQ(third(r, iss + 1000, iss + 2000), Dup::kNothing);  // not more than "recover"
    EXPECT_EQ(r.on_ack(Seq(iss + 1001)), New::kOpen);
    EXPECT_EQ(third(r, iss + 1001, iss + 2000), Dup::kEnter);
    r.on_timeout(Seq(iss + 2500));
    EXPECT_FALSE(r.active());
    EXPECT_EQ(r.point(), Seq(iss + 2500));
    EXPECT_EQ(third(r, iss + 2500, iss + 3000), Dup::kNothing);
  }
}

// (RFC5681-10, -11, -13, -14), S65: growth counts bytes; dividing an ACK gains nothing.
TEST(NewReno, Growth) {
  tcp::cc::NewReno cc;
  cc.start({.mss = 1000, .initial_window = 10000});
  cc.on_timeout({.now = {}, .flight = 20000, .first = true});
  for (int i = 0; i < 9; ++i) cc.on_ack({.now = {}, .acked = 1000});
  EXPECT_EQ(cc.cwnd(), 10000u);  // slow start to ssthresh
  for (int i = 0; i < 10; ++i) cc.on_ack({.now = {}, .acked = 1000});
  EXPECT_EQ(cc.cwnd(), 11000u);  // then one segment a window
  for (int i = 0; i < 11000; ++i) cc.on_ack({.now = {}, .acked = 1});
  EXPECT_EQ(cc.cwnd(), 12000u);
}

// S52: all 13 ways in which two ranges can lie, both orders, across the wrap: what came first stays.
TEST(Reassembly, OverlapsAgainstAModel) {
  for (const std::uint32_t base : {1000u, 0xfffffff8u}) {
    for (std::uint32_t a = 0; a < 12; ++a) {
      for (std::uint32_t a_end = a + 1; a_end <= 12; ++a_end) {
        for (std::uint32_t b = 0; b < 12; ++b) {
          for (std::uint32_t b_end = b + 1; b_end <= 12; ++b_end) {
            tcp::Reassembly r;
            std::string model(12, '.');
            const auto put = [&](std::uint32_t from, std::uint32_t to, char c) {
              const std::string text(to - from, c);
              (void)r.insert(
                  Seq(base + from),
                  buf::Buffer::copy_of(Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())),
                  100'000);
              for (std::uint32_t i = from; i < to; ++i) model[i] = model[i] == '.' ? c : model[i];
            };
            put(a, a_end, 'a');
            put(b, b_end, 'b');
            std::string got(12, '.');
            for (std::uint32_t at = 0; at < 12; ++at) {
              buf::Queue part = r.take(Seq(base + at));
              const auto size = static_cast<std::uint32_t>(part.bytes());
              (void)part.read({reinterpret_cast<std::uint8_t*>(got.data()) + at, size});
              if (size > 0) at += size - 1;
            }
            ASSERT_EQ(got, model);
          }
        }
      }
    }
  }
}

// S51: one-byte segments, every second one missing, forwards and backwards: memory with overhead stays in its bound,
// and so does the time of each, or this would not end.
TEST(Reassembly, Bounded) {
  const std::uint8_t byte = 1;
  for (const std::uint32_t step : {2u, static_cast<std::uint32_t>(-2)}) {
    tcp::Reassembly r;
    for (std::uint32_t i = 0; i < 1'000'000; ++i) {
      (void)r.insert(Seq(step * i), buf::Buffer::copy_of({&byte, 1}), 8 << 20);
    }
    EXPECT_GT(r.ranges(), 30'000u);
    EXPECT_LE(r.memory(), (8u << 20) + 256);
  }
}

// S51: neighbours share blocks: a stream of small segments behind one hole takes little more than its bytes.
TEST(Reassembly, SmallNeighboursShareBlocks) {
  tcp::Reassembly r;
  buf::Pool pool;
  const std::uint8_t bytes[10] = {};
  for (std::uint32_t i = 0; i < 10'000; ++i) (void)r.insert(Seq(1 + 10 * i), pool.copy_of(bytes), SIZE_MAX);
  EXPECT_EQ(r.ranges(), 1u);
  EXPECT_LT(r.memory(), 150'000u);
}

// (RFC9293-SHLD-14, RFC9293-SWS-02, RFC7323-08)
TEST(ReceiveWindow, EdgeNeverMovesBack) {
  tcp::ReceiveWindow w;
  w.start(Seq(0), 65535, 7);
  std::uint32_t edge = 65535;
  std::uint32_t nxt = 0;
  for (int i = 0; i < 1000; ++i) {
    nxt += static_cast<std::uint32_t>(i) % 1500;
    const std::size_t room = static_cast<std::size_t>(i * 7919 % 100'000);
    if (nxt > edge) nxt = edge;
    const std::uint32_t offered = std::uint32_t{w.offer(Seq(nxt), room, 100'000, 1460)} << 7;
    EXPECT_GE(nxt + offered, edge);
    edge = nxt + offered;
  }
  EXPECT_EQ(tcp::ReceiveWindow::scale_for(65535), 0);
  EXPECT_EQ(tcp::ReceiveWindow::scale_for(1 << 20), 5);
  EXPECT_EQ(tcp::ReceiveWindow::scale_for(std::size_t{1} << 40), 14);
}

}  // namespace
}  // namespace sluice::test
