// What we tell the peer about data beyond a hole and about duplicates: RFC 2018 §3 to 4, RFC 2883.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using Blocks = std::vector<Segment::Block>;

Segment syn(bool sack, bool timestamps = false) {
  Segment s{.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .sack_ok = sack};
  if (timestamps) s.ts = Segment::Timestamps{100, 0};
  return s;
}

// (RFC2018-01): in SYNs only, which the harness looks at; in an answer if the peer had it; and as configured.
TEST(SackReceive, Negotiation) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.sack = on ? tcp::Switch::kOn : tcp::Switch::kOff;
    for (const bool peer : {true, false}) {
      Script h(o);
      h.listen();
      h.rx(syn(peer));
      h.expect_tx({.flags = "SA", .sack_ok = on && peer});
    }
    Script active(o);
    active.connect();
    active.expect_tx({.flags = "S", .sack_ok = on});
  }
}

// (RFC2018-03, -04, -05, -06, -07, -08): the latest first, the others as they were reported.
TEST(SackReceive, LatestBlockFirst) {
  Script h;
  h.establish(syn(true));
  h.rx({.seq = 11, .ack = 1, .payload = "aaaaa"});
  h.expect_tx({.ack = 1, .sack = Blocks{{11, 16}}});
  h.rx({.seq = 31, .ack = 1, .payload = "bbbbb"});
  h.expect_tx({.ack = 1, .sack = Blocks{{31, 36}, {11, 16}}});
  h.rx({.seq = 21, .ack = 1, .payload = "ccccc"});
  h.expect_tx({.ack = 1, .sack = Blocks{{21, 26}, {31, 36}, {11, 16}}});
  h.rx({.seq = 16, .ack = 1, .payload = "ddddd"});  // joins two
  h.expect_tx({.ack = 1, .sack = Blocks{{11, 26}, {31, 36}}});
  h.rx({.seq = 1, .ack = 1, .payload = std::string(10, 'e')});  // moves the cumulative ACK
  h.expect_tx({.ack = 26, .sack = Blocks{{31, 36}}});
  h.rx({.seq = 26, .ack = 1, .payload = "fffff"});
  h.expect_tx({.ack = 36, .sack = Blocks{}});
  EXPECT_EQ(h.read(), "eeeeeeeeeeaaaaadddddcccccfffffbbbbb");
}

// (RFC2018-09): four blocks, three beside timestamps.
TEST(SackReceive, AsManyAsFit) {
  for (const bool timestamps : {false, true}) {
    Script h;
    h.establish(syn(true, timestamps));
    std::vector<Segment::Block> want;
    for (std::uint32_t i = 0; i < 6; ++i) {
      Segment s{.seq = 11 + 10 * i, .ack = 1, .payload = "x"};
      if (timestamps) s.ts = Segment::Timestamps{101, 0};
      h.rx(s);
      want.insert(want.begin(), {11 + 10 * i, 12 + 10 * i});
      want.resize(std::min<std::size_t>(want.size(), timestamps ? 3 : 4));
      h.expect_tx({.ack = 1, .sack = want});
    }
  }
}

// (RFC2018-02): nothing of the kind unless the peer's SYN allowed it.
TEST(SackReceive, NotWithoutPermission) {
  Script h;
  h.establish(syn(false));
  h.rx({.seq = 11, .ack = 1, .payload = "aaaaa"});
  h.expect_tx({.ack = 1, .sack = Blocks{}});
  h.rx({.seq = 11, .ack = 1, .payload = "aaaaa"});
  h.expect_tx({.ack = 1, .sack = Blocks{}});
}

// (RFC2018-04): our own data does not hide what is missing: it carries the blocks, or an ACK follows that does.
TEST(SackReceive, BesideData) {
  Script h;
  h.establish(syn(true));
  h.rx({.seq = 11, .ack = 1, .payload = "aaaaa"});
  h.expect_tx({.sack = Blocks{{11, 16}}});
  h.write("abc");
  h.expect_tx({.payload = "abc", .sack = Blocks{{11, 16}}});
  h.rx({.seq = 1, .ack = 4, .payload = "bbbbb"});
  h.expect_tx({.ack = 6, .sack = Blocks{{11, 16}}});
}

// RFC 2883 §4: each duplicate is reported once, first (RFC2883-01); the held range it lies in comes second
// (RFC2883-02); of a segment of which only a part is new, that part (RFC2883-03).
TEST(SackReceive, Duplicates) {
  for (const bool on : {true, false}) {
    ScriptOptions o;
    o.tcp.dsack = on ? tcp::Switch::kOn : tcp::Switch::kOff;
    Script h(o);
    h.establish(syn(true));
    h.set(socket::Option::kTcpQuickAck, 1);
    const auto want = [&](std::uint32_t ack, const Blocks& duplicate, Blocks rest) {
      if (on) rest.insert(rest.begin(), duplicate.begin(), duplicate.end());
      h.expect_tx({.ack = ack, .sack = rest});
    };
    h.rx({.seq = 1, .ack = 1, .payload = std::string(10, 'a')});
    want(11, {}, {});
    h.rx({.seq = 1, .ack = 1, .payload = std::string(10, 'a')});  // all of it, below the ACK
    want(11, {{1, 11}}, {});
    h.rx({.seq = 21, .ack = 1, .payload = std::string(20, 'b')});
    want(11, {}, {{21, 41}});
    h.rx({.seq = 26, .ack = 1, .payload = "bbbbb"});  // in a held range
    want(11, {{26, 31}}, {{21, 41}});
    h.rx({.seq = 36, .ack = 1, .payload = std::string(10, 'b')});  // half of it new
    want(11, {{36, 41}}, {{21, 46}});
    h.rx({.seq = 6, .ack = 1, .payload = std::string(10, 'a')});  // half of it below the ACK
    want(16, {{6, 11}}, {{21, 46}});
    h.rx({.seq = 16, .ack = 1, .payload = std::string(10, 'a')});  // fills the hole, half of it held
    want(46, {{21, 26}}, {});
    h.rx({.seq = 46, .ack = 1, .payload = "c"});
    want(47, {}, {});
    EXPECT_EQ(h.read().size(), 46u);
  }
}

// A segment that a retransmission has overtaken is a little older than what was acknowledged last, and is taken if it
// stands in a hole. One that is much older is not (RFC7323-29), nor one where there is no hole.
TEST(SackReceive, OvertakenByARetransmission) {
  for (const std::uint32_t age : {1u, 32u, 33u, 1000u}) {
    for (const bool hole : {true, false}) {
      Script h;
      h.establish(syn(true, true));
      using Ts = Segment::Timestamps;
      if (hole) h.rx({.seq = 21, .ack = 1, .payload = std::string(10, 'c'), .ts = Ts{2001, 0}});
      h.rx({.seq = 1, .ack = 1, .payload = std::string(10, 'a'), .ts = Ts{2000, 0}});
      h.discard_tx();
      h.rx({.seq = 11, .ack = 1, .payload = std::string(10, 'b'), .ts = Ts{2000 - age, 0}});
      const bool taken = hole && age <= 32;
      h.expect_tx({.ack = taken ? 31u : 11u});
      EXPECT_EQ(h.counters().get(Drop::kTcpPaws), taken ? 0u : 1u) << age;
    }
  }
}

// (RFC2018-17, S51): a full store takes no more; what was reported stays, and the stream is whole in the end.
TEST(SackReceive, FullStoreKeepsItsWord) {
  Script h;
  h.establish(syn(true));
  std::uint32_t reported = 0;
  for (std::uint32_t i = 0; i < 30'000; ++i) h.rx({.seq = 3 + 2 * i, .ack = 1, .payload = "x"});
  EXPECT_GT(h.counters().get(Drop::kTcpReassemblyFull), 0u);
  while (const auto s = h.next_tx()) {
    for (const Segment::Block& b : s->sack) reported = std::max(reported, b.right);
  }
  for (std::uint32_t at = 1; at < reported; at += at == 1 ? 1 : 2) h.rx({.seq = at, .ack = 1, .payload = "y"});
  const std::string got = h.read();
  ASSERT_EQ(got.size(), reported - 1);
  for (std::size_t i = 1; i < got.size(); ++i) ASSERT_EQ(got[i], i % 2 == 0 ? 'x' : 'y') << i;
}

}  // namespace
}  // namespace sluice::test
