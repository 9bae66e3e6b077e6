// Loss recovery where SACK was agreed, by script: RFC 6675, RFC 8985, RFC 9937, RFC 5682, RFC 3522, RFC 3708. Each
// mechanism on and off. Segments are numbered from 0; ten of them are the first flight.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using tcp::Switch;

constexpr std::uint32_t kMss = 1000;

std::uint32_t number(std::uint32_t segment) {
  return 1 + segment * kMss;
}

struct Range {
  std::uint32_t from, to;  // segments
};

// An ACK of everything below `segment`, with these ranges SACKed.
void ack(Script& h, std::uint32_t segment, const std::vector<Range>& sacked = {}) {
  Segment s{.seq = 1, .ack = number(segment)};
  for (const Range& r : sacked) s.sack.push_back({number(r.from), number(r.to)});
  h.rx(s);
}

// The handshake takes 40 ms.
void shake_hands(Script& h, Segment syn) {
  h.listen();
  h.rx(syn);
  const Segment answer = h.expect_tx({.flags = "SA"});
  h.after(40_ms);
  Segment ack{.seq = 1, .ack = 1};
  if (syn.ts && answer.ts) ack.ts = Segment::Timestamps{syn.ts->value, answer.ts->value};
  h.rx(ack);
  h.accept();
  h.discard_tx();
}

void establish(Script& h, std::uint32_t segments) {
  shake_hands(h, {.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = true});
  h.write(std::string(segments * kMss, 'x'));
}

// Thirty segments are written, ten are out, 40 ms have passed: the first ACKs come now.
void send_ten(Script& h) {
  establish(h, 30);
  for (std::uint32_t i = 0; i < 10; ++i) h.expect_tx({.seq = number(i), .size = kMss});
  h.expect_nothing();
  h.after(40_ms);
}

// The first of ten is lost: two SACKs let new data out, the third begins the recovery.
void lose_the_first(Script& h) {
  send_ten(h);
  ack(h, 0, {{1, 2}});
  h.expect_tx({.seq = number(10), .size = kMss});
  ack(h, 0, {{1, 3}});
  h.expect_tx({.seq = number(11), .size = kMss});
  EXPECT_EQ(h.info().cwnd, 10 * kMss);  // (RFC5681-24)
  ack(h, 0, {{1, 4}});
  h.expect_tx({.seq = number(0), .size = kMss});
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);  // (RFC6675-10), without what limited transmit sent (RFC5681-26)
}

// (RFC8985-09, -12, -23, -24, -26; RFC9937-03, -05, -06, -09; RFC6675-12)
TEST(SackLoss, RackAndPrr) {
  Script h;
  lose_the_first(h);
  for (std::uint32_t i = 4; i < 6; ++i) {  // the retransmission was an advance on these
    ack(h, 0, {{1, i + 1}});
    h.expect_nothing();
  }
  ack(h, 0, {{1, 7}});
  h.expect_tx({.seq = number(12), .size = kMss});
  ack(h, 0, {{1, 8}});
  h.expect_nothing();
  ack(h, 0, {{1, 9}});
  h.expect_nothing();  // ssthresh is reached: one for one
  ack(h, 0, {{1, 10}});
  h.expect_tx({.seq = number(13), .size = kMss});
  ack(h, 13);
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
  EXPECT_EQ(h.info().cwnd, 5 * kMss);
  EXPECT_EQ(h.info().timeouts, 0u);
  EXPECT_EQ(h.info().retransmits, 1u);
}

// (RFC6675-10, RFC5681-16): half of what was outstanding, also when there was no new data to send on the first SACKs.
TEST(SackLoss, HalfOfTheFlightWithoutNewData) {
  Script h;
  establish(h, 10);
  h.discard_tx();
  h.after(40_ms);
  for (std::uint32_t i = 2; i < 5; ++i) ack(h, 0, {{1, i}});
  h.expect_tx({.seq = number(0), .size = kMss});
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);
}

// RFC 6675 alone (RFC6675-01, -08, -09, -11, -13; RFC2018-13): cwnd is ssthresh at once, and nothing goes out until the
// pipe has fallen below it. Afterwards lost segments before new data (RFC6675-04, -05).
TEST(SackLoss, Rfc6675) {
  ScriptOptions o;
  o.tcp.rack = o.tcp.prr = Switch::kOff;
  Script h(o);
  lose_the_first(h);
  EXPECT_EQ(h.info().cwnd, 5 * kMss);
  EXPECT_EQ(h.info().in_network, 9 * kMss);
  for (std::uint32_t i = 4; i < 8; ++i) {
    ack(h, 0, {{1, i + 1}});
    h.expect_nothing();
  }
  ack(h, 0, {{1, 9}});
  h.expect_tx({.seq = number(12), .size = kMss});
  ack(h, 12, {});
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
  EXPECT_EQ(h.info().cwnd, 5 * kMss);
}

// (RFC6675-06, -07): nothing new to send: what is in doubt goes again, and once the last segment.
TEST(SackLoss, Rfc6675InDoubt) {
  ScriptOptions o;
  o.tcp.rack = o.tcp.prr = o.tcp.tail_probe = Switch::kOff;
  Script h(o);
  establish(h, 10);
  h.discard_tx();
  h.after(40_ms);
  ack(h, 0, {{1, 4}});
  h.expect_tx({.seq = number(0)});
  ack(h, 0, {{8, 9}, {6, 7}, {1, 4}});
  h.expect_nothing();
  ack(h, 4, {{8, 9}, {6, 7}});
  h.expect_tx({.seq = number(4)});
  ack(h, 5, {{8, 9}, {6, 7}});
  h.expect_tx({.seq = number(5)});
  h.expect_tx({.seq = number(7)});
  ack(h, 7, {{8, 9}});
  h.expect_tx({.seq = number(9)});  // the rescue, once
  ack(h, 8);
  h.expect_nothing();
  EXPECT_EQ(h.info().lost, 0u);
}

// (RFC5681-25): no new data on a duplicate ACK that says nothing new. Nor without limited transmit on one that does.
TEST(SackLoss, LimitedTransmit) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.limited_transmit = on ? Switch::kOn : Switch::kOff;
    Script h(o);
    send_ten(h);
    ack(h, 0);
    ack(h, 0);
    h.expect_nothing();
    ack(h, 0, {{1, 2}});
    if (on) h.expect_tx({.seq = number(10), .size = kMss});
    h.expect_nothing();
    ack(h, 0, {{1, 2}});  // nothing new
    h.expect_nothing();
  }
}

// (RFC8985-09, -13, -22): a single SACK above a hole waits a quarter of a round trip, then it is a loss. The hole
// filled meanwhile was reordering (RFC8985-08), and from then on three SACKs wait too.
TEST(SackLoss, ReorderingTimer) {
  Script late;
  send_ten(late);
  ack(late, 0, {{1, 2}});
  late.expect_tx({.seq = number(10)});
  const auto waited = late.until_tx(1_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_NEAR(waited->to_seconds(), 0.010, 0.002);
  late.expect_tx({.seq = number(0), .size = kMss});
  Script h;
  send_ten(h);
  ack(h, 0, {{1, 2}});
  h.after(5_ms);
  ack(h, 2);
  EXPECT_TRUE(h.info().reordering_seen);
  ack(h, 2, {{3, 4}});
  ack(h, 2, {{3, 5}});
  ack(h, 2, {{3, 7}});
  EXPECT_EQ(h.info().retransmits, 0u);
  ack(h, 7);
  h.after(100_ms);
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
}

// (RFC8985-01, -25): a lost retransmission is found by what was sent after it and has arrived; RFC 6675 waits for the
// timeout.
TEST(SackLoss, LostRetransmission) {
  for (const bool rack : {true, false}) {
    ScriptOptions o;
    o.tcp.rack = rack ? Switch::kOn : Switch::kOff;
    Script h(o);
    lose_the_first(h);
    ack(h, 0, {{1, 10}});
    h.discard_tx();
    h.after(40_ms);
    ack(h, 0, {{1, 13}});  // segment 12 was sent after the retransmission
    h.after(15_ms);
    int again = 0;
    while (const auto s = h.next_tx()) again += s->seq == number(0) ? 1 : 0;
    EXPECT_EQ(again, rack ? 1 : 0);
    EXPECT_EQ(h.counters().get(Counter::kTcpLostRetransmits), rack ? 1u : 0u);
  }
}

// A lost tail: the last segment is sent again after two round trips (RFC8985-15, -16, -18), its SACK shows the loss
// before it, and no timeout is needed. Without the probe it is.
TEST(SackLoss, TailProbe) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.tail_probe = on ? Switch::kOn : Switch::kOff;
    Script h(o);
    establish(h, 4);
    for (std::uint32_t i = 0; i < 4; ++i) h.expect_tx({.seq = number(i)});
    h.after(40_ms);
    ack(h, 2);
    const auto waited = h.until_tx(1_s);
    ASSERT_TRUE(waited.has_value());
    EXPECT_NEAR(waited->to_seconds(), on ? 0.080 : 0.200, 0.002);
    h.expect_tx({.seq = number(on ? 3 : 2), .size = kMss});
    if (!on) continue;
    h.after(40_ms);
    ack(h, 2, {{3, 4}});
    h.after(10_ms);
    h.expect_tx({.seq = number(2), .size = kMss});
    EXPECT_EQ(h.info().timeouts, 0u);
    EXPECT_EQ(h.counters().get(Counter::kTcpTailProbes), 1u);
  }
}

// (RFC8985-17, -19): one probe, then the timeout.
TEST(SackLoss, OneTailProbe) {
  Script h;
  establish(h, 3);
  h.discard_tx();
  h.after(40_ms);
  ack(h, 1);
  ASSERT_TRUE(h.until_tx(1_s).has_value());
  h.expect_tx({.seq = number(2)});
  const auto waited = h.until_tx(1_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_GE(*waited, 199_ms);
  h.expect_tx({.seq = number(1)});
  EXPECT_EQ(h.info().timeouts, 1u);
}

// (RFC8985-18): the probe is new data where there is some.
TEST(SackLoss, TailProbeWithNewData) {
  Script h;
  send_ten(h);
  ack(h, 1);
  h.discard_tx();
  ASSERT_TRUE(h.until_tx(1_s).has_value());
  h.expect_tx({.seq = number(12), .size = kMss});
  EXPECT_EQ(h.info().retransmits, 0u);
}

// (RFC8985-20, -21): the probe alone has repaired a loss: that is congestion; unless it was reported as a duplicate, or
// drew a plain duplicate ACK.
TEST(SackLoss, WhatTheTailProbeRepaired) {
  enum class Answer { kNothing, kDuplicateReport, kPlainDuplicate };
  for (const Answer answer : {Answer::kNothing, Answer::kDuplicateReport, Answer::kPlainDuplicate}) {
    Script h;
    establish(h, 3);
    h.discard_tx();
    h.after(40_ms);
    ack(h, 2);
    ASSERT_TRUE(h.until_tx(1_s).has_value());
    h.expect_tx({.seq = number(2)});
    const std::uint32_t before = h.info().cwnd;
    ack(h, 3, answer == Answer::kDuplicateReport ? std::vector<Range>{{2, 3}} : std::vector<Range>{});
    if (answer == Answer::kPlainDuplicate) ack(h, 3);
    h.write(std::string(kMss, 'y'));
    h.after(40_ms);
    ack(h, 4);
    if (answer == Answer::kNothing) {
      EXPECT_LT(h.info().cwnd, before);
    } else {
      EXPECT_GE(h.info().cwnd, before);
    }
  }
}

// (RFC6675-14, -15, -16; RFC8985-14; RFC5681-18): after a timeout one segment, then what is not SACKed, in slow start.
TEST(SackLoss, TimeoutKeepsTheScoreboard) {
  ScriptOptions o;
  o.tcp.frto = Switch::kOff;
  Script h(o);
  send_ten(h);
  ack(h, 0, {{1, 2}, {4, 6}});
  h.discard_tx();
  h.after(20_ms);  // the reordering timer: recovery
  h.discard_tx();
  const auto waited = h.until_tx(3_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_GE(*waited + 20_ms, 200_ms);  // since the retransmission
  h.expect_tx({.seq = number(0), .size = kMss});
  h.expect_nothing();
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kLoss);
  EXPECT_EQ(h.info().cwnd, kMss);
  ack(h, 2, {{4, 6}});
  h.expect_tx({.seq = number(2), .size = kMss});
  h.expect_tx({.seq = number(3), .size = kMss});
  h.expect_nothing();
  ack(h, 6);
  h.expect_tx({.seq = number(6), .size = kMss});
}

// (RFC2018-11, -12, -14, -15): a peer that drops what it had SACKed gets it all again.
TEST(SackLoss, Reneging) {
  Script h;
  send_ten(h);
  ack(h, 0, {{1, 10}});
  h.discard_tx();
  ack(h, 1);  // and not 10: the rest is gone
  h.discard_tx();
  std::uint32_t acked = 1;
  for (int i = 0; i < 100 && acked < 30; ++i) {
    h.after(250_ms);
    while (const auto s = h.next_tx()) {
      if (s->seq != number(acked)) continue;
      ++acked;
    }
    ack(h, acked);
  }
  EXPECT_EQ(acked, 30u);
  EXPECT_GT(h.counters().get(Counter::kTcpReneged), 0u);
}

// RFC 3522: the ACK for the hole echoes the timestamp of the first transmission: nothing was lost. Nor does RACK take
// that ACK for one of the retransmission (RFC8985-06): all else would have been sent too long before it.
TEST(SackLoss, UndoByTimestamp) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.undo = on ? Switch::kOn : Switch::kOff;
    Script h(o);
    shake_hands(h,
                {.flags = "S", .seq = 0, .ack = 0, .mss = kMss + 12, .sack_ok = true, .ts = Segment::Timestamps{1, 0}});
    h.write(std::string(30 * kMss, 'x'));
    const std::uint32_t before = h.info().cwnd;
    const Segment first = h.expect_tx({.seq = 1, .size = kMss});
    h.discard_tx();
    h.after(40_ms);
    const Segment::Timestamps ts{2, first.ts->value};
    h.rx({.seq = 1, .ack = 1, .ts = ts, .sack = {{number(1), number(4)}}});
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
    h.after(5_ms);
    h.rx({.seq = 1, .ack = number(4), .ts = ts});
    EXPECT_EQ(h.info().phase, on ? tcp::cc::Phase::kOpen : tcp::cc::Phase::kRecovery);
    if (on) {
      EXPECT_GE(h.info().cwnd, before);
    } else {
      EXPECT_LT(h.info().cwnd, before);
    }
    EXPECT_EQ(h.counters().get(Counter::kTcpUndos), on ? 1u : 0u);
    EXPECT_EQ(h.info().retransmits, 1u);
  }
}

// (RFC2883-04; RFC 3708): all that was sent again is reported as a duplicate.
TEST(SackLoss, UndoByDuplicateReport) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.undo = on ? Switch::kOn : Switch::kOff;
    Script h(o);
    lose_the_first(h);
    const std::uint32_t reduced = h.info().ssthresh;
    ack(h, 12);
    h.after(5_ms);
    ack(h, 12, {{0, 1}});
    if (on) {
      EXPECT_GE(h.info().cwnd, 10 * kMss);
    } else {
      EXPECT_LE(h.info().cwnd, reduced + kMss);
    }
  }
}

// (RFC5682-01, -02, -03, -04, -06): after the timeout the first ACK lets two new segments out, and the second, for what
// was never sent again, shows that nothing was lost.
TEST(SackLoss, Frto) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.frto = on ? Switch::kOn : Switch::kOff;
    o.tcp.tail_probe = Switch::kOff;
    Script h(o);
    send_ten(h);
    ASSERT_TRUE(h.until_tx(2_s).has_value());
    h.expect_tx({.seq = number(0), .size = kMss});
    h.expect_nothing();
    ack(h, 1);
    h.expect_tx({.seq = number(on ? 10 : 1), .size = kMss});
    h.expect_tx({.seq = number(on ? 11 : 2), .size = kMss});
    h.expect_nothing();
    ack(h, 3);
    EXPECT_EQ(h.info().phase, on ? tcp::cc::Phase::kOpen : tcp::cc::Phase::kLoss);
    EXPECT_EQ(h.counters().get(Counter::kTcpSpuriousTimeouts), on ? 1u : 0u);
    if (on) {
      EXPECT_GE(h.info().cwnd, 10 * kMss);  // (RFC5682-07)
      EXPECT_EQ(h.info().retransmits, 1u);
    }
  }
}

// (RFC5682-04, -05): the second ACK brings nothing that was sent before the timeout: the timeout was right.
TEST(SackLoss, FrtoRealLoss) {
  ScriptOptions o;
  o.tcp.tail_probe = Switch::kOff;
  Script h(o);
  send_ten(h);
  ASSERT_TRUE(h.until_tx(2_s).has_value());
  h.expect_tx({.seq = number(0), .size = kMss});
  ack(h, 1);
  h.expect_tx({.seq = number(10), .size = kMss});
  h.expect_tx({.seq = number(11), .size = kMss});
  ack(h, 1, {{10, 11}});
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kLoss);
  h.expect_tx({.seq = number(1), .size = kMss});
  EXPECT_EQ(h.counters().get(Counter::kTcpSpuriousTimeouts), 0u);
}

// S55: blocks that cannot be true say nothing, and the connection goes on.
TEST(SackLoss, NonsenseBlocks) {
  Script h;
  send_ten(h);
  using Block = Segment::Block;
  const Block rows[] = {{number(3), number(3)},     {number(4), number(3)},   {number(3), number(11)},
                        {number(20), number(30)},   {0x80000000, 0x80001000}, {number(2), 0x7fffffff},
                        {0u - 100'000, 0u - 90'000}};
  for (const Block& block : rows) {
    SCOPED_TRACE(block.left);
    h.rx({.seq = 1, .ack = 1, .sack = {block}});
    EXPECT_EQ(h.info().sacked, 0u);
    h.rx({.seq = 1, .ack = 1, .sack = {{number(0) - 1, number(0)}, block}});
    EXPECT_EQ(h.info().sacked, 0u);
  }
  h.expect_nothing();
  EXPECT_GT(h.counters().get(Counter::kTcpSackIgnored), 0u);
  ack(h, 10);
  h.expect_tx({.seq = number(10)});
}

// Without permission SACK blocks have no meaning (RFC2018-02), and NewReno repairs.
TEST(SackLoss, NotAgreed) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss});
  h.write(std::string(30 * kMss, 'x'));
  for (std::uint32_t i = 0; i < 10; ++i) h.expect_tx({.seq = number(i)});
  for (int i = 0; i < 3; ++i) ack(h, 0, {{5, 10}});
  EXPECT_EQ(h.info().sacked, 0u);
  h.expect_tx({.seq = number(10)});
  h.expect_tx({.seq = number(11)});
  h.expect_tx({.seq = number(0)});
  ack(h, 5);
  h.expect_tx({.seq = number(5)});
}

}  // namespace
}  // namespace sluice::test
