// ICMP errors about a connection's segments: path MTU (RFC 1191, RFC 5927 §7) and what is only a hint (RFC 5927 §5,
// RFC 9293 §3.9.2.2).
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1460;
constexpr std::uint8_t kUnreachable = 3;
constexpr std::uint8_t kTooLarge = 4;  // code of the above

void send_segments(Script& h, std::uint32_t count) {
  h.write(std::string(count * kMss, 'x'));
  for (std::uint32_t i = 0; i < count; ++i) h.expect_tx({.size = kMss});
}

// (RFC1191-01, RFC1191-02, RFC9293-MUST-54): a too-big message lowers the MSS, if it quotes data in flight (RFC5927-01,
// S30), and the data is sent again once, however many such messages come (RFC1191-08).
TEST(PathMtu, TooLargeFromTheBeginning) {
  for (const bool sack : {false, true}) {
    Script h;
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = sack});
    send_segments(h, 3);
    for (const std::uint32_t seq : {0u, 1 + 3 * kMss, 1 + 100 * kMss}) {
      h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = seq});
    }
    EXPECT_EQ(h.info().send_mss, kMss);
    h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1});
    EXPECT_EQ(h.info().send_mss, 960u);
    h.expect_tx({.seq = 1, .size = 960});
    h.discard_tx();
    for (std::uint32_t i = 0; i < 3; ++i) {  // about the rest of the burst
      h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1 + i * kMss});
    }
    h.expect_nothing();
    h.rx_icmp(kUnreachable, kTooLarge, 68, {.seq = 1});  // not below 576
    EXPECT_EQ(h.info().send_mss, 536u);
  }
}

// (RFC5927-03): once full segments have arrived the message has to be borne out: by a timeout, not by the next ACK.
TEST(PathMtu, TooLargeAllOfASudden) {
  for (const bool sack : {false, true}) {
    for (const bool arrives : {false, true}) {
      Script h;
      h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = sack});
      send_segments(h, 3);
      h.rx({.seq = 1, .ack = 1 + 3 * kMss});
      send_segments(h, 3);
      h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1 + 3 * kMss});
      EXPECT_EQ(h.info().send_mss, kMss);
      h.expect_nothing();
      if (arrives) h.rx({.seq = 1, .ack = 1 + 4 * kMss});
      const std::uint32_t first = 1 + (arrives ? 4 : 3) * kMss;
      std::optional<Segment> sent;
      while (h.info().timeouts == 0) {
        ASSERT_TRUE(h.until_tx(5_s).has_value());
        while (const auto next = h.next_tx()) sent = next;
      }
      EXPECT_EQ(h.info().send_mss, arrives ? kMss : 960u);
      EXPECT_EQ(sent->seq, first);
      EXPECT_EQ(sent->payload.size(), arrives ? kMss : 960u);
    }
  }
}

// (RFC5927-03): what arrives of the data before the one it quotes says nothing about the message.
TEST(PathMtu, DoubtLastsUntilTheQuotedOneArrives) {
  Script h;
  h.establish();
  send_segments(h, 3);
  h.rx({.seq = 1, .ack = 1 + 3 * kMss});
  send_segments(h, 3);
  h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1 + 5 * kMss});
  h.rx({.seq = 1, .ack = 1 + 5 * kMss});
  EXPECT_EQ(h.info().send_mss, kMss);
  while (h.info().timeouts == 0) {
    ASSERT_TRUE(h.until_tx(5_s).has_value());
    h.discard_tx();
  }
  EXPECT_EQ(h.info().send_mss, 960u);
}

// Small segments say nothing about large ones. And without doubts it is believed at once.
TEST(PathMtu, WhatIsNoReasonForDoubt) {
  for (const bool doubts : {true, false}) {
    ScriptOptions o;
    o.tcp.doubt_path_mtu = doubts ? tcp::Switch::kOn : tcp::Switch::kOff;
    Script h(o);
    h.establish();
    const std::uint32_t small = doubts ? 100 : kMss;
    h.write(std::string(small, 'x'));
    h.expect_tx({.size = small});
    h.rx({.seq = 1, .ack = 1 + small});
    send_segments(h, 1);
    h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1 + small});
    EXPECT_EQ(h.info().send_mss, 960u);
    h.expect_tx({.seq = 1 + small, .size = 960});
  }
}

// (RFC1191-07): after ten minutes larger segments are tried again, and what is in flight then is not sent again.
TEST(PathMtu, RaisedEstimateSendsNothingAgain) {
  ScriptOptions options;
  options.tcp.mtu_probing = tcp::MtuProbing::kOff;  // else a probe goes before them
  Script h(options);
  h.establish();
  send_segments(h, 1);
  h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1});
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1 + kMss});
  h.at(600_s - 50_ms);
  h.write(std::string(20 * kMss, 'x'));
  std::uint32_t end = 0;
  while (const auto s = h.next_tx()) end = s->seq + static_cast<std::uint32_t>(s->payload.size());
  h.at(600_s + 50_ms);
  h.rx({.seq = 1, .ack = 1 + kMss + 960});
  EXPECT_EQ(h.info().send_mss, kMss);
  h.expect_tx({.seq = end, .size = kMss});
  while (const auto s = h.next_tx()) EXPECT_GE(s->seq, end);
  EXPECT_EQ(h.info().timeouts, 0u);
}

// (RFC7323-36): with timestamps, too, nothing is fragmented on the way, and the path's MTU is found.
TEST(PathMtu, BesideTimestamps) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ts = Segment::Timestamps{1, 0}});
  h.write(std::string(2 * kMss, 'x'));
  while (const auto s = h.next_tx()) EXPECT_TRUE(s->dont_fragment);
  h.rx_icmp(kUnreachable, kTooLarge, 1000, {.seq = 1});
  const Segment again = h.expect_tx({.seq = 1, .size = 948, .has_ts = true});
  EXPECT_TRUE(again.dont_fragment);
}

struct ErrorRow {
  std::uint8_t type;
  std::uint8_t code;
  Errno want;
};
constexpr ErrorRow kErrors[] = {
    {3, 0, Errno::kNetworkUnreachable},
    {3, 1, Errno::kHostUnreachable},
    {3, 2, Errno::kNoProtocolOption},
    {3, 3, Errno::kConnectionRefused},
    {11, 0, Errno::kHostUnreachable},
    {11, 1, Errno::kHostUnreachable},
    {4, 0, Errno::kOk},  // source quench (RFC9293-MUST-55)
};

// (RFC9293-MUST-56, RFC5927-02): soft errors, and hard ones on an established connection, abort nothing (S29), which is
// less than RFC 9293 wants of hard ones (RFC9293-SHLD-26, RFC1122-ICMP-14). The user can ask for them (RFC9293-MUST-47,
// -SHLD-25).
TEST(IcmpErrors, AreHints) {
  for (const ErrorRow& row : kErrors) {
    SCOPED_TRACE(int{row.type} * 100 + row.code);
    Script h;
    h.establish();
    h.write("abc");
    h.discard_tx();
    h.rx_icmp(row.type, row.code, 0, {.seq = 4});  // nothing of the kind was sent
    EXPECT_EQ(h.take_error(), Errno::kOk);
    h.rx_icmp(row.type, row.code, 0, {.seq = 1});
    EXPECT_EQ(h.state(), "ESTABLISHED");
    EXPECT_EQ(h.take_error(), row.want);
    EXPECT_EQ(h.take_error(), Errno::kOk);
    h.rx_icmp(row.type, row.code, 0, {.seq = 1});
    h.rx({.seq = 1, .ack = 4, .payload = "fine"});  // what was wrong is over
    EXPECT_EQ(h.take_error(), Errno::kOk);
    EXPECT_EQ(h.read(), "fine");
  }
}

// All the others, too.
TEST(IcmpErrors, NoneAborts) {
  Script h;
  h.establish();
  h.write("abc");
  for (std::uint8_t code = 0; code < 16; ++code) {
    if (code != kTooLarge) h.rx_icmp(kUnreachable, code, 0, {.seq = 1});
  }
  h.rx_icmp(12, 0, 0, {.seq = 1});
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// (RFC9293-MUST-47): whoever gives up says why.
TEST(IcmpErrors, AreTheReasonToGiveUp) {
  for (const ErrorRow& row : kErrors) {
    Script h;
    h.establish();
    h.write("abc");
    h.rx_icmp(row.type, row.code, 0, {.seq = 1});
    h.after(1000_s);
    EXPECT_EQ(h.state(), "CLOSED");
    EXPECT_EQ(h.take_error(), row.want == Errno::kOk ? Errno::kTimedOut : row.want);
    EXPECT_EQ(h.take_error(), Errno::kOk);
  }
}

// A handshake that was completed in spite of an error says nothing of it: connect() has succeeded.
TEST(IcmpErrors, AreForgottenWithTheHandshake) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  h.rx_icmp(kUnreachable, 0, 0, {.seq = 0});
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss});
  EXPECT_EQ(h.state(), "ESTABLISHED");
  EXPECT_EQ(h.take_error(), Errno::kOk);
}

TEST(IcmpErrors, PortUnreachableInSynSent) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  h.rx_icmp(kUnreachable, 3, 0, {.seq = 0});
  EXPECT_EQ(h.take_error(), Errno::kConnectionRefused);
}

}  // namespace
}  // namespace sluice::test
