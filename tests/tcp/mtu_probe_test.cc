// Path MTU discovery by probing, by script: RFC 4821. Ordinary segments have 1000 bytes to begin with, the link and the
// peer allow 1460.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using tcp::MtuProbing;

constexpr std::uint32_t kBase = 1000;
constexpr std::uint32_t kHeaders = 40;
constexpr std::uint32_t kLargest = 1460;
constexpr std::uint32_t kFirstProbe = (kBase + kLargest) / 2;

ScriptOptions with(MtuProbing when) {
  ScriptOptions o;
  o.tcp.mtu_probing = when;
  o.tcp.mtu_base_mss = kBase;
  return o;
}

// The handshake takes 40 ms, and so does the time after which the first flight, if there is one, is answered.
void establish(Script& h, bool sack, std::size_t written) {
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .sack_ok = sack});
  h.expect_tx({.flags = "SA", .mss = 1460});
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  if (written > 0) h.write(std::string(written, 'x'));
}

std::uint64_t probes(Script& h) {
  return h.counters().get(Counter::kTcpMtuProbes);
}

// Where what has been sent ends, `next` at least.
std::uint32_t end_of_flight(Script& h, std::uint32_t next) {
  while (const auto s = h.next_tx()) next = std::max(next, s->seq + static_cast<std::uint32_t>(s->payload.size()));
  return next;
}

// Acknowledges it, a round trip later.
std::uint32_t acknowledge_all(Script& h, std::uint32_t next) {
  next = end_of_flight(h, next);
  h.after(40_ms);
  h.rx({.seq = 1, .ack = next});
  return next;
}

struct Kept : EventSink {
  void on_event(const Event& e) override {
    if (e.kind == EventKind::kTcpPathMtu) all.push_back(e);
  }
  std::vector<Event> all;
};

// (RFC4821-01, -04, -05)
// (RFC9293-PMTU-01)
TEST(MtuProbe, GrowsByWhatHasArrived) {
  for (const bool sack : {true, false}) {
    Kept kept;
    Script h(with(MtuProbing::kAlways));
    h.stack().context().sink = &kept;
    establish(h, sack, 60'000);
    h.expect_tx({.flags = "A", .seq = 1, .size = kFirstProbe});
    for (std::uint32_t i = 0; i < 8; ++i) h.expect_tx({.seq = 1 + kFirstProbe + i * kBase, .size = kBase});
    h.expect_nothing();
    EXPECT_EQ(h.info().send_mss, kBase);
    const std::uint32_t before = h.info().cwnd;
    h.after(40_ms);
    h.rx({.seq = 1, .ack = 1 + kFirstProbe});
    EXPECT_EQ(h.info().send_mss, kFirstProbe);
    EXPECT_EQ(h.info().cwnd, before + kFirstProbe);  // as slow start has it: bytes, not segments
    // Half-way to the limit; the rest is what has just been shown to pass.
    h.expect_tx({.seq = 1 + kFirstProbe + 8 * kBase, .size = (kFirstProbe + kLargest) / 2});
    h.expect_tx({.size = kFirstProbe});
    h.expect_nothing();
    EXPECT_EQ(probes(h), 2u);
    EXPECT_EQ(h.counters().get(Counter::kTcpRetransmits), 0u);
    ASSERT_EQ(kept.all.size(), 2u);
    EXPECT_STREQ(kept.all[0].detail, "search from the beginning");
    EXPECT_EQ(kept.all[0].a, kBase + kHeaders);
    EXPECT_STREQ(kept.all[1].detail, "a probe has arrived");
    EXPECT_EQ(kept.all[1].a, kFirstProbe + kHeaders);
    EXPECT_EQ(kept.all[1].b, kLargest + kHeaders);
    h.stack().context().sink = nullptr;
  }
}

// It is sent again in ordinary segments; the window stays (RFC4821-02, RFC8201-08), and the next one waits
// (RFC4821-03). Lost twice, a size is too large.
TEST(MtuProbe, LostAlone) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    ScriptOptions o = with(MtuProbing::kAlways);
    o.tcp.idle_restart = tcp::Switch::kOff;
    Script h(o);
    establish(h, sack, 0);
    std::uint32_t begin = 1;
    for (std::uint64_t lost = 1; lost <= 2; ++lost) {
      h.write(std::string(20'000, 'x'));
      h.expect_tx({.seq = begin, .size = kFirstProbe});
      const std::uint32_t behind = begin + kFirstProbe;
      std::uint32_t next = end_of_flight(h, behind);
      const std::uint32_t window = h.info().cwnd;
      h.after(40_ms);
      for (std::uint32_t i = 1; i <= 3; ++i) {
        Segment duplicate{.seq = 1, .ack = begin};
        if (sack) duplicate.sack.push_back({behind, behind + i * kBase});
        h.rx(duplicate);
      }
      EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
      EXPECT_EQ(h.info().cwnd, window);
      EXPECT_EQ(h.info().ssthresh, UINT32_MAX);
      EXPECT_EQ(h.counters().get(Counter::kTcpMtuProbesLost), lost);
      std::uint32_t sent_again = 0;
      while (const auto s = h.next_tx()) {
        EXPECT_LE(s->payload.size(), kBase);
        next = std::max(next, s->seq + static_cast<std::uint32_t>(s->payload.size()));
        if (s->seq < behind) sent_again += static_cast<std::uint32_t>(s->payload.size());
      }
      EXPECT_EQ(sent_again, kFirstProbe);
      while (next < begin + 20'000) next = acknowledge_all(h, next);
      begin += 20'000;
      EXPECT_EQ(h.info().ssthresh, UINT32_MAX);
      h.write(std::string(10'000, 'x'));  // too soon for another probe
      h.expect_tx({.seq = begin, .size = kBase});
      while (next < begin + 10'000) next = acknowledge_all(h, next);
      begin += 10'000;
      h.after(5_s);
    }
    h.write(std::string(20'000, 'x'));
    h.expect_tx({.seq = begin, .size = (kBase + kHeaders + kFirstProbe + kHeaders - 1) / 2 - kHeaders});
    EXPECT_EQ(h.info().send_mss, kBase);
  }
}

// (RFC4821-03): the loss of anything else is a sign of congestion, and the probe's fate says nothing then.
TEST(MtuProbe, LostWithOthers) {
  Script h(with(MtuProbing::kAlways));
  establish(h, true, 60'000);
  h.expect_tx({.seq = 1, .size = kFirstProbe});
  h.discard_tx();
  h.after(40_ms);
  const std::uint32_t after = 1 + kFirstProbe + kBase;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    h.rx({.seq = 1, .ack = 1, .sack = {{after, after + i * kBase}}});
  }
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
  EXPECT_LT(h.info().ssthresh, 10 * kBase);
  EXPECT_EQ(h.counters().get(Counter::kTcpMtuProbesLost), 0u);
  h.discard_tx();
  h.after(40_ms);
  h.rx({.seq = 1, .ack = after});
  EXPECT_EQ(h.info().send_mss, kBase);
}

// (RFC4821-10): enough data, enough window, one at a time, nothing doubtful.
TEST(MtuProbe, WaitsUntilItsLossWouldShow) {
  constexpr std::uint32_t kNeeded = kFirstProbe + 4 * kBase;
  struct Row {
    const char* name;
    std::uint32_t written, window;
    bool probes;
  };
  for (const Row& r :
       {Row{"enough", kNeeded, 65535, true}, Row{"too little data", kNeeded - 1, 65535, false},
        Row{"just enough window", 20'000, kNeeded, true}, Row{"too small a window", 20'000, kNeeded - 1, false}}) {
    SCOPED_TRACE(r.name);
    Script h(with(MtuProbing::kAlways));
    establish(h, true, 0);
    h.rx({.seq = 1, .ack = 1, .win = r.window});
    h.write(std::string(r.written, 'x'));
    h.expect_tx({.seq = 1, .size = r.probes ? kFirstProbe : kBase});
    EXPECT_EQ(probes(h), r.probes ? 1u : 0u);
  }
}

TEST(MtuProbe, OffMeansFullSegmentsForEver) {
  Script h(with(MtuProbing::kOff));
  establish(h, true, 20'000);
  h.expect_tx({.seq = 1, .size = kLargest});
  h.discard_tx();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    EXPECT_EQ(h.next_tx()->payload.size(), kLargest);
    h.discard_tx();
  }
  EXPECT_EQ(h.counters().get(Counter::kTcpBlackHoles), 0u);
}

// (RFC4821-07): after three timeouts the base size, and from then on half of it, down to the floor.
TEST(MtuProbe, BlackHole) {
  ScriptOptions o = with(MtuProbing::kBlackHole);
  o.tcp.tail_probe = tcp::Switch::kOff;
  o.tcp.mtu_floor_mss = 400;
  Script h(o);
  establish(h, true, 20'000);
  h.expect_tx({.seq = 1, .size = kLargest});
  h.discard_tx();
  for (const std::uint32_t size : {kLargest, kLargest, kBase, (kBase + kHeaders) / 2 - kHeaders, 400u, 400u}) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.expect_tx({.seq = 1, .size = size});
    h.discard_tx();
  }
}

// Where such segments have arrived it takes six: what is lost may be lost by chance.
TEST(MtuProbe, BlackHoleAfterFullSegmentsHavePassed) {
  ScriptOptions o = with(MtuProbing::kBlackHole);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 200'000);
  (void)acknowledge_all(h, 1);
  h.discard_tx();
  for (const std::uint32_t size : {kLargest, kLargest, kLargest, kLargest, kLargest, kBase}) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.expect_tx({.size = size});
    h.discard_tx();
  }
}

// What is short by itself is in no black hole.
TEST(MtuProbe, SmallSegmentsSayNothing) {
  Script h(with(MtuProbing::kBlackHole));
  establish(h, true, 500);
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.expect_tx({.seq = 1, .size = 500});
  }
  EXPECT_EQ(h.counters().get(Counter::kTcpBlackHoles), 0u);
  EXPECT_EQ(h.info().send_mss, kLargest);
}

// The path was only down: the first probe has the size that it carried before.
TEST(MtuProbe, AfterAnOutage) {
  ScriptOptions o = with(MtuProbing::kBlackHole);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 100'000);
  h.discard_tx();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.discard_tx();
  }
  EXPECT_EQ(h.info().send_mss, kBase);
  std::uint32_t next = 14'601;
  for (int i = 0; i < 10 && probes(h) == 0; ++i) next = acknowledge_all(h, next);
  bool seen = false;
  while (const auto s = h.next_tx()) {
    seen |= s->payload.size() == kLargest;
    next = std::max(next, s->seq + static_cast<std::uint32_t>(s->payload.size()));
  }
  EXPECT_TRUE(seen);
  h.after(40_ms);
  h.rx({.seq = 1, .ack = next});
  EXPECT_EQ(h.info().send_mss, kLargest);
}

// The result holds for others on the same path, and is doubted after ten minutes (RFC4821-06): by a probe (RFC4821-08).
TEST(MtuProbe, IsSharedAndAges) {
  ScriptOptions o = with(MtuProbing::kAlways);
  o.tcp.mtu_base_mss = kLargest - 20;
  o.tcp.idle_restart = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 0);
  std::uint32_t next = 1;
  std::vector<std::size_t> tried;
  const auto lose_probe = [&] {
    const std::uint64_t before = probes(h);
    h.write(std::string(20'000, 'x'));
    const std::uint32_t begin = next;
    std::size_t size = 0;
    while (const auto s = h.next_tx()) {
      if (s->seq == begin) size = s->payload.size();
      next = std::max(next, s->seq + static_cast<std::uint32_t>(s->payload.size()));
    }
    if (probes(h) > before) {
      tried.push_back(size);
      const auto after = begin + static_cast<std::uint32_t>(size);
      h.after(40_ms);
      h.rx({.seq = 1, .ack = begin, .sack = {{after, next}}});
    }
    for (int i = 0; i < 3; ++i) next = acknowledge_all(h, next);
    h.after(2_s);
  };
  for (int i = 0; i < 6; ++i) lose_probe();
  EXPECT_EQ(tried, (std::vector<std::size_t>{1450, 1450, 1444, 1444}));
  EXPECT_EQ(h.info().path_mtu, kLargest - 20 + kHeaders);
  h.after(300_s);
  lose_probe();
  EXPECT_EQ(tried.size(), 4u);
  h.after(300_s);
  lose_probe();
  EXPECT_EQ(h.info().path_mtu, 1500u);
  EXPECT_EQ(h.info().send_mss, kLargest - 20);
  ASSERT_EQ(tried.size(), 5u);
  EXPECT_EQ(tried[4], 1450u);
}

// What ICMP has said is doubted after ten minutes: one segment of the old size goes first (RFC4821-08).
TEST(MtuProbe, AnAgedEstimateIsTried) {
  Script h;
  establish(h, true, kLargest);
  h.expect_tx({.seq = 1, .size = kLargest});
  h.rx_icmp(3, 4, 1000, {.seq = 1});
  h.discard_tx();
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1 + kLargest});
  EXPECT_EQ(h.info().send_mss, 960u);
  h.after(601_s);
  h.write(std::string(20'000, 'x'));
  h.expect_tx({.seq = 1 + kLargest, .size = kLargest});
  h.expect_tx({.seq = 1 + 2 * kLargest, .size = 960});
  EXPECT_EQ(probes(h), 1u);
}

// A retransmission covers it: whatever is acknowledged then, it need not have been the probe.
TEST(MtuProbe, SentAgainItSaysNothing) {
  ScriptOptions o = with(MtuProbing::kAlways);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 60'000);
  h.expect_tx({.seq = 1, .size = kFirstProbe});
  h.discard_tx();
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1, .size = kBase});
  h.discard_tx();
  h.rx({.seq = 1, .ack = 1 + kFirstProbe});
  EXPECT_EQ(h.info().send_mss, kBase);
}

}  // namespace
}  // namespace sluice::test
