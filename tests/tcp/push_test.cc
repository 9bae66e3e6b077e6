// When what is queued goes out, and where PSH stands: bursts, Nagle's rule, TCP_CORK, MSG_MORE. And what the two ends
// of a connection's life take with them: the first round-trip time, timestamps in a RST, data after SHUT_RD.
#include <gtest/gtest.h>

#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;

Errno write_more(Script& h, std::string_view data) {
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  const auto sent = h.stack().sockets().send(h.handle(), std::span(&bytes, 1), nullptr, {.more = true});
  h.after(Duration());
  return sent ? Errno::kOk : sent.error();
}

Segment peer_syn(std::uint16_t mss = 1000) {
  return {.flags = "S", .seq = 0, .ack = 0, .mss = mss};
}

// Segments of 1000 bytes with a window of ten: a burst of more than one ends with PSH.
TEST(Push, EndsEachBurst) {
  struct Row {
    const char* name;
    std::size_t bytes;
    std::string pushed;  // of each segment sent: P or .
  };
  const Row rows[] = {
      {"less than a segment", 700, "P"},           {"one segment and no more", 1000, "P"},
      {"two bursts", 10'000, ".........P"},        {"more than the window", 30'000, ".........P"},
      {"a burst and a short end", 4'500, "....P"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Script h;
    h.establish(peer_syn());
    (void)h.write(std::string(row.bytes, 'x'));
    std::string pushed;
    while (const auto s = h.next_tx()) pushed += s->flags.find('P') != std::string::npos ? 'P' : '.';
    EXPECT_EQ(pushed, row.pushed);
  }
}

// (RFC9293-MAY-16)
TEST(Push, MoreHoldsAShortEndUntilAnAck) {
  Script h;
  h.establish(peer_syn());
  h.set(Option::kTcpNoDelay, 1);
  EXPECT_EQ(h.write("ab"), Errno::kOk);
  h.expect_tx({.flags = "PA", .payload = "ab"});
  EXPECT_EQ(write_more(h, "cd"), Errno::kOk);
  EXPECT_EQ(write_more(h, "ef"), Errno::kOk);
  h.expect_nothing();
  h.rx({.seq = 1, .ack = 3});
  h.expect_tx({.flags = "A", .payload = "cdef"});  // its end is not the end of what the user wants to send
}

TEST(Push, MoreIsOverWithTheNextWrite) {
  Script h;
  h.establish(peer_syn());
  EXPECT_EQ(write_more(h, "ab"), Errno::kOk);
  h.expect_nothing();
  EXPECT_EQ(h.write("cd"), Errno::kOk);
  h.expect_tx({.flags = "PA", .payload = "abcd"});
}

// Setting TCP_NODELAY sends what waits, whatever it waits for, also when it was set before.
TEST(Push, NoDelayReleasesWhatWaits) {
  Script h;
  h.establish(peer_syn());
  h.set(Option::kTcpCork, 1);
  EXPECT_EQ(h.write("ab"), Errno::kOk);
  h.expect_nothing();
  h.set(Option::kTcpNoDelay, 1);
  h.expect_tx({.flags = "PA", .payload = "ab"});
  EXPECT_EQ(h.write("cd"), Errno::kOk);
  h.expect_nothing();  // still corked
  h.set(Option::kTcpNoDelay, 1);
  h.expect_tx({.flags = "PA", .payload = "cd"});
  EXPECT_EQ(write_more(h, "ef"), Errno::kOk);
  h.set(Option::kTcpNoDelay, 1);
  h.expect_tx({.flags = "A", .payload = "ef"});
  h.set(Option::kTcpNoDelay, 1);
  h.expect_nothing();
}

// (RFC6298-04): the handshake is the first measurement for the listening side too; without timestamps here.
TEST(FirstMeasurement, IsTheHandshakeOfAPassiveOpen) {
  Script h;
  h.listen();
  h.rx(peer_syn());
  h.expect_tx({.flags = "SA"});
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  EXPECT_EQ(h.info().srtt, 100_ms);
  EXPECT_EQ(h.write("ab"), Errno::kOk);
  h.expect_tx({.payload = "ab"});
  EXPECT_EQ(h.until_tx(2_s), 300_ms);  // SRTT + 4 * SRTT / 2
}

// (RFC6298-10): Karn: not when it is unknown which of our answers the ACK is for.
TEST(FirstMeasurement, IsNotTakenFromARepeatedAnswer) {
  Script h;
  h.listen();
  h.rx(peer_syn());
  h.expect_tx({.flags = "SA"});
  EXPECT_TRUE(h.until_tx(2_s));
  h.expect_tx({.flags = "SA"});
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  EXPECT_EQ(h.info().srtt, Duration());
}

// (RFC7323-22): a RST carries timestamps where they were agreed, and not where they were not.
TEST(Reset, CarriesTimestamps) {
  for (const bool agreed : {true, false}) {
    SCOPED_TRACE(agreed);
    Script h;
    Segment syn = peer_syn();
    Segment data{.seq = 1, .ack = 1, .payload = "unread"};
    if (agreed) syn.ts = Segment::Timestamps{100, 0};
    h.listen();
    h.rx(syn);
    const Segment answer = h.expect_tx({.flags = "SA", .has_ts = agreed});
    if (agreed) data.ts = Segment::Timestamps{200, answer.ts->value};
    Segment ack = data;
    ack.payload.clear();
    h.rx(ack);
    h.accept();
    h.rx(data);
    h.discard_tx();
    h.close();
    const Segment rst = h.expect_tx({.flags = "RA", .has_ts = agreed});
    if (agreed) {
      EXPECT_EQ(rst.ts->echo, 200u);
    }
  }
}

// As on Linux: what comes after SHUT_RD can be read, and close() with it unread resets.
TEST(ShutdownRead, LeavesWhatComesReadable) {
  Script h;
  h.establish();
  EXPECT_TRUE(h.stack().sockets().shutdown(h.handle(), socket::Shutdown::kRead));
  EXPECT_TRUE(h.at_eof());
  h.rx({.seq = 1, .ack = 1, .payload = "late"});
  h.expect_tx({.flags = "A", .ack = 5});
  EXPECT_EQ(h.read(), "late");
  EXPECT_TRUE(h.at_eof());
  h.rx({.seq = 5, .ack = 1, .payload = "x"});
  h.discard_tx();
  h.close();
  h.expect_tx({.flags = "RA"});
}

}  // namespace
}  // namespace sluice::test
