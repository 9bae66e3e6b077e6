// Loss: retransmission timeout (RFC 6298), fast retransmit and recovery (RFC 5681, RFC 6582), limited transmit (RFC
// 3042).
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1460;

// (RFC6298-01, -13, -14, -17, -18, -19; RFC8961-01; RFC9293-TMO-02, -MUST-19): doubling, and never sooner.
TEST(Loss, Timeout) {
  Script h;
  h.establish();
  h.write("abc");
  h.expect_tx({.seq = 1, .payload = "abc"});
  int want = 0;
  for (const int step : {200, 400, 800, 1600}) {
    const auto waited = h.until_tx(100_s);
    ASSERT_TRUE(waited.has_value());
    want = step;
    EXPECT_GE(waited->to_millis(), want) << "not sooner than one RTO";
    h.expect_tx({.seq = 1, .payload = "abc"});
  }
  h.rx({.seq = 1, .ack = 4});
  h.expect_nothing();
  EXPECT_FALSE(h.until_tx(100_s).has_value());  // (RFC6298-15): the timer is off
}

// (RFC5681-18, RFC9293-MUST-19): after a timeout one segment, then slow start.
TEST(Loss, TimeoutReducesWindow) {
  Script h;
  h.establish();
  h.write(std::string(20 * kMss, 'x'));
  for (int i = 0; i < 10; ++i) h.expect_tx({.size = kMss});
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1, .size = kMss});
  h.expect_nothing();
  EXPECT_EQ(h.info().cwnd, kMss);
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);  // (RFC5681-16)
  h.rx({.seq = 1, .ack = 1 + kMss});
  h.expect_tx({.seq = 1 + kMss, .size = kMss});
  h.expect_tx({.seq = 1 + 2 * kMss, .size = kMss});
  h.expect_nothing();
}

// (RFC5681-21, -23, -26, -27, -28, -30, -31): limited transmit, fast retransmit, inflation, deflation.
TEST(Loss, FastRetransmit) {
  Script h;
  h.establish();
  h.write(std::string(40 * kMss, 'x'));
  for (int i = 0; i < 10; ++i) h.expect_tx({.size = kMss});
  h.rx({.seq = 1, .ack = 1});  // duplicates of the first ACK
  h.expect_tx({.seq = 1 + 10 * kMss, .size = kMss});
  h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.seq = 1 + 11 * kMss, .size = kMss});
  EXPECT_EQ(h.info().cwnd, 10 * kMss);  // (RFC5681-24)
  h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.seq = 1, .size = kMss});
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);
  EXPECT_EQ(h.info().cwnd, 8 * kMss);
  for (int i = 0; i < 4; ++i) h.rx({.seq = 1, .ack = 1});
  h.expect_nothing();  // 12 segments are out, the window is 12
  h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.seq = 1 + 12 * kMss, .size = kMss});
  h.rx({.seq = 1, .ack = 1 + 12 * kMss});
  EXPECT_LE(h.info().cwnd, 5 * kMss);
}

// (RFC6582-05): a partial ACK retransmits the next hole at once.
TEST(Loss, PartialAck) {
  Script h;
  h.establish();
  h.write(std::string(10 * kMss, 'x'));
  for (int i = 0; i < 10; ++i) h.expect_tx({.size = kMss});
  for (int i = 0; i < 3; ++i) h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.seq = 1, .size = kMss});
  h.rx({.seq = 1, .ack = 1 + 4 * kMss});
  h.expect_tx({.seq = 1 + 4 * kMss, .size = kMss});
  h.rx({.seq = 1, .ack = 1 + 10 * kMss});
  h.expect_nothing();
  EXPECT_EQ(h.info().timeouts, 0u);
}

// (RFC5681-22): what is no duplicate ACK does not count.
TEST(Loss, NotDuplicates) {
  Script h;
  h.establish();
  h.write(std::string(5 * kMss, 'x'));
  h.discard_tx();
  for (std::uint32_t i = 1; i < 6; ++i) h.rx({.seq = 1, .ack = 1, .win = 65535 - i});  // window updates
  h.rx({.seq = 1, .ack = 1, .win = 65530, .payload = "abc"});                          // data
  h.discard_tx();
  EXPECT_EQ(h.info().retransmits, 0u);
}

// (RFC6298-10): Karn's rule: the sample comes from the timestamp or not at all.
TEST(Loss, Karn) {
  Script h;
  h.establish();
  h.write("abc");
  h.discard_tx();
  const Duration before = h.info().srtt;
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.discard_tx();
  h.after(10_ms);
  h.rx({.seq = 1, .ack = 4});
  EXPECT_EQ(h.info().srtt, before);
}

// (RFC6582-04): when all is repaired at once no burst of half the window follows.
TEST(Loss, NoBurstAfterRecovery) {
  Script h;
  h.establish();
  h.write(std::string(40 * kMss, 'x'));
  for (int i = 0; i < 10; ++i) h.expect_tx({.size = kMss});
  for (int i = 0; i < 3; ++i) h.rx({.seq = 1, .ack = 1});
  h.discard_tx();
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);
  h.rx({.seq = 1, .ack = 1 + 12 * kMss});  // with what limited transmit has sent
  for (int i = 0; i < 2; ++i) h.expect_tx({.size = kMss});
  h.expect_nothing();
}

}  // namespace
}  // namespace sluice::test
