// Accurate ECN by script: RFC 9768. Segments of 1000 bytes.
#include "tests/tcp/harness.h"

#include "stack/tcp/accurate_ecn.h"
#include "stack/tcp/cc/registry.h"

namespace sluice::test {
namespace {

using tcp::EcnUse;

constexpr std::uint8_t kNone = 0, kCapable1 = 1, kCapable0 = 2, kMarked = 3;
constexpr std::uint32_t kMss = 1000;
using Counts = std::vector<std::uint32_t>;

ScriptOptions with(EcnUse ask, EcnUse answer, const char* controller = "newreno") {
  ScriptOptions o;
  o.tcp.ecn = ask;
  o.tcp.ecn_answer = answer;
  o.tcp.congestion = tcp::cc::index_of(controller);
  return o;
}

std::vector<std::uint8_t> option(std::uint8_t kind, const Counts& counts) {
  std::vector<std::uint8_t> o = {kind, static_cast<std::uint8_t>(2 + 3 * counts.size())};
  for (const std::uint32_t c : counts) {
    for (const int shift : {16, 8, 0}) o.push_back(static_cast<std::uint8_t>(c >> shift));
  }
  return o;
}

// A passive open by a peer that asks for it; ours is the server.
void establish(Script& h) {
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = true, .ace = 7});
  h.expect_tx({.flags = "SAC", .ace = 2, .ecn = kNone});
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1, .win = 60'000, .ace = 2});
  h.accept();
}

// (RFC9768-02, -03, -04, -05): what each SYN is answered, by what we are able to do.
TEST(AccurateEcn, AnswersToASyn) {
  struct Row {
    EcnUse able;
    std::uint8_t syn, codepoint, answer;
    bool ecn, accurate;
  };
  const Row rows[] = {
      {EcnUse::kAccurate, 7, kNone, 2, true, true},     {EcnUse::kAccurate, 7, kCapable1, 3, true, true},
      {EcnUse::kAccurate, 7, kCapable0, 4, true, true}, {EcnUse::kAccurate, 7, kMarked, 6, true, true},
      {EcnUse::kAccurate, 0, kNone, 0, false, false},   {EcnUse::kAccurate, 3, kNone, 1, true, false},
      {EcnUse::kAccurate, 1, kNone, 2, true, true},     {EcnUse::kAccurate, 2, kNone, 2, true, true},
      {EcnUse::kAccurate, 4, kMarked, 6, true, true},   {EcnUse::kAccurate, 5, kNone, 2, true, true},
      {EcnUse::kAccurate, 6, kNone, 2, true, true},     {EcnUse::kClassic, 7, kMarked, 1, true, false},
      {EcnUse::kClassic, 3, kNone, 1, true, false},     {EcnUse::kClassic, 5, kNone, 0, false, false},
      {EcnUse::kOff, 7, kNone, 0, false, false},
  };
  for (const Row& r : rows) {
    SCOPED_TRACE(std::to_string(r.syn) + " codepoint " + std::to_string(r.codepoint));
    Script h(with(EcnUse::kOff, r.able));
    h.listen();
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ecn = r.codepoint, .ace = r.syn});
    h.expect_tx({.ace = r.answer, .ecn = kNone});
    h.rx({.seq = 1, .ack = 1, .ace = r.accurate ? 2 : 0});
    h.accept();
    EXPECT_EQ(h.info().ecn, r.ecn);
    EXPECT_EQ(h.info().accurate_ecn, r.accurate);
    h.write("data");
    h.expect_tx({.payload = "data", .ecn = r.ecn ? kCapable0 : kNone});
  }
}

// (RFC9768-01, -03, -04, -10): what is asked, what each SYN-ACK means, and the ACK that tells how it came in.
TEST(AccurateEcn, AnswersToOurSyn) {
  struct Row {
    EcnUse ask;
    std::uint8_t syn, syn_ack, codepoint, ack;
    bool ecn, accurate, capable;
  };
  const Row rows[] = {
      {EcnUse::kAccurate, 7, 2, kNone, 2, true, true, true},
      {EcnUse::kAccurate, 7, 2, kCapable1, 3, true, true, true},
      {EcnUse::kAccurate, 7, 2, kCapable0, 4, true, true, true},
      {EcnUse::kAccurate, 7, 2, kMarked, 6, true, true, true},
      // Our SYN had no codepoint: somebody on the way gives it one.
      {EcnUse::kAccurate, 7, 3, kNone, 2, true, true, false},
      {EcnUse::kAccurate, 7, 4, kNone, 2, true, true, false},
      {EcnUse::kAccurate, 7, 6, kNone, 2, true, true, false},
      {EcnUse::kAccurate, 7, 1, kNone, 0, true, false, true},
      {EcnUse::kAccurate, 7, 5, kNone, 0, true, false, true},
      {EcnUse::kAccurate, 7, 0, kNone, 0, false, false, false},
      {EcnUse::kAccurate, 7, 7, kNone, 0, false, false, false},
      {EcnUse::kClassic, 3, 2, kNone, 0, false, false, false},
      {EcnUse::kClassic, 3, 1, kNone, 0, true, false, true},
      {EcnUse::kOff, 0, 2, kNone, 0, false, false, false},
  };
  for (const Row& r : rows) {
    SCOPED_TRACE(std::to_string(r.syn_ack) + " codepoint " + std::to_string(r.codepoint));
    Script h(with(r.ask, EcnUse::kClassic));
    h.connect();
    h.expect_tx({.ace = r.syn, .ecn = kNone});
    h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss, .ecn = r.codepoint, .ace = r.syn_ack});
    h.expect_tx({.size = 0, .ace = r.ack, .ecn = kNone});
    EXPECT_EQ(h.info().ecn, r.ecn);
    EXPECT_EQ(h.info().accurate_ecn, r.accurate);
    h.write("data");
    const std::uint8_t count = r.codepoint == kMarked ? 6 : 5;  // (RFC9768-07)
    h.expect_tx({.payload = "data", .ace = r.accurate ? count : std::uint8_t{0}, .ecn = r.capable ? kCapable0 : kNone});
  }
}

// The second SYN asks as well; the third, for who drops such SYNs, does not.
TEST(AccurateEcn, SynsThatGetNoAnswer) {
  Script h(with(EcnUse::kAccurate, EcnUse::kAccurate));
  h.connect();
  for (const std::uint8_t ace : {std::uint8_t{7}, std::uint8_t{7}, std::uint8_t{0}, std::uint8_t{0}}) {
    h.expect_tx({.seq = 0, .ace = ace});
    ASSERT_TRUE(h.until_tx(20_s).has_value());
  }
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = kMss, .ace = 2});
  EXPECT_FALSE(h.info().ecn);
}

// A cookie has one bit for ECN.
TEST(AccurateEcn, ASynCookieIsClassic) {
  ScriptOptions o = with(EcnUse::kOff, EcnUse::kAccurate);
  o.tcp.syn_cookies = tcp::SynCookieUse::kAlways;
  Script h(o);
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ts = Segment::Timestamps{100, 0}, .ace = 7});
  const Segment answer = h.expect_tx({.ace = 1});
  h.rx({.seq = 1, .ack = 1, .ts = Segment::Timestamps{101, answer.ts->value}});
  h.accept();
  EXPECT_TRUE(h.info().ecn);
  EXPECT_FALSE(h.info().accurate_ecn);
}

// (RFC9768-08, -09, -11, -12, -13, -14): what comes in is counted, whatever it carries, told modulo eight in each
// segment, and in bytes by the option. CWR is only a bit of the count (RFC9768-06).
TEST(AccurateEcn, TellsWhatHasCome) {
  ScriptOptions o = with(EcnUse::kOff, EcnUse::kAccurate);
  o.tcp.quick_acks = 0;
  Script h(o);
  establish(h);
  std::uint32_t seq = 1, ours = 1;
  const auto data = [&](std::uint8_t codepoint) {
    h.rx({.flags = "A", .seq = seq, .ack = ours, .payload = "abc", .ecn = codepoint, .ace = 5});
    seq += 3;
  };
  EXPECT_FALSE(h.info().ecn_seen);
  data(kCapable0);
  h.expect_nothing();
  h.write("us");  // the ACK that was due rides on it, and so does the option
  h.expect_tx({.ack = seq, .payload = "us", .ace = 5, .accurate_ecn = Counts{4}});
  ours += 2;
  data(kMarked);  // the marks begin: an ACK at once
  h.expect_tx({.ack = seq, .size = 0, .ace = 6, .ecn = kNone, .accurate_ecn = Counts{4, 3}});
  data(kMarked);
  h.expect_nothing();
  data(kMarked);  // the second
  h.expect_tx({.ack = seq, .ace = 0, .accurate_ecn = Counts{4, 9}});
  data(kCapable1);
  h.after(40_ms);
  h.expect_tx({.ack = seq, .ace = 0, .accurate_ecn = Counts{4, 9, 4}});
  for (int i = 0; i < 3; ++i) {  // without data it takes three
    h.expect_nothing();
    h.rx({.seq = seq, .ack = ours, .ecn = kMarked, .ace = 5});
  }
  h.expect_tx({.ack = seq, .size = 0, .ace = 3});
  h.rx({.flags = "A", .seq = 1'000'000, .ack = ours, .payload = "far", .ecn = kMarked, .ace = 5});  // not acceptable
  h.expect_tx({.ack = seq, .ace = 3});
  h.write("data");
  h.expect_tx({.payload = "data", .ace = 3, .ecn = kCapable0});
  EXPECT_EQ(h.info().ecn_counts.received_marks, 6u);
  EXPECT_EQ(h.info().ecn_counts.received_marked, 9u);
}

// Thirty segments are written, ten are out.
void send_ten(Script& h) {
  establish(h);
  h.write(std::string(60 * kMss, 'x'));
  for (std::uint32_t i = 0; i < 10; ++i) h.expect_tx({.seq = 1 + i * kMss, .size = kMss, .ace = 5, .ecn = kCapable0});
  h.after(40_ms);
}

// A count that grows is answered once for each window of data; the CWR bit of what is sent stays a bit of the count.
TEST(AccurateEcn, MarksReduceTheWindow) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  send_ten(h);
  h.rx({.seq = 1, .ack = 1 + kMss, .win = 60'000, .ace = 5});
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
  h.rx({.seq = 1, .ack = 1 + 2 * kMss, .win = 60'000, .ace = 6});
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kReducing);
  const std::uint32_t ssthresh = h.info().ssthresh;
  EXPECT_LT(ssthresh, 11 * kMss);
  h.rx({.seq = 1, .ack = 1 + 3 * kMss, .win = 60'000, .ace = 7});
  EXPECT_EQ(h.info().ssthresh, ssthresh);
  EXPECT_EQ(h.info().ecn_counts.delivered_marks, 2u);
  while (const auto s = h.next_tx()) EXPECT_EQ(s->ace, 5);
}

// The field wraps; what a large ACK may hide is told by the option, or assumed.
TEST(AccurateEcn, AceWraps) {
  struct Row {
    const char* name;
    std::uint32_t delivered;  // segments
    std::uint8_t ace;
    std::vector<std::uint8_t> option;
    std::uint32_t marks;
  };
  const Row rows[] = {
      {"none", 4, 5, {}, 0},
      {"three, over the edge", 4, 0, {}, 3},
      {"nine or one of nine: the worst", 9, 6, {}, 9},
      {"one by the option", 9, 6, option(172, {8001, 1000}), 1},
      {"nine by the option", 9, 6, option(172, {1, 9000}), 9},
      {"in the other order", 9, 6, option(174, {1, 1000, 8001}), 1},
      {"an option without the count: none came", 10, 5, option(172, {10'001}), 0},
      {"an option with zeros is not believed", 9, 6, option(172, {0, 1000}), 9},
      {"an option of a wrong length is skipped", 9, 6, {172, 6, 0, 0, 1, 0}, 9},
      {"an empty one says nothing", 2, 7, option(172, {}), 2},
  };
  for (const Row& r : rows) {
    SCOPED_TRACE(r.name);
    Script h(with(EcnUse::kOff, EcnUse::kAccurate));
    send_ten(h);
    h.rx({.seq = 1, .ack = 1 + r.delivered * kMss, .win = 60'000, .raw_options = r.option, .ace = r.ace});
    EXPECT_EQ(h.info().ecn_counts.delivered_marks, r.marks);
    EXPECT_EQ(h.info().phase, r.marks > 0 ? tcp::cc::Phase::kReducing : tcp::cc::Phase::kOpen);
  }
}

// Somebody clears the bits: nothing is ECN-capable from then on, and nothing is believed.
TEST(AccurateEcn, ZeroInTheFirstSegment) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ace = 7});
  h.expect_tx({.ace = 2});
  h.rx({.seq = 1, .ack = 1, .ace = 0});
  h.accept();
  h.write("data");
  h.expect_tx({.payload = "data", .ace = 5, .ecn = kNone});
  h.rx({.seq = 1, .ack = 5, .ace = 7});
  EXPECT_EQ(h.info().ecn_counts.delivered_marks, 0u);
  EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
}

// The last ACK of the handshake says that our SYN-ACK came in marked; nothing of it counts twice.
TEST(AccurateEcn, AMarkedSynAck) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .ace = 7});
  h.expect_tx({.ace = 2});
  h.rx({.seq = 1, .ack = 1, .ace = 6});
  h.accept();
  EXPECT_EQ(h.info().ecn_counts.delivered_marks, 1u);
  h.write("data");
  h.expect_tx({.payload = "data"});
  h.rx({.seq = 1, .ack = 5, .ace = 6});
  EXPECT_EQ(h.info().ecn_counts.delivered_marks, 1u);
}

// SACK comes first where both do not fit (RFC9768-14).
TEST(AccurateEcn, SackHasPrecedence) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = true, .ts = Segment::Timestamps{100, 0}, .ace = 7});
  h.expect_tx({.ace = 2});
  h.rx({.seq = 1, .ack = 1, .ts = Segment::Timestamps{101, 0}, .ace = 2});
  h.accept();
  for (std::uint32_t i = 1; i <= 3; ++i) {
    h.rx({.seq = 1 + 20 * i,
          .ack = 1,
          .payload = "abc",
          .ts = Segment::Timestamps{101 + i, 0},
          .ecn = kMarked,
          .ace = 5});
    const auto s = h.next_tx();
    ASSERT_TRUE(s.has_value());
    EXPECT_EQ(s->sack.size(), i);
    EXPECT_EQ(s->accurate_ecn.has_value(), i <= 2);
  }
}

// A peer that marks what carries nothing is ECN-capable as well.
TEST(AccurateEcn, SeenInABareSegment) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  establish(h);
  EXPECT_FALSE(h.info().ecn_seen);
  h.rx({.seq = 1, .ack = 1, .ecn = kCapable0, .ace = 5});
  EXPECT_TRUE(h.info().ecn_seen);
}

// Segments that the link layer has joined count each.
TEST(AccurateEcn, SegmentsThatCameTogether) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  establish(h);
  h.rx_together(
      {{.seq = 1, .ack = 1, .payload = "abc", .ecn = kMarked}, {.seq = 4, .ack = 1, .payload = "def", .ecn = kMarked}});
  EXPECT_EQ(h.counters().get(Counter::kLinkCoalesced), 1u);
  EXPECT_EQ(h.info().ecn_counts.received_marks, 2u);
}

// What is sent again is not ECN-capable.
TEST(AccurateEcn, Retransmission) {
  ScriptOptions o = with(EcnUse::kOff, EcnUse::kAccurate);
  o.tcp.tail_probe = tcp::Switch::kOff;
  Script h(o);
  establish(h);
  h.write("data");
  h.expect_tx({.payload = "data", .ecn = kCapable0});
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.payload = "data", .ace = 5, .ecn = kNone});
}

// An ACK that delivers nothing tells no news, not even those of the one before it.
TEST(AccurateEcn, MarksAreHeardOnce) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate));
  establish(h);
  h.write("data");
  h.expect_tx({.payload = "data"});
  h.rx({.seq = 1, .ack = 5, .win = 60'000, .ace = 6});
  EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 1u);
  h.write("more");
  h.expect_tx({.payload = "more"});
  h.rx({.seq = 1, .ack = 5, .win = 50'000, .ace = 6});
  EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 1u);
}

// Bytes that are taken for marked, without the option and with it: what was assumed before is not counted again.
TEST(AccurateEcn, BytesOfMarks) {
  const auto counts = [](std::uint32_t capable0, std::uint32_t congestion) {
    using Option = wire::tcp::AccurateEcnOption;
    return Option{.present = true,
                  .has = Option::kCapable0 | Option::kCongestion,
                  .capable0 = capable0,
                  .congestion = congestion};
  };
  struct Row {
    std::uint8_t ace;
    wire::tcp::AccurateEcnOption option;
    std::uint32_t delivered, bytes;
  };
  const Row rows[] = {
      {5, {}, 3000, 0},
      {6, {}, 3000, 1000},                  // one packet of three
      {6, {}, 3000, 0},                     // no other one
      {0, {}, 1500, 1500},                  // two, as far as there is so much
      {0, counts(8001, 2000), 500, 0},      // it was less
      {1, counts(8001, 3000), 1000, 500},   // of which 500 were assumed above
      {2, counts(8001, 4000), 1000, 1000},  // and all that was assumed is settled
  };
  tcp::AccurateEcn e;
  for (const Row& r : rows) {
    SCOPED_TRACE(std::to_string(&r - rows));
    e.forget_news();
    e.on_ack(r.ace, r.option, r.delivered, kMss);
    EXPECT_EQ(e.news().bytes, r.bytes);
  }
}

// DCTCP hears how much was marked, not only that something was.
TEST(AccurateEcn, DctcpHearsTheShare) {
  Script h(with(EcnUse::kOff, EcnUse::kAccurate, "dctcp"));
  send_ten(h);
  h.rx({.seq = 1, .ack = 1 + 7 * kMss, .win = 60'000, .ace = 6});
  h.discard_tx();
  EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 1u);
  EXPECT_EQ(h.info().ecn_counts.delivered_marks, 1u);
}

}  // namespace
}  // namespace sluice::test
