// Data transfer: acknowledgements, windows, Nagle, probes. RFC 9293 §3.7, §3.8, §3.10.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

// (RFC9293-RECV-01, RFC9293-MUST-61)
TEST(Data, BothWays) {
  Script h;
  h.establish();
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "abc"});
  h.expect_tx({.flags = "A", .ack = 4});
  EXPECT_EQ(h.read(), "abc");
  EXPECT_EQ(h.write("hello"), Errno::kOk);
  h.expect_tx({.flags = "PA", .seq = 1, .ack = 4, .payload = "hello"});
  h.rx({.seq = 4, .ack = 6});
  h.expect_nothing();
  EXPECT_EQ(h.info().send_queued, 0u);
}

// (RFC9293-SHLD-18, RFC9293-SHLD-19, RFC9293-MUST-40, RFC5681-33, -34, -35)
TEST(Data, DelayedAck) {
  ScriptOptions o;
  o.tcp.quick_acks = 0;
  Script h(o);
  h.establish();
  h.rx({.seq = 1, .ack = 1, .payload = "abc"});
  h.expect_nothing();
  const auto waited = h.until_tx(1_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_EQ(waited->to_millis(), 40);
  h.expect_tx({.flags = "A", .ack = 4});
  const std::string full(1460, 'x');
  h.rx({.seq = 4, .ack = 1, .payload = full});
  h.expect_nothing();
  h.rx({.seq = 1464, .ack = 1, .payload = full});
  h.expect_tx({.flags = "A", .ack = 2924});
}

// (RFC9293-SHLD-31, RFC9293-MAY-13, RFC5681-19, RFC5681-20): duplicate ACKs at once, then one for all.
TEST(Data, OutOfOrder) {
  Script h;
  h.establish();
  h.rx({.seq = 4, .ack = 1, .payload = "def"});
  h.expect_tx({.flags = "A", .ack = 1});
  h.rx({.seq = 10, .ack = 1, .payload = "jkl"});
  h.expect_tx({.flags = "A", .ack = 1});
  EXPECT_EQ(h.read(), "");
  h.rx({.seq = 1, .ack = 1, .payload = "abc"});
  h.expect_tx({.flags = "A", .ack = 7});
  EXPECT_EQ(h.read(), "abcdef");
  h.rx({.seq = 7, .ack = 1, .payload = "ghi"});
  h.expect_tx({.flags = "A", .ack = 13});
  EXPECT_EQ(h.read(), "ghijkl");
}

// (RFC9293-SEG-01): overlaps are trimmed, what came first stays (S52).
TEST(Data, OverlapKeepsFirst) {
  Script h;
  h.establish();
  h.rx({.seq = 3, .ack = 1, .payload = "cd"});
  h.rx({.seq = 1, .ack = 1, .payload = "ABXX"});
  EXPECT_EQ(h.read(), "ABcd");
}

// (RFC9293-SEQ-02, RFC9293-RST-04): outside the window only an ACK comes back.
TEST(Data, OutsideTheWindow) {
  Script h;
  h.establish();
  h.rx({.seq = 1 + (8u << 20), .ack = 1, .payload = "far"});
  h.expect_tx({.flags = "A", .ack = 1});
  h.rx({.seq = 0, .ack = 1, .payload = "x"});  // a keep-alive with an old byte
  h.expect_tx({.flags = "A", .ack = 1});
  EXPECT_EQ(h.read(), "");
}

// (RFC9293-SHLD-7, RFC9293-MUST-17): what waits goes as one segment (RFC9293-SHLD-27).
TEST(Data, Nagle) {
  Script h;
  h.establish();
  h.write("a");
  h.expect_tx({.payload = "a"});
  h.write("b");
  h.write("c");
  h.expect_nothing();
  h.rx({.seq = 1, .ack = 2});
  h.expect_tx({.seq = 2, .payload = "bc"});
  h.set(socket::Option::kTcpNoDelay, 1);
  h.write("d");
  h.expect_tx({.seq = 4, .payload = "d"});
}

// A short end does not wait for full segments, only for a short one.
TEST(Data, NagleAsMinshallHasIt) {
  for (const bool on : {false, true}) {
    ScriptOptions o;
    o.tcp.minshall = on ? tcp::Switch::kOn : tcp::Switch::kOff;
    Script h(o);
    h.establish();
    h.write(std::string(1460, 'x'));
    h.expect_tx({.size = 1460});
    h.write("ab");
    if (on) h.expect_tx({.seq = 1461, .payload = "ab"});
    h.write("cd");
    h.expect_nothing();
    h.rx({.seq = 1, .ack = 1461});
    if (on) h.expect_nothing();
    if (on) h.rx({.seq = 1, .ack = 1463});
    h.expect_tx({.payload = on ? "cd" : "abcd"});
  }
}

// (RFC9293-SHLD-28, RFC5681-01, RFC5681-03): full segments, as many as the initial window of ten (RFC6928-01).
TEST(Data, InitialWindow) {
  Script h;
  h.establish();
  h.write(std::string(100'000, 'x'));
  for (std::uint32_t i = 0; i < 10; ++i) h.expect_tx({.seq = 1 + i * 1460, .size = 1460});
  h.expect_nothing();
  h.rx({.seq = 1, .ack = 1 + 1460});
  h.expect_tx({.seq = 1 + 10 * 1460, .size = 1460});
  h.expect_tx({.seq = 1 + 11 * 1460, .size = 1460});
  h.expect_nothing();
}

// (RFC9293-MUST-36, RFC9293-MUST-37, RFC9293-SHLD-29, RFC9293-SHLD-30, RFC9293-MAY-8)
TEST(Data, ZeroWindowIsProbed) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 4, .mss = 1460});
  h.write("abcdef");
  h.expect_tx({.seq = 1, .payload = "abcd"});  // no less than half of the largest window
  h.rx({.seq = 1, .ack = 5, .win = 0});
  h.expect_nothing();
  Duration last;
  for (int i = 0; i < 12; ++i) {
    const auto waited = h.until_tx(100_s);
    ASSERT_TRUE(waited.has_value());
    EXPECT_GE(*waited, last) << i;
    EXPECT_GE(waited->to_millis(), std::min<std::int64_t>(2 * last.to_millis() - 2, 59'999)) << i;
    last = *waited;
    h.expect_tx({.seq = 5, .payload = "e"});
    h.rx({.seq = 1, .ack = 5, .win = 0});
  }
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.seq = 1, .ack = 5, .win = 1000});
  h.expect_tx({.seq = 5, .payload = "ef"});
}

// (RFC9293-MUST-34, RFC9293-SHLD-15, RFC9293-MUST-35): the window shrinks under data in flight (H01).
TEST(Data, WindowShrinks) {
  Script h;
  h.establish();
  h.write(std::string(5 * 1460, 'x'));
  for (int i = 0; i < 5; ++i) h.expect_tx({.size = 1460});
  h.rx({.seq = 1, .ack = 1 + 1460, .win = 0});
  h.write("more");
  h.expect_nothing();
  const auto waited = h.until_tx(5_s);
  ASSERT_TRUE(waited.has_value());
  h.expect_tx({.seq = 1 + 1460});
  h.rx({.seq = 1, .ack = 1 + 5 * 1460, .win = 65535});
  h.expect_tx({.seq = 1 + 5 * 1460, .payload = "more"});
}

// (RFC9293-SHLD-14, RFC9293-MUST-39, RFC9293-SWS-02): the offered edge never moves back, and moves in worthwhile steps.
TEST(Data, ReceiveWindow) {
  ScriptOptions o;
  o.tcp.receive_buffer = 8000;
  o.tcp.quick_acks = 0;
  Script h(o);
  h.establish();
  std::uint32_t seq = 1;
  std::uint32_t edge = 0;
  for (int i = 0; i < 5; ++i) {
    h.rx({.seq = seq, .ack = 1, .payload = std::string(1460, 'x')});
    seq += 1460;
    h.after(50_ms);
    while (const auto ack = h.next_tx()) {
      EXPECT_GE(ack->ack + ack->win, edge);
      edge = ack->ack + ack->win;
    }
  }
  EXPECT_EQ(h.read(100).size(), 100u);
  h.expect_nothing();  // a hundred bytes are not worth an update
  EXPECT_EQ(h.read().size(), 5u * 1460 - 100);
  const Segment update = h.expect_tx({.flags = "A", .ack = seq});
  EXPECT_EQ(update.win, 8000u);
}

// (RFC9293-SEG-02, RFC9293-MUST-66): into a closed window, ACK and RST still count.
TEST(Data, ClosedWindowTakesAck) {
  ScriptOptions o;
  o.tcp.receive_buffer = 4096;
  Script h(o);
  h.establish();
  h.write("abc");
  h.expect_tx({.payload = "abc"});
  h.rx({.seq = 1, .ack = 1, .payload = std::string(1460, 'x')});
  h.rx({.seq = 1461, .ack = 1, .payload = std::string(1460, 'x')});
  h.rx({.seq = 2921, .ack = 1, .payload = std::string(1176, 'x')});
  h.discard_tx();
  EXPECT_EQ(h.info().rcv_wnd, 0u);
  h.rx({.seq = 4097, .ack = 4, .payload = "more"});
  h.expect_tx({.flags = "A", .ack = 4097, .win = 0});
  EXPECT_EQ(h.info().send_queued, 0u);
  h.rx({.flags = "R", .seq = 4097, .ack = 0});
  EXPECT_EQ(h.take_error(), Errno::kConnectionReset);
}

// (RFC9293-SEG-04, RFC9293-MAY-12, RFC5961-08, -09): ACKs outside [SND.UNA - MAX.SND.WND, SND.NXT] draw a challenge
// (S44).
TEST(Data, AckOutOfRange) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 100, .payload = "bad"});
  h.expect_tx({.flags = "A", .ack = 1});
  h.rx({.seq = 1, .ack = 1u - 70'000, .payload = "bad"});
  h.expect_tx({.flags = "A", .ack = 1});
  EXPECT_EQ(h.read(), "");
}

// (RFC9293-SEG-03)
TEST(Data, NoAckBit) {
  Script h;
  h.establish();
  h.rx({.flags = "P", .seq = 1, .ack = 0, .payload = "abc"});
  h.expect_nothing();
  EXPECT_EQ(h.read(), "");
}

// (RFC9293-MUST-3), (RFC9293-HDR-02): reserved bits are ignored.
TEST(Data, ChecksumAndReservedBits) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 1, .payload = "bad", .bad_checksum = true});
  h.expect_nothing();
  EXPECT_EQ(h.counters().get(Drop::kTcpChecksum), 1u);
  h.rx({.seq = 1, .ack = 1, .payload = "good", .reserved = 0xf});
  EXPECT_EQ(h.read(), "good");
}

// (RFC7323-19, RFC7323-20, RFC7323-21, RFC7323-29, RFC7323-31): timestamps once agreed, PAWS, RST exempt.
TEST(Data, Timestamps) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Segment::Timestamps{1000, 0}});
  h.rx({.seq = 1, .ack = 1, .payload = "no"});
  h.expect_nothing();
  EXPECT_EQ(h.counters().get(Drop::kTcpNoTimestamp), 1u);
  h.rx({.seq = 1, .ack = 1, .payload = "old", .ts = Segment::Timestamps{999, 0}});
  h.expect_tx({.flags = "A", .ack = 1, .ts_echo = 1000});
  h.rx({.seq = 1, .ack = 1, .payload = "new", .ts = Segment::Timestamps{1001, 0}});
  h.expect_tx({.flags = "A", .ack = 4, .ts_echo = 1001});
  EXPECT_EQ(h.read(), "new");
  h.rx({.flags = "R", .seq = 4, .ack = 0, .ts = Segment::Timestamps{5, 0}});
  EXPECT_EQ(h.take_error(), Errno::kConnectionReset);
}

// (RFC7323-26, RFC7323-27): a later segment beyond a hole does not change what is echoed (S47).
TEST(Data, TimestampOfHole) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Segment::Timestamps{1000, 0}});
  h.rx({.seq = 4, .ack = 1, .payload = "def", .ts = Segment::Timestamps{2000, 0}});
  h.expect_tx({.ack = 1, .ts_echo = 1000});
  h.rx({.seq = 1, .ack = 1, .payload = "abc", .ts = Segment::Timestamps{1500, 0}});  // (RFC7323-28)
  h.expect_tx({.ack = 7, .ts_echo = 1500});
}

// (RFC5961-10, -12): challenge ACKs are limited, each connection for itself (S45, S46); number and time can be chosen
// (RFC5961-11).
TEST(Data, ChallengeAcksAreLimited) {
  Script h;
  h.establish();
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    h.rx({.flags = "S", .seq = 5, .ack = 0});
    while (h.next_tx()) ++answers;
  }
  EXPECT_EQ(answers, 10);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = 41000});
  const Segment other = h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = other.seq + 1, .src_port = 41000});
  h.rx({.flags = "S", .seq = 5, .ack = 0, .src_port = 41000});
  EXPECT_EQ(h.expect_tx({.flags = "A"}).dst_port, 41000);
}

TEST(Data, ChallengeAckLimitIsChosen) {
  ScriptOptions o;
  o.tcp.challenge_acks = 3;
  o.tcp.challenge_interval = 1_s;
  Script h(o);
  h.establish();
  for (int second = 0; second < 3; ++second) {
    int answers = 0;
    for (int i = 0; i < 10; ++i) h.rx({.flags = "S", .seq = 5, .ack = 0});
    while (h.next_tx()) ++answers;
    EXPECT_EQ(answers, 3);
    h.after(1_s);
  }
}

// (RFC9293-MUST-59): all that came in one batch is dealt with, then one ACK says so.
TEST(Data, OneAckForABatch) {
  Script h;
  h.establish();
  std::vector<Segment> batch;
  for (std::uint32_t i = 0; i < 6; ++i)
    batch.push_back({.seq = 1 + i * 100, .ack = 1, .payload = std::string(100, 'x')});
  h.rx_together(batch);
  h.expect_tx({.flags = "A", .ack = 601, .size = 0});
  h.expect_nothing();
}

// (RFC9293-SEG-13)
TEST(Data, AckRidesOnData) {
  Script h;
  h.establish();
  h.set(socket::Option::kTcpQuickAck, 0);
  h.rx({.seq = 1, .ack = 1, .payload = "question"});
  h.write("answer");
  h.expect_tx({.ack = 9, .payload = "answer"});
  h.rx({.seq = 9, .ack = 7});
  EXPECT_FALSE(h.until_tx(10_s).has_value());
}

// (RFC9293-SHLD-17): the window has shrunk onto what is in flight. As long as the peer answers probes it is waited for,
// however long.
TEST(Data, ShrunkWindowIsNoReasonToGiveUp) {
  Script h;
  h.establish();
  h.write(std::string(5 * 1460, 'x'));
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1 + 1460, .win = 0});
  while (h.elapsed() < tcp::TcpConfig{}.r2 * 2) {
    ASSERT_TRUE(h.until_tx(100_s).has_value());
    h.discard_tx();
    h.rx({.seq = 1, .ack = 1 + 1460, .win = 0});
  }
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.seq = 1, .ack = 1 + 1460});
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1 + 5 * 1460});
  EXPECT_EQ(h.info().send_queued, 0u);
}

// The connection's own address is taken away: nothing is sent from it, new data or old. When it is back within the time
// of retransmissions, all goes on.
TEST(Data, WithoutItsAddressItIsSilent) {
  Script h;
  h.establish();
  const wire::Ipv4Address ours{kOurAddress};
  EXPECT_EQ(h.write("before"), Errno::kOk);
  h.expect_tx({.seq = 1, .payload = "before"});
  ASSERT_TRUE(h.stack().ip().remove_address(h.interface(), ours).has_value());
  h.rx({.seq = 1, .ack = 7});
  EXPECT_EQ(h.write("while"), Errno::kOk);
  h.after(5_s);
  h.expect_nothing();
  EXPECT_EQ(h.state(), "ESTABLISHED");
  ASSERT_TRUE(h.stack().ip().add_address(h.interface(), {ours, 24}).has_value());
  ASSERT_TRUE(h.until_tx(30_s).has_value());
  h.expect_tx({.seq = 1, .payload = "before"});
  h.rx({.seq = 1, .ack = 7});
  h.expect_tx({.seq = 7, .payload = "while"});
}

// What is sent after the link's MTU has changed fits it.
TEST(Data, AnotherMtuOfTheLink) {
  Script h;
  h.establish();
  ASSERT_TRUE(h.stack().ip().set_mtu(h.interface(), 600).has_value());
  EXPECT_EQ(h.write(std::string(1000, 'x')), Errno::kOk);
  h.expect_tx({.seq = 1, .size = 560});
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1001});
  ASSERT_TRUE(h.stack().ip().set_mtu(h.interface(), 1500).has_value());
  EXPECT_EQ(h.write(std::string(2000, 'y')), Errno::kOk);
  h.expect_tx({.seq = 1001, .size = 1460});
}

}  // namespace
}  // namespace sluice::test
