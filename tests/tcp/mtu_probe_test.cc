// Path MTU discovery by probing, by script: RFC 4821. Ordinary segments have 1000 bytes to begin with, the link and the
// peer allow 1460.
#include <array>

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
  h.expect_tx({.flags = "SA"});
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

// Room for options is taken from it: the packet is as large as the search wants it.
TEST(MtuProbe, CountsOptions) {
  Script h(with(MtuProbing::kAlways));
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Segment::Timestamps{1, 0}});
  h.write(std::string(20'000, 'x'));
  h.expect_tx({.seq = 1, .size = kFirstProbe - 12});
}

// (RFC4821-05): the base is for paths of which nothing is known; what a route says, or ICMP has said, is believed.
TEST(MtuProbe, BeginsWithWhatTheRouteSays) {
  for (const bool by_icmp : {true, false}) {
    Script h(with(MtuProbing::kAlways));
    const wire::Ipv4Address peer{kPeerAddress};
    if (by_icmp) {
      h.stack().ip().accept_path_mtu(peer, 1300);
    } else {
      ASSERT_TRUE(h.stack().ip().add_route({{peer, 32}, {}, h.interface(), 0, 1300}).has_value());
    }
    establish(h, true, 20'000);
    h.expect_tx({.seq = 1, .size = 1300 - kHeaders});
    EXPECT_EQ(probes(h), 0u);
  }
}

// Four segments are out, too few for a probe to go with them.
void begin_small(Script& h, bool sack) {
  establish(h, sack, 4 * kBase);
  for (std::uint32_t i = 0; i < 4; ++i) h.expect_tx({.seq = 1 + i * kBase, .size = kBase});
  h.after(40_ms);
}

// (RFC4821-10): when something may be lost, or more is to be said than fits beside it.
TEST(MtuProbe, WaitsWhileSomethingIsDoubtful) {
  struct Row {
    const char* name;
    bool sack;
    void (*doubt)(Script&);
  };
  const Row rows[] = {
      {"nothing", true, [](Script&) {}},
      {"a duplicate ACK", false, [](Script& h) { h.rx({.seq = 1, .ack = 1}); }},
      {"a hole", true,
       [](Script& h) {
         h.rx({.seq = 1, .ack = 1001, .sack = {{2001, 3001}}});
       }},
      {"a tail probe", true, [](Script& h) { ASSERT_TRUE(h.until_tx(150_ms).has_value()); }},
      {"a hole in what has arrived", true, [](Script& h) { h.rx({.seq = 11, .ack = 1, .payload = "later"}); }},
      {"urgent data", true, [](Script& h) {
         const std::uint8_t byte = 'u';
         const std::array pieces{Bytes(&byte, 1)};
         ASSERT_TRUE(h.stack().sockets().send(h.handle(), pieces, nullptr, {.urgent = true}).has_value());
       }}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Script h(with(MtuProbing::kAlways));
    begin_small(h, row.sack);
    row.doubt(h);
    h.write(std::string(20'000, 'x'));
    EXPECT_EQ(probes(h), row.doubt == rows[0].doubt ? 1u : 0u);
  }
}

// Nothing else shares a segment with the end of a record.
TEST(MtuProbe, GoesAcrossNoEndOfARecord) {
  Script h(with(MtuProbing::kAlways));
  establish(h, true, 0);
  h.rx({.seq = 1, .ack = 1, .win = 0});
  const std::array<std::uint8_t, 600> record{};
  const std::array pieces{Bytes(record)};
  ASSERT_TRUE(h.stack().sockets().send(h.handle(), pieces, nullptr, {.end_of_record = true}).has_value());
  h.write(std::string(20'000, 'x'));
  h.rx({.seq = 1, .ack = 1});
  h.expect_tx({.seq = 1, .size = 600});
  h.expect_tx({.seq = 601, .size = kFirstProbe});
}

// The user has closed: what is left goes as it is.
TEST(MtuProbe, NotWhileClosing) {
  for (const bool closes : {false, true}) {
    Script h(with(MtuProbing::kAlways));
    establish(h, true, 0);
    h.rx({.seq = 1, .ack = 1, .win = 4000});
    h.write(std::string(20'000, 'x'));
    if (closes) h.shutdown_write();
    h.discard_tx();
    h.rx({.seq = 1, .ack = 4001});
    EXPECT_EQ(probes(h), closes ? 0u : 1u);
  }
}

// Nor does that of what the user wants to be cut.
TEST(MtuProbe, NotWhereTheUserWantsNoDontFragment) {
  for (const std::int64_t use : {1, 0}) {
    Script h(with(MtuProbing::kAlways));
    establish(h, true, 0);
    h.set(socket::Option::kIpMtuDiscover, use);
    h.write(std::string(20'000, 'x'));
    EXPECT_EQ(probes(h), use == 1 ? 1u : 0u);
  }
}

// Where routers have to cut packets, their size says nothing of the path.
TEST(MtuProbe, NotWithoutDontFragment) {
  for (const bool cut : {false, true}) {
    ScriptOptions o = with(MtuProbing::kBlackHole);
    o.tcp.mtu_floor_mss = 300;
    o.tcp.tail_probe = tcp::Switch::kOff;
    Script h(o);
    h.stack().ip().accept_path_mtu(wire::Ipv4Address{kPeerAddress}, cut ? 575 : 576);
    establish(h, true, 20'000);
    h.expect_tx({.seq = 1, .size = 536});
    std::uint32_t next = end_of_flight(h, 1);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(h.until_tx(60_s).has_value());
      h.discard_tx();
    }
    EXPECT_EQ(h.info().send_mss, 300u);
    for (int i = 0; i < 10 && next < 20'000; ++i) next = acknowledge_all(h, next);
    EXPECT_EQ(probes(h) > 0, !cut);
  }
}

// (RFC4821-10): a window too small for the probe and what shows its loss is no window for it.
TEST(MtuProbe, NeedsItsWindow) {
  for (const bool ten : {true, false}) {
    ScriptOptions o = with(MtuProbing::kAlways);
    o.tcp.initial_window_10 = ten ? tcp::Switch::kOn : tcp::Switch::kOff;
    Script h(o);
    establish(h, true, 20'000);
    EXPECT_EQ(probes(h), ten ? 1u : 0u);
  }
}

// Where it could go but for what is out, nothing else takes the room that ACKs make.
TEST(MtuProbe, WaitsForRoom) {
  Script h(with(MtuProbing::kAlways));
  begin_small(h, true);
  h.write(std::string(4 * kBase, 'x'));
  h.write(std::string(kBase, 'x'));
  for (std::uint32_t i = 4; i < 9; ++i) h.expect_tx({.seq = 1 + i * kBase, .size = kBase});
  h.write(std::string(20'000, 'x'));
  h.expect_nothing();
  h.rx({.seq = 1, .ack = 1 + kBase});
  h.expect_tx({.seq = 1 + 9 * kBase, .size = kFirstProbe});
}

// The pace holds for it.
TEST(MtuProbe, IsPaced) {
  ScriptOptions o = with(MtuProbing::kAlways);
  o.tcp.pacing = tcp::Switch::kOn;
  o.tcp.unpaced_segments = 4;
  Script h(o);
  begin_small(h, true);
  h.rx({.seq = 1, .ack = 1 + 4 * kBase});
  h.write(std::string(4 * kBase, 'x'));
  h.discard_tx();
  h.write(std::string(20'000, 'x'));
  h.expect_nothing();
  ASSERT_TRUE(h.until_tx(40_ms).has_value());
  EXPECT_EQ(probes(h), 1u);
}

// The next one waits as long as half of a window takes to grow back (RFC4821-03), 15 seconds at most.
TEST(MtuProbe, PausesAfterALoss) {
  struct Row {
    Duration round_trip, pause;
  };
  for (const Row& row : {Row{40_ms, 200_ms}, Row{5_s, 15_s}}) {
    ScriptOptions o = with(MtuProbing::kAlways);
    o.tcp.idle_restart = tcp::Switch::kOff;
    o.tcp.initial_rto = 20_s;
    Script h(o);
    h.connect();
    h.discard_tx();
    h.after(row.round_trip);
    h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460, .sack_ok = true});
    h.discard_tx();
    h.write(std::string(kFirstProbe + 8 * kBase, 'x'));
    h.expect_tx({.seq = 1, .size = kFirstProbe});
    std::uint32_t next = end_of_flight(h, 1);
    h.after(row.round_trip);
    h.rx({.seq = 1, .ack = 1, .sack = {{1 + kFirstProbe, next}}});
    EXPECT_EQ(h.counters().get(Counter::kTcpMtuProbesLost), 1u);
    h.discard_tx();
    h.rx({.seq = 1, .ack = next});
    const auto write_at = [&](Duration when) {
      h.at(when);
      h.write(std::string(6 * kBase, 'x'));
      next = end_of_flight(h, next);
      h.rx({.seq = 1, .ack = next});
    };
    const Duration lost_at = h.elapsed();
    write_at(lost_at + row.pause - 2_ms);
    EXPECT_EQ(probes(h), 1u);
    write_at(lost_at + row.pause + 2_ms);
    EXPECT_EQ(probes(h), 2u);
  }
}

// Not the probe is lost, but what stands before it: a sign of congestion, whatever becomes of the probe then.
TEST(MtuProbe, LostBehindOthers) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    Script h(with(MtuProbing::kAlways));
    begin_small(h, sack);
    h.write(std::string(20'000, 'x'));
    const std::uint32_t probe = 1 + 4 * kBase;
    const std::uint32_t behind = probe + kFirstProbe;
    h.expect_tx({.seq = probe, .size = kFirstProbe});
    h.discard_tx();
    for (std::uint32_t i = 1; i <= 3; ++i) {
      Segment duplicate{.seq = 1, .ack = 1};
      if (sack) duplicate.sack.push_back({1 + kBase, 1 + (i + 1) * kBase});
      h.rx(duplicate);
    }
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
    h.after(40_ms);
    if (sack) h.rx({.seq = 1, .ack = 1, .sack = {{behind, behind + 4 * kBase}, {1 + kBase, probe}}});
    EXPECT_EQ(h.counters().get(Counter::kTcpMtuProbesLost), 0u);
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
  }
}

// None goes while losses are repaired, however large the window is.
TEST(MtuProbe, NotWhileLossesAreRepaired) {
  for (const bool loses : {false, true}) {
    ScriptOptions o = with(MtuProbing::kAlways);
    o.tcp.reduce_flight = tcp::Switch::kOff;
    o.tcp.prr = tcp::Switch::kOff;
    Script h(o);
    establish(h, true, 0);
    std::uint32_t next = 1;
    for (int i = 0; i < 20; ++i) {  // too little at once for a probe, enough for the window to grow
      h.write(std::string(5 * kBase, 'x'));
      next = end_of_flight(h, next);
      h.write(std::string(5 * kBase, 'x'));
      next = end_of_flight(h, next);
      h.after(40_ms);
      h.rx({.seq = 1, .ack = next});
    }
    h.write(std::string(5 * kBase, 'x'));
    h.after(40_ms);
    EXPECT_EQ(probes(h), 0u);
    if (loses) h.rx({.seq = 1, .ack = next, .sack = {{next + kBase, next + 5 * kBase}}});
    EXPECT_EQ(h.info().phase, loses ? tcp::cc::Phase::kRecovery : tcp::cc::Phase::kOpen);
    EXPECT_GT(h.info().cwnd, 9 * kBase);
    h.write(std::string(20'000, 'x'));
    EXPECT_EQ(probes(h), loses ? 0u : 1u);
  }
}

// Without SACK it is the ACKs that say how far the repair is.
TEST(MtuProbe, NotBetweenPartialAcks) {
  for (const bool loses : {false, true}) {
    ScriptOptions o = with(MtuProbing::kAlways);
    o.tcp.reduce_flight = tcp::Switch::kOff;
    Script h(o);
    establish(h, false, 0);
    std::uint32_t next = 1;
    const auto send_ten = [&] {
      for (int i = 0; i < 2; ++i) {
        h.write(std::string(5 * kBase, 'x'));
        next = end_of_flight(h, next);
      }
      h.after(40_ms);
    };
    for (int i = 0; i < 20; ++i) {
      send_ten();
      h.rx({.seq = 1, .ack = next});
    }
    const std::uint32_t first = next;
    send_ten();
    EXPECT_EQ(probes(h), 0u);
    for (int i = 0; loses && i < 3; ++i) h.rx({.seq = 1, .ack = first});
    h.rx({.seq = 1, .ack = first + kBase});
    EXPECT_EQ(h.info().phase, loses ? tcp::cc::Phase::kRecovery : tcp::cc::Phase::kOpen);
    h.discard_tx();
    h.write(std::string(20'000, 'x'));
    EXPECT_TRUE(h.next_tx().has_value());
    EXPECT_EQ(probes(h), loses ? 0u : 1u);
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
  Kept kept;
  Script h(o);
  h.stack().context().sink = &kept;
  establish(h, true, 20'000);
  h.expect_tx({.seq = 1, .size = kLargest});
  h.discard_tx();
  for (const std::uint32_t size : {kLargest, kLargest, kBase, (kBase + kHeaders) / 2 - kHeaders, 400u, 400u}) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.expect_tx({.seq = 1, .size = size});
    h.discard_tx();
  }
  EXPECT_EQ(h.counters().get(Counter::kTcpBlackHoles), 3u);
  ASSERT_FALSE(kept.all.empty());
  EXPECT_STREQ(kept.all[0].detail, "black hole: timeouts in a row");
  EXPECT_EQ(kept.all[0].a, kBase + kHeaders);
  EXPECT_EQ(kept.all[0].b, kLargest + kHeaders);
  h.stack().context().sink = nullptr;
}

void time_out(Script& h, int times) {
  for (int i = 0; i < times; ++i) {
    ASSERT_TRUE(h.until_tx(60_s).has_value());
    h.discard_tx();
  }
}

// Below the base only where nothing of that size ever got through.
TEST(MtuProbe, BlackHoleEndsWhereSomethingPasses) {
  for (const bool sack : {true, false}) {
    for (const bool passes : {true, false}) {
      ScriptOptions o = with(MtuProbing::kBlackHole);
      o.tcp.tail_probe = tcp::Switch::kOff;
      Script h(o);
      establish(h, sack, 2 * kLargest);
      h.discard_tx();
      time_out(h, 3);
      EXPECT_EQ(h.info().send_mss, kBase);
      if (passes) {
        h.rx({.seq = 1, .ack = 1 + 2 * kLargest});
        h.write(std::string(2 * kBase, 'x'));
        h.discard_tx();
      }
      time_out(h, 8);
      EXPECT_EQ(h.info().send_mss == kBase, passes);
    }
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
  for (const std::uint32_t size : {500u, kBase}) {  // below the least, and up to the base
    Script h(with(MtuProbing::kBlackHole));
    establish(h, true, size);
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(h.until_tx(60_s).has_value());
      h.expect_tx({.seq = 1, .size = size});
    }
    EXPECT_EQ(h.counters().get(Counter::kTcpBlackHoles), 0u);
    EXPECT_EQ(h.info().send_mss, kLargest);
  }
}

// The path was only down, for longer or shorter: the first probe has the size that it carried before.
void outage(int timeouts, std::uint32_t falls_to) {
  ScriptOptions o = with(MtuProbing::kBlackHole);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 100'000);
  h.discard_tx();
  time_out(h, timeouts);
  EXPECT_EQ(h.info().send_mss, falls_to);
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

TEST(MtuProbe, AfterAnOutage) {
  outage(3, kBase);
  outage(5, 512);
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
  Kept kept;
  Script h;
  h.stack().context().sink = &kept;
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
  ASSERT_EQ(kept.all.size(), 1u);
  EXPECT_STREQ(kept.all[0].detail, "the route may carry more");
  EXPECT_EQ(kept.all[0].a, 1000);
  EXPECT_EQ(kept.all[0].b, 1500);
  h.stack().context().sink = nullptr;
}

// Nothing was in doubt: a link that carries more needs no proof. Where something was, it does.
TEST(MtuProbe, AnotherLink) {
  for (const bool doubted : {false, true}) {
    Script h(with(doubted ? MtuProbing::kAlways : MtuProbing::kBlackHole));
    ip::Ip& ip = h.stack().ip();
    ASSERT_TRUE(ip.set_mtu(h.interface(), 1200).has_value());
    establish(h, true, 1160);
    h.expect_tx({.seq = 1, .size = doubted ? kBase : 1160});
    h.discard_tx();
    h.after(40_ms);
    h.rx({.seq = 1, .ack = 1161});
    ASSERT_TRUE(ip.set_mtu(h.interface(), 1500).has_value());
    h.write(std::string(20'000, 'x'));
    h.expect_tx({.seq = 1161, .size = doubted ? kFirstProbe : kLargest});
    EXPECT_EQ(probes(h), doubted ? 1u : 0u);
  }
}

// A link that carries less is followed at once, and no reason to look for more when it carries as much as before.
TEST(MtuProbe, ALinkThatCarriesLess) {
  Script h;
  ip::Ip& ip = h.stack().ip();
  establish(h, true, kLargest);
  h.discard_tx();
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1 + kLargest});
  for (const std::uint32_t mtu : {1200u, 1500u}) {
    ASSERT_TRUE(ip.set_mtu(h.interface(), mtu).has_value());
    h.write("x");
    const Segment s = h.expect_tx({.payload = "x"});
    h.after(40_ms);
    h.rx({.seq = 1, .ack = s.seq + 1});
    EXPECT_EQ(h.info().send_mss, mtu - kHeaders);
  }
  EXPECT_EQ(probes(h), 0u);
}

// Part of it is not the whole.
TEST(MtuProbe, HalfAcknowledgedItSaysNothing) {
  Script h(with(MtuProbing::kAlways));
  establish(h, true, 60'000);
  h.expect_tx({.seq = 1, .size = kFirstProbe});
  h.discard_tx();
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1 + kBase});
  EXPECT_EQ(h.info().send_mss, kBase);
  h.rx({.seq = 1, .ack = 1 + kFirstProbe});
  EXPECT_EQ(h.info().send_mss, kFirstProbe);
}

// What full segments have shown holds for their size: of larger ones three timeouts are enough again.
TEST(MtuProbe, BlackHoleAfterGrowing) {
  ScriptOptions o = with(MtuProbing::kAlways);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h, true, 60'000);
  h.expect_tx({.seq = 1, .size = kFirstProbe});
  h.discard_tx();
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1 + kFirstProbe});
  EXPECT_EQ(h.info().send_mss, kFirstProbe);
  h.discard_tx();
  time_out(h, 2);
  EXPECT_EQ(h.info().send_mss, kFirstProbe);
  time_out(h, 1);
  EXPECT_EQ(h.info().send_mss, kBase);
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
