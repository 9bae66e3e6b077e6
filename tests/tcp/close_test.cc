// Closing: RFC 9293 §3.6, §3.10.4, §3.10.5; RFC 5961; TIME-WAIT.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

// (RFC9293-CLOSE-02, RFC9293-SEG-06, RFC9293-MUST-13, RFC9293-TMO-03)
TEST(Close, ActiveClose) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1, .ack = 1});
  EXPECT_EQ(h.state(), "FIN-WAIT-1");
  h.rx({.seq = 1, .ack = 2});
  EXPECT_EQ(h.state(), "FIN-WAIT-2");
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
  h.after(59_s);
  EXPECT_EQ(h.state(), "TIME-WAIT");
  h.after(2_s);
  EXPECT_EQ(h.state(), "CLOSED");
}

// (RFC9293-CLOSE-04, RFC9293-SEND-03, RFC9293-MUST-12)
TEST(Close, PassiveClose) {
  Script h;
  h.establish();
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.expect_tx({.flags = "A", .ack = 2});
  EXPECT_EQ(h.state(), "CLOSE-WAIT");
  EXPECT_TRUE(h.at_eof());
  EXPECT_EQ(h.write("bye"), Errno::kOk);
  h.expect_tx({.payload = "bye"});
  h.rx({.seq = 2, .ack = 4});
  h.close();
  h.expect_tx({.flags = "FA", .seq = 4, .ack = 2});
  EXPECT_EQ(h.state(), "LAST-ACK");
  h.rx({.seq = 2, .ack = 5});
  EXPECT_EQ(h.state(), "CLOSED");
}

// (RFC9293-CLOSE-05, RFC9293-SEG-10)
TEST(Close, SimultaneousClose) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "CLOSING");
  h.rx({.seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// (RFC9293-SEG-10): the peer's FIN acknowledges ours.
TEST(Close, FinAcknowledgesFin) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// (RFC9293-RECV-02): half-close: reading goes on.
TEST(Close, HalfClose) {
  Script h;
  h.establish();
  h.shutdown_write();
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.seq = 1, .ack = 2, .payload = "abc"});
  h.expect_tx({.flags = "A", .ack = 4});
  EXPECT_EQ(h.read(), "abc");
  EXPECT_EQ(h.write("x"), Errno::kPipe);  // (RFC9293-SEND-02)
  h.rx({.flags = "FA", .seq = 4, .ack = 2});
  h.expect_tx({.flags = "A", .ack = 5});
  EXPECT_TRUE(h.at_eof());
}

// (RFC9293-SEG-09): FIN ahead of missing data waits for it (S63).
TEST(Close, FinOutOfOrder) {
  Script h;
  h.establish();
  h.rx({.flags = "FA", .seq = 4, .ack = 1, .payload = "def"});
  h.expect_tx({.flags = "A", .ack = 1});
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.seq = 1, .ack = 1, .payload = "abc"});
  h.expect_tx({.flags = "A", .ack = 8});
  EXPECT_EQ(h.state(), "CLOSE-WAIT");
  EXPECT_EQ(h.read(), "abcdef");
  EXPECT_TRUE(h.at_eof());
}

// (RFC9293-SEG-08): data after the FIN is not delivered.
TEST(Close, DataAfterFin) {
  Script h;
  h.establish();
  h.rx({.flags = "FA", .seq = 1, .ack = 1, .payload = "end"});
  h.discard_tx();
  h.rx({.seq = 5, .ack = 1, .payload = "more"});
  EXPECT_EQ(h.read(), "end");
  EXPECT_TRUE(h.at_eof());
}

// (RFC9293-CLOSE-03, RFC6298-17): the FIN is retransmitted, a second is never sent (H14).
TEST(Close, FinIsRetransmitted) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1});
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.expect_tx({.flags = "A", .seq = 2});
  ASSERT_TRUE(h.until_tx(10_s).has_value());
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// (RFC9293-SEG-07): a repeated FIN in TIME-WAIT is acknowledged and starts the time again.
TEST(Close, TimeWait) {
  Script h;
  h.establish();
  h.close();
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.discard_tx();
  h.after(50_s);
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  h.rx({.flags = "R", .seq = 2, .ack = 0});  // RFC 1337: not assassinated
  h.after(30_s);
  EXPECT_EQ(h.state(), "TIME-WAIT");
  h.after(31_s);
  EXPECT_EQ(h.state(), "CLOSED");
}

// (RFC5961-06, -10): in TIME-WAIT, too, a SYN that opens nothing is challenged, and not for ever; a FIN always has its
// ACK.
TEST(Close, TimeWaitChallenges) {
  Script h;
  h.establish();
  h.close();
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.discard_tx();
  for (const char* flags : {"S", "SA", "SF", "S"}) {
    h.rx({.flags = flags, .seq = 1, .ack = 0});
    h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  }
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    h.rx({.flags = "S", .seq = 1, .ack = 0});
    while (h.next_tx()) ++answers;
  }
  EXPECT_EQ(answers, 6);
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// (RFC9293-SHLD-3): unread data, or data that nobody will read.
TEST(Close, UnreadDataResets) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 1, .payload = "unread"});
  h.discard_tx();
  h.close();
  h.expect_tx({.flags = "RA", .seq = 1});
  EXPECT_EQ(h.state(), "CLOSED");
}
// (RFC9293-MAY-1): whoever has closed does not read on.
TEST(Close, DataAfterCloseResets) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA"});
  h.rx({.seq = 1, .ack = 2, .payload = "late"});
  h.expect_tx({.flags = "R", .seq = 2});
  EXPECT_EQ(h.state(), "CLOSED");
}

// The FIN is lost: a RST behind it would not be the number the peer expects, and only be challenged (RFC5961-03).
TEST(Close, DataAfterCloseResetsWithTheNumberThatIsExpected) {
  Script h;
  h.establish();
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.seq = 1, .ack = 1, .payload = "late"});
  h.expect_tx({.flags = "R", .seq = 1});
}

// FIN-WAIT-2 ends after a time when nobody holds the socket any more (S58).
TEST(Close, FinWait2Ends) {
  Script h;
  h.establish();
  h.close();
  h.rx({.seq = 1, .ack = 2});
  EXPECT_EQ(h.state(), "FIN-WAIT-2");
  h.after(61_s);
  EXPECT_EQ(h.state(), "CLOSED");
}

// (RFC9293-RST-05, RFC9293-SEG-12; RFC5961-01, -02, -03, -04): exact resets, in the window challenges, outside nothing.
TEST(Close, Rst) {
  Script h;
  h.establish();
  h.rx({.flags = "R", .seq = 2, .ack = 0});
  h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
  h.rx({.flags = "R", .seq = 1u - 1, .ack = 0});
  h.rx({.flags = "R", .seq = 1 + (8u << 20), .ack = 0});
  h.expect_nothing();
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.flags = "R", .seq = 1, .ack = 0, .payload = "why"});  // (RFC9293-SHLD-2)
  EXPECT_EQ(h.state(), "CLOSED");
  EXPECT_EQ(h.take_error(), Errno::kConnectionReset);
  h.expect_nothing();
}

// (RFC5961-06): a SYN never resets a synchronised connection (S43). (RFC5961-07): a peer that has begun anew answers
// the challenge by a reset at the number it names, and that ends the connection.
TEST(Close, SynInEstablished) {
  Script h;
  h.establish();
  for (const std::uint32_t seq : {0u, 1u, 5u, 1u << 24}) {
    h.rx({.flags = "S", .seq = seq, .ack = 0});
    const Segment challenge = h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
    EXPECT_EQ(h.state(), "ESTABLISHED");
    if (seq == 1u << 24) h.rx({.flags = "R", .seq = challenge.ack, .ack = 0});
  }
  EXPECT_EQ(h.state(), "CLOSED");
  EXPECT_EQ(h.take_error(), Errno::kConnectionReset);
}

// A FIN into a closed window is repeated like a probe.
TEST(Close, FinIntoClosedWindow) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 1, .win = 0});
  h.close();
  h.expect_tx({.flags = "FA", .seq = 1});
  ASSERT_TRUE(h.until_tx(10_s).has_value());
  h.expect_tx({.flags = "FA", .seq = 1, .size = 0});
  h.rx({.flags = "FA", .seq = 1, .ack = 2, .win = 0});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// (RFC9293-TMO-01, RFC9293-SHLD-11): the user timeout.
TEST(Close, UserTimeout) {
  Script h;
  h.establish();
  h.set(socket::Option::kTcpUserTimeout, 5000);
  h.write("abc");
  h.after(20_s);
  EXPECT_EQ(h.state(), "CLOSED");
  EXPECT_EQ(h.take_error(), Errno::kTimedOut);
}

// (RFC9293-ABORT-02): where both have closed an abort says nothing, and nothing is left of the connection.
TEST(Close, AbortAfterBothHaveClosed) {
  struct Row {
    const char* state;
    void (*reach)(Script& h);
  };
  const Row rows[] = {
      {"CLOSING",
       [](Script& h) {
         h.shutdown_write();
         h.rx({.flags = "FA", .seq = 1, .ack = 1});
       }},
      {"LAST-ACK",
       [](Script& h) {
         h.rx({.flags = "FA", .seq = 1, .ack = 1});
         h.shutdown_write();
       }},
      {"TIME-WAIT",
       [](Script& h) {
         h.shutdown_write();
         h.rx({.flags = "FA", .seq = 1, .ack = 2});
       }},
  };
  for (const Row& row : rows) {
    Script h;
    h.establish();
    h.set(socket::Option::kLinger, 0);
    row.reach(h);
    h.discard_tx();
    EXPECT_EQ(h.state(), row.state);
    h.close();
    h.expect_nothing();
    EXPECT_EQ(h.state(), "CLOSED");
  }
}

}  // namespace
}  // namespace sluice::test
