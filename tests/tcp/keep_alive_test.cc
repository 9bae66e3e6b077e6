// Keep-alive: RFC 9293 §3.8.4.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;

void turn_on(Script& h, int idle, int interval, int count) {
  h.set(Option::kTcpKeepIdle, idle);
  h.set(Option::kTcpKeepInterval, interval);
  h.set(Option::kTcpKeepCount, count);
  h.set(Option::kKeepAlive, 1);
}

// (RFC9293-MAY-5, -MUST-24, -MUST-25, -MUST-27): off unless asked for, after the time that was asked for, with empty
// segments (RFC9293-SHLD-12); the peer is gone when several in a row got no answer (RFC9293-MUST-29).
TEST(KeepAlive, Probes) {
  Script h;
  h.establish();
  h.after(10'000_s);
  h.expect_nothing();
  turn_on(h, 60, 10, 3);
  ASSERT_TRUE(h.until_tx(100_s).has_value());
  h.expect_tx({.flags = "A", .seq = 0, .ack = 1, .size = 0});
  h.rx({.seq = 1, .ack = 1});
  const auto waited = h.until_tx(100_s);
  EXPECT_EQ(waited, 60_s);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(h.state(), "ESTABLISHED");
    h.expect_tx({.flags = "A", .seq = 0});
    h.after(10_s);
  }
  EXPECT_EQ(h.take_error(), Errno::kTimedOut);
}

TEST(KeepAlive, IsSwitchedOffAgain) {
  Script h;
  h.establish();
  turn_on(h, 60, 10, 3);
  h.set(Option::kKeepAlive, 0);
  EXPECT_FALSE(h.until_tx(10'000_s).has_value());
}

// (RFC9293-MUST-28)
TEST(KeepAlive, TwoHoursByDefault) {
  Script h;
  h.establish();
  h.set(Option::kKeepAlive, 1);
  EXPECT_EQ(h.until_tx(10'000_s), 7200_s);
}

// (RFC9293-MUST-26): not while anything is to be acknowledged or sent, nor when something was heard.
TEST(KeepAlive, OnlyWhenIdle) {
  Script h;
  h.establish();
  turn_on(h, 10, 5, 2);
  h.write("abc");  // sent again and again
  h.after(100_s);
  while (const auto s = h.next_tx()) EXPECT_EQ(s->payload, "abc");
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.seq = 1, .ack = 4, .win = 0});
  h.write("def");  // waits for the window, which is probed
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(h.until_tx(100_s).has_value());
    h.expect_tx({.seq = 4, .payload = "d"});
    h.rx({.seq = 1, .ack = 4, .win = 0});
  }
  h.rx({.seq = 1, .ack = 4});
  h.expect_tx({.seq = 4, .payload = "def"});
  h.rx({.seq = 1, .ack = 7});
  h.after(9_s);
  h.rx({.seq = 1, .ack = 7, .payload = "x"});
  h.expect_tx({.flags = "A", .ack = 2});
  EXPECT_EQ(h.until_tx(100_s), 10_s);
  h.expect_tx({.flags = "A", .seq = 6, .size = 0});
  EXPECT_EQ(h.counters().get(Counter::kTcpKeepAlives), 1u);
}

}  // namespace
}  // namespace sluice::test
