// How much may be in flight, and when something is sent again: RFC 5681, RFC 6582, RFC 6298 by script.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1460;

// Takes what was sent; the number of segments with data.
std::uint32_t sent_now(Script& h) {
  std::uint32_t n = 0;
  while (const auto s = h.next_tx()) n += s->payload.empty() ? 0 : 1;
  return n;
}

// (RFC5681-04): two, three or four segments by their size, where that is chosen (RFC6928-06).
TEST(Congestion, InitialWindowOfRfc5681) {
  struct Row {
    std::uint16_t mss;
    std::uint32_t segments;
  };
  for (const Row& row : {Row{536, 4}, Row{1095, 4}, Row{1096, 3}, Row{2190, 3}, Row{2191, 2}, Row{8960, 2}}) {
    ScriptOptions o{.mtu = 9000};
    o.tcp.initial_window_10 = tcp::Switch::kOff;
    Script h(o);
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = row.mss});
    h.write(std::string(100'000, 'x'));
    for (std::uint32_t i = 0; i < row.segments; ++i) h.expect_tx({.size = row.mss});
    h.expect_nothing();
  }
}

// (RFC6928-01): ten segments, fewer when they are large.
TEST(Congestion, InitialWindowOfRfc6928) {
  struct Row {
    std::uint16_t mss;
    std::uint32_t bytes;
  };
  for (const Row& row : {Row{536, 5360}, Row{1460, 14600}, Row{2000, 14600}, Row{8000, 16000}}) {
    Script h({.mtu = 9000});
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = row.mss});
    EXPECT_EQ(h.info().cwnd, row.bytes);
  }
}

// (RFC5681-05): the handshake's own segments do not enlarge it.
TEST(Congestion, InitialWindowAndTheHandshake) {
  Script passive;
  passive.establish();
  EXPECT_EQ(passive.info().cwnd, 10 * kMss);
  Script active;
  active.establish_active();
  EXPECT_EQ(active.info().cwnd, 10 * kMss);
}

// (RFC5681-06): one segment when a segment of the handshake was lost. (RFC6928-02): of ten, when it was lost twice.
TEST(Congestion, InitialWindowAfterALostHandshake) {
  struct Row {
    tcp::Switch ten;
    int losses;
    std::uint32_t want;
  };
  for (const Row& row : {Row{tcp::Switch::kOn, 1, 10 * kMss}, Row{tcp::Switch::kOn, 2, kMss},
                         Row{tcp::Switch::kOff, 0, 3 * kMss}, Row{tcp::Switch::kOff, 1, kMss}}) {
    SCOPED_TRACE(row.losses);
    ScriptOptions o;
    o.tcp.initial_window_10 = row.ten;
    Script passive(o);
    passive.listen();
    passive.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss});
    Script active(o);
    active.connect();
    for (int i = 0; i < row.losses; ++i) {
      passive.expect_tx({.flags = "SA"});
      ASSERT_TRUE(passive.until_tx(5_s).has_value());
      active.expect_tx({.flags = "S"});
      ASSERT_TRUE(active.until_tx(5_s).has_value());
    }
    passive.expect_tx({.flags = "SA"});
    passive.rx({.seq = 1, .ack = 1});
    passive.accept();
    EXPECT_EQ(passive.info().cwnd, row.want);
    active.expect_tx({.flags = "S"});
    active.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss});
    EXPECT_EQ(active.info().cwnd, row.want);
  }
}

// (RFC5681-32): after more than one RTO of silence the window that is known to be safe is the initial one.
TEST(Congestion, IdleRestart) {
  Script h;
  h.establish();
  std::uint32_t acked = 1;
  h.write(std::string(30 * kMss, 'x'));
  for (std::uint32_t n = sent_now(h); n > 0; n = sent_now(h)) {
    acked += n * kMss;
    h.after(20_ms);
    h.rx({.seq = 1, .ack = acked});
  }
  EXPECT_EQ(acked, 1 + 30 * kMss);
  EXPECT_GT(h.info().cwnd, 15 * kMss);
  EXPECT_GT(h.info().rto, 150_ms);
  h.after(100_ms);  // not idle yet
  h.write(std::string(15 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 15u);
  h.rx({.seq = 1, .ack = acked + 15 * kMss});
  h.after(h.info().rto + 1_ms);  // idle
  h.write(std::string(30 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 10u);
}

// (RFC5681-36): never more ACKs than segments, whatever arrives; but for window updates.
TEST(Congestion, OneAckASegment) {
  Script h;
  h.establish();
  const std::uint32_t starts[] = {1, 1461, 1461, 4381, 2921, 2921, 1, 7301, 5841, 10'221};
  for (const std::uint32_t seq : starts) {
    h.rx({.seq = seq, .ack = 1, .payload = std::string(kMss, 'x')});
    int acks = 0;
    while (h.next_tx()) ++acks;
    EXPECT_LE(acks, 1) << seq;
  }
  h.after(1_s);
  h.expect_nothing();
}

// (RFC5681-37): a loss halves the window, no more than half of what was out goes out in the round trip that follows,
// and it ends in congestion avoidance.
TEST(Congestion, RecoveryHalves) {
  Script h;
  h.establish();
  h.write(std::string(100 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 10u);
  h.rx({.seq = 1, .ack = 1 + 10 * kMss});
  EXPECT_EQ(sent_now(h), 18u);
  const std::uint32_t first = 1 + 10 * kMss;  // is lost; the other 17 arrive
  std::uint32_t sent = 0;
  for (int i = 0; i < 17; ++i) {
    h.rx({.seq = 1, .ack = first});
    sent += sent_now(h);
  }
  EXPECT_EQ(h.info().ssthresh, 9 * kMss);
  EXPECT_GT(sent, 4u);
  EXPECT_LE(sent, 2 + 9u);  // limited transmit and half of 18, the retransmission among them
  h.rx({.seq = 1, .ack = first + (18 + sent - 1) * kMss});
  EXPECT_LE(h.info().cwnd, h.info().ssthresh);
  EXPECT_EQ(h.info().ssthresh, 9 * kMss);
}

// (RFC5681-38): the loss of a retransmission is a second congestion, and so is a loss in the next window.
TEST(Congestion, TwoLossesCountTwice) {
  for (const bool retransmission_lost : {false, true}) {
    Script h;
    h.establish();
    h.write(std::string(100 * kMss, 'x'));
    EXPECT_EQ(sent_now(h), 10u);
    for (int i = 0; i < 9; ++i) h.rx({.seq = 1, .ack = 1});
    EXPECT_EQ(h.info().ssthresh, 5 * kMss);
    h.discard_tx();
    if (retransmission_lost) {
      ASSERT_TRUE(h.until_tx(5_s).has_value());
      EXPECT_EQ(h.info().cwnd, kMss);
      EXPECT_EQ(h.info().ssthresh, 5 * kMss / 2);
      continue;
    }
    h.rx({.seq = 1, .ack = h.info().snd_nxt - h.info().snd_una + 1});
    const std::uint32_t una = h.expect_tx({.size = kMss}).seq;
    h.discard_tx();
    for (int i = 0; i < 3; ++i) h.rx({.seq = 1, .ack = una});
    h.expect_tx({.size = kMss});
    EXPECT_LT(h.info().ssthresh, 5 * kMss);
  }
}

// (RFC6582-02, RFC6582-07): duplicates of what was sent before a timeout are no news.
TEST(Congestion, NoFastRetransmitAfterTimeout) {
  Script h;
  h.establish();
  h.write(std::string(10 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 10u);
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1, .size = kMss});
  h.rx({.seq = 1, .ack = 1 + 2 * kMss});
  h.discard_tx();
  const std::uint32_t before = h.info().retransmits;
  const std::uint32_t ssthresh = h.info().ssthresh;
  for (int i = 0; i < 5; ++i) h.rx({.seq = 1, .ack = 1 + 2 * kMss});
  EXPECT_EQ(h.info().ssthresh, ssthresh);
  EXPECT_LE(h.info().retransmits, before + 2);  // what the window lets go, in order
}

// (RFC6582-06): the timer starts again at the first partial ACK and at no later one.
TEST(Congestion, ImpatientTimer) {
  Script h;
  h.establish();
  h.write(std::string(10 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 10u);
  for (int i = 0; i < 9; ++i) h.rx({.seq = 1, .ack = 1});
  h.discard_tx();
  const std::int64_t rto = h.info().rto.to_millis();
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1 + kMss});
  const std::int64_t restarted = h.elapsed().to_millis();
  h.after(100_ms);
  h.rx({.seq = 1, .ack = 1 + 2 * kMss});
  h.discard_tx();
  EXPECT_EQ(h.info().timeouts, 0u);
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  EXPECT_EQ(h.info().timeouts, 1u);
  EXPECT_NEAR(static_cast<double>(h.elapsed().to_millis()), static_cast<double>(restarted + rto), 2);
}

// (RFC6298-16): an ACK of new data starts the timer again.
TEST(Congestion, AckRestartsTheTimer) {
  Script h;
  h.establish();
  h.write(std::string(2 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 2u);
  h.after(150_ms);
  h.rx({.seq = 1, .ack = 1 + kMss});
  const std::int64_t rto = h.info().rto.to_millis();
  const auto waited = h.until_tx(100_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_NEAR(static_cast<double>(waited->to_millis()), static_cast<double>(rto), 2);
  h.expect_tx({.seq = 1 + kMss});
}

// (RFC6298-11): each round trip is measured, with timestamps and without.
TEST(Congestion, EachRoundTripIsMeasured) {
  for (const bool timestamps : {false, true}) {
    Script h;
    Segment syn{.flags = "S", .seq = 0, .ack = 0, .mss = 1460};
    if (timestamps) syn.ts = Segment::Timestamps{1, 0};
    h.establish(syn);
    const std::uint32_t mss = h.info().send_mss;
    std::uint32_t acked = 1;
    Duration before = h.info().srtt;
    for (int i = 0; i < 5; ++i) {
      h.write(std::string(4 * mss, 'x'));
      Segment last;
      while (const auto s = h.next_tx()) last = *s;
      h.after(Duration::millis(50 + 10 * i));
      acked += 4 * mss;
      Segment ack{.seq = 1, .ack = acked};
      if (timestamps) ack.ts = Segment::Timestamps{2, last.ts->value};
      h.rx(ack);
      EXPECT_GT(h.info().srtt, before);
      before = h.info().srtt;
    }
  }
}

// (RFC7323-25): a sample weighs less when there are many in a round trip.
TEST(Congestion, ManySamplesWeighLess) {
  for (const bool timestamps : {false, true}) {
    Script h;
    Segment syn{.flags = "S", .seq = 0, .ack = 0, .mss = 1460};
    if (timestamps) syn.ts = Segment::Timestamps{1, 0};
    h.listen();
    h.rx(syn);
    const Segment answer = h.expect_tx({.flags = "SA"});
    h.after(100_ms);
    Segment ack{.seq = 1, .ack = 1};
    if (timestamps) ack.ts = Segment::Timestamps{1, answer.ts->value};
    h.rx(ack);
    h.accept();
    const std::uint32_t mss = h.info().send_mss;
    ASSERT_EQ(h.info().srtt, 100_ms);
    h.write(std::string(10 * mss, 'x'));
    const Segment first = h.expect_tx({.seq = 1});
    h.after(180_ms);
    ack.ack = 1 + mss;
    if (timestamps) ack.ts = Segment::Timestamps{2, first.ts->value};
    h.rx(ack);
    // An eighth of the difference; a quarter of that when nine segments in flight let expect four samples.
    EXPECT_EQ(h.info().srtt, timestamps ? Duration::micros(102'500) : 110_ms);
  }
}

// --- silly windows, pushes and window updates (RFC 9293 §3.8.6)

// The override timer also moves what was queued before the user ended the stream, into a window that stays small
// (RFC9293-MUST-60, RFC9293-CLOSE-02).
TEST(Congestion, SmallWindowAfterTheEndOfTheStream) {
  for (const bool peer_first : {false, true}) {
    SCOPED_TRACE(peer_first);
    Script h;
    h.establish();
    h.rx({.seq = 1, .ack = 1, .win = 100});
    if (peer_first) h.rx({.flags = "FA", .seq = 1, .ack = 1, .win = 100});
    const std::uint32_t seq = peer_first ? 2 : 1;
    h.write(std::string(250, 'x'));
    h.shutdown_write();
    h.discard_tx();
    for (std::uint32_t sent = 1; sent < 201; sent += 100) {
      h.after(200_ms);
      h.expect_tx({.seq = sent, .size = 100});
      h.rx({.seq = seq, .ack = sent + 100, .win = 100});
    }
    h.expect_tx({.flags = "FPA", .seq = 201, .size = 50});
  }
}

// (RFC9293-SWS-01, RFC9293-MUST-38): a full segment, or all there is, or half of the largest window, or the override
// timer: less does not go.
TEST(SillyWindow, Sender) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 1000, .mss = 1460});
  h.write(std::string(3000, 'x'));
  h.expect_tx({.seq = 1, .size = 1000});  // at least half of the largest window
  h.rx({.seq = 1, .ack = 1001, .win = 499});
  h.expect_nothing();
  const auto waited = h.until_tx(5_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_GE(waited->to_millis(), 100);
  EXPECT_LE(waited->to_millis(), 1000);
  h.expect_tx({.seq = 1001, .size = 499});
  h.rx({.seq = 1, .ack = 1500, .win = 500});
  h.expect_tx({.seq = 1500, .size = 500});
  h.rx({.seq = 1, .ack = 2000, .win = 65535});
  h.expect_tx({.seq = 2000, .payload = std::string(1001, 'x')});  // all there is
}

// (RFC9293-MUST-60): what was written with "more to come" leaves in the end, though nothing came.
TEST(SillyWindow, DataWithoutPushLeaves) {
  Script h;
  h.establish();
  const std::uint8_t byte = 'x';
  const Bytes piece(&byte, 1);
  ASSERT_TRUE(h.stack().sockets().send(h.handle(), std::span(&piece, 1), nullptr, {.more = true}).has_value());
  h.after(Duration());
  h.expect_nothing();
  const auto waited = h.until_tx(10_s);
  ASSERT_TRUE(waited.has_value());
  EXPECT_LE(waited->to_millis(), 1000);
  h.expect_tx({.seq = 1, .payload = "x"});
}

// (RFC9293-SEG-05): a segment older than the one the window came from does not change it.
TEST(WindowUpdate, OnlyFromNewerSegments) {
  Script h;
  h.establish();
  h.write("abcdef");
  h.expect_tx({.payload = "abcdef"});
  h.rx({.seq = 4, .ack = 4, .win = 5000, .payload = "def"});
  EXPECT_EQ(h.info().snd_wnd, 5000u);
  h.rx({.seq = 1, .ack = 4, .win = 100, .payload = "abc"});  // SEQ older: overtaken on the way
  EXPECT_EQ(h.info().snd_wnd, 5000u);
  h.rx({.seq = 7, .ack = 2, .win = 200});  // acknowledges less
  EXPECT_EQ(h.info().snd_wnd, 5000u);
  h.rx({.seq = 7, .ack = 4, .win = 300});  // SEQ newer
  EXPECT_EQ(h.info().snd_wnd, 300u);
  h.rx({.seq = 7, .ack = 7, .win = 400});  // ACK newer
  EXPECT_EQ(h.info().snd_wnd, 400u);
  h.rx({.seq = 7, .ack = 7, .win = 0});  // both the same
  EXPECT_EQ(h.info().snd_wnd, 0u);
}

// (RFC9293-SHLD-16): data inside a window that shrank is retransmitted as ever.
TEST(WindowUpdate, ShrunkWindowIsRetransmitted) {
  Script h;
  h.establish();
  h.write(std::string(5 * kMss, 'x'));
  EXPECT_EQ(sent_now(h), 5u);
  h.rx({.seq = 1, .ack = 1 + kMss, .win = 2 * kMss});
  h.expect_nothing();
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1 + kMss, .size = kMss});
  h.rx({.seq = 1, .ack = 1 + 2 * kMss, .win = kMss});
  h.expect_tx({.seq = 1 + 2 * kMss, .size = kMss});
  h.expect_nothing();
}

}  // namespace
}  // namespace sluice::test
