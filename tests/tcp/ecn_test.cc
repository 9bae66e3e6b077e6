// Explicit congestion notification by script: RFC 3168 §6.1, RFC 8257 §3.2, RFC 8311. Segments of 1000 bytes.
#include "tests/tcp/harness.h"

#include "stack/tcp/cc/registry.h"

namespace sluice::test {
namespace {

using tcp::EcnUse;

constexpr std::uint8_t kNone = 0, kCapable0 = 2, kMarked = 3;
constexpr std::uint32_t kMss = 1000;
constexpr std::uint32_t kScaled = 60000;  // the peer's window field

std::uint32_t number(std::uint32_t segment) {
  return 1 + segment * kMss;
}

ScriptOptions with(EcnUse ask, EcnUse answer, const char* controller = "newreno") {
  ScriptOptions o;
  o.tcp.ecn = ask;
  o.tcp.ecn_answer = answer;
  o.tcp.congestion = tcp::cc::index_of(controller);
  return o;
}

// A passive open in which the peer asks for ECN.
void establish(Script& h, bool sack) {
  h.listen();
  h.rx({.flags = "SEC", .seq = 0, .ack = 0, .mss = kMss, .sack_ok = sack});
  h.expect_tx({.flags = "SAE", .ecn = kNone});
  h.after(40_ms);
  h.rx({.seq = 1, .ack = 1, .win = kScaled});
  h.accept();
}

// Ten segments are out; 40 ms have passed.
void send_ten(Script& h, bool sack, std::uint32_t written = 30) {
  establish(h, sack);
  h.write(std::string(written * kMss, 'x'));
  for (std::uint32_t i = 0; i < 10; ++i) h.expect_tx({.seq = number(i), .size = kMss, .ecn = kCapable0});
  h.expect_nothing();
  h.after(40_ms);
}

// (RFC3168-01, -02)
TEST(Ecn, AnswersToASyn) {
  struct Row {
    EcnUse ask, answer;
    const char* controller;
    const char* syn;
    const char* syn_ack;
  };
  for (const Row& r : {Row{EcnUse::kOff, EcnUse::kClassic, "newreno", "SEC", "SAE"},
                       Row{EcnUse::kOff, EcnUse::kClassic, "newreno", "SE", "SA"},
                       Row{EcnUse::kOff, EcnUse::kClassic, "newreno", "SC", "SA"},
                       Row{EcnUse::kOff, EcnUse::kClassic, "newreno", "S", "SA"},
                       Row{EcnUse::kClassic, EcnUse::kOff, "newreno", "SEC", "SAE"},
                       Row{EcnUse::kOff, EcnUse::kOff, "newreno", "SEC", "SA"},
                       Row{EcnUse::kOff, EcnUse::kOff, "dctcp", "SEC", "SAE"}}) {
    SCOPED_TRACE(std::string(r.syn) + " " + r.controller);
    Script h(with(r.ask, r.answer, r.controller));
    h.listen();
    h.rx({.flags = r.syn, .seq = 0, .ack = 0, .mss = kMss});
    const bool agreed = std::string(r.syn_ack) == "SAE";
    h.expect_tx({.flags = r.syn_ack, .ecn = kNone});
    h.rx({.seq = 1, .ack = 1});
    h.accept();
    EXPECT_EQ(h.info().ecn, agreed);
    h.write("data");
    h.expect_tx({.payload = "data", .ecn = agreed ? kCapable0 : kNone});
  }
}

// (RFC3168-03, -04, -06; RFC8311-01, -02; RFC9293-SHLD-8)
TEST(Ecn, AskedInASyn) {
  struct Row {
    EcnUse ask;
    const char* controller;
    const char* syn;
    const char* syn_ack;
    bool agreed;
  };
  for (const Row& r :
       {Row{EcnUse::kClassic, "newreno", "SEC", "SAE", true}, Row{EcnUse::kClassic, "newreno", "SEC", "SA", false},
        Row{EcnUse::kClassic, "newreno", "SEC", "SAEC", false}, Row{EcnUse::kClassic, "newreno", "SEC", "SAC", false},
        Row{EcnUse::kOff, "newreno", "S", "SAE", false}, Row{EcnUse::kOff, "dctcp", "SEC", "SAE", true}}) {
    SCOPED_TRACE(std::string(r.syn_ack) + " " + r.controller);
    Script h(with(r.ask, EcnUse::kClassic, r.controller));
    h.connect();
    h.expect_tx({.flags = r.syn, .ecn = kNone});
    h.rx({.flags = r.syn_ack, .seq = 0, .ack = 1, .mss = kMss});
    h.expect_tx({.flags = "A", .ecn = kNone});
    EXPECT_EQ(h.info().ecn, r.agreed);
    h.write("data");
    h.expect_tx({.payload = "data", .ecn = r.agreed ? kCapable0 : kNone});
  }
}

// A middlebox may drop SYNs with these bits (RFC3168-05); then there is no ECN, whatever comes later (RFC3168-03).
TEST(Ecn, ASecondSynIsPlain) {
  Script h(with(EcnUse::kClassic, EcnUse::kClassic));
  h.connect();
  h.expect_tx({.flags = "SEC"});
  h.after(1_s);
  h.expect_tx({.flags = "S", .ecn = kNone});
  h.rx({.flags = "SAE", .seq = 0, .ack = 1, .mss = kMss});
  h.expect_tx({.flags = "A"});
  h.write("data");
  h.expect_tx({.payload = "data", .ecn = kNone});
}

TEST(Ecn, SynsThatCross) {
  for (const bool both : {true, false}) {
    Script h(with(EcnUse::kClassic, EcnUse::kClassic));
    h.connect();
    h.expect_tx({.flags = "SEC"});
    h.rx({.flags = both ? "SEC" : "S", .seq = 0, .ack = 0, .mss = kMss});
    h.expect_tx({.flags = both ? "SAE" : "SA", .ecn = kNone});
    h.rx({.seq = 1, .ack = 1});
    h.discard_tx();
    EXPECT_EQ(h.state(), "ESTABLISHED");
    h.write("data");
    h.expect_tx({.payload = "data", .ecn = both ? kCapable0 : kNone});
  }
}

TEST(Ecn, SurvivesASynCookie) {
  ScriptOptions o = with(EcnUse::kOff, EcnUse::kClassic);
  o.tcp.syn_cookies = tcp::SynCookieUse::kAlways;
  Script h(o);
  h.listen();
  h.rx({.flags = "SEC", .seq = 0, .ack = 0, .mss = kMss, .ts = Segment::Timestamps{100, 0}});
  const Segment answer = h.expect_tx({.flags = "SAE"});
  h.rx({.seq = 1, .ack = 1, .ts = Segment::Timestamps{101, answer.ts->value}});
  h.accept();
  h.write("data");
  h.expect_tx({.payload = "data", .ecn = kCapable0});
}

// (RFC3168-11, -12, -14): what is sent again, bare ACKs and window probes are not ECN-capable.
TEST(Ecn, OnlyNewDataIsCapable) {
  Script h(with(EcnUse::kOff, EcnUse::kClassic));
  establish(h, true);
  h.write(std::string(kMss, 'x'));
  h.expect_tx({.seq = 1, .ecn = kCapable0});
  h.after(3_s);
  h.expect_tx({.seq = 1, .ecn = kNone});
  h.discard_tx();
  h.rx({.seq = 1, .ack = number(1), .win = 0});
  h.write("more");
  h.after(10_s);
  h.expect_tx({.flags = "A", .seq = number(1), .payload = "m", .ecn = kNone});
  h.discard_tx();
  h.rx({.flags = "PA", .seq = 1, .ack = number(1), .win = 0, .payload = "abc"});
  h.expect_tx({.flags = "A", .size = 0, .ecn = kNone});
}

// The user's TOS has six bits of its own.
TEST(Ecn, BesideTheUsersTos) {
  for (const bool agreed : {true, false}) {
    Script h(with(EcnUse::kOff, agreed ? EcnUse::kClassic : EcnUse::kOff));
    h.listen();
    h.rx({.flags = "SEC", .seq = 0, .ack = 0, .mss = kMss});
    h.expect_tx({.flags = agreed ? "SAE" : "SA"});
    h.rx({.seq = 1, .ack = 1});
    h.accept();
    h.set(socket::Option::kIpTos, 0xff);
    h.write("data");
    h.expect_tx({.payload = "data", .ecn = agreed ? kCapable0 : kNone});
  }
}

// (RFC3168-10): ECE on everything until CWR; (RFC3168-13): a mark outside the window counts for nothing.
TEST(Ecn, EchoUntilCwr) {
  Script h(with(EcnUse::kOff, EcnUse::kClassic));
  establish(h, true);
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "abc", .ecn = kCapable0});
  h.expect_tx({.flags = "A", .ack = 4});
  EXPECT_TRUE(h.info().ecn_seen);
  h.rx({.flags = "PA", .seq = 1'000'000, .ack = 1, .payload = "abc", .ecn = kMarked});
  h.expect_tx({.flags = "A", .ack = 4});
  h.rx({.flags = "PA", .seq = 4, .ack = 1, .payload = "def", .ecn = kMarked});
  h.expect_tx({.flags = "AE", .ack = 7});
  h.write("data");
  h.expect_tx({.flags = "PAE", .payload = "data"});
  h.rx({.flags = "PA", .seq = 7, .ack = 5, .payload = "ghi", .ecn = kCapable0});
  h.after(1_s);
  h.expect_tx({.flags = "AE", .ack = 10});
  h.rx({.flags = "PAC", .seq = 10, .ack = 5, .payload = "jkl", .ecn = kMarked});  // reduced, and marked again
  h.after(1_s);
  h.expect_tx({.flags = "AE", .ack = 13});
  h.rx({.flags = "PAC", .seq = 13, .ack = 5, .payload = "mno", .ecn = kCapable0});
  h.expect_tx({.flags = "A", .ack = 16});
  EXPECT_EQ(h.counters().get(Counter::kTcpMarksReceived), 2u);
}

// DCTCP's receiver says of each segment whether it was marked: at a change, what came before is acknowledged first.
TEST(Ecn, ExactEcho) {
  ScriptOptions o = with(EcnUse::kOff, EcnUse::kClassic, "dctcp");
  o.tcp.quick_acks = 0;
  Script h(o);
  establish(h, true);
  const auto receive = [&](std::uint32_t seq, std::uint8_t ecn) {
    h.rx({.flags = "PA", .seq = seq, .ack = 1, .payload = "abc", .ecn = ecn});
  };
  receive(1, kCapable0);
  h.expect_nothing();
  receive(4, kMarked);
  h.expect_tx({.flags = "A", .ack = 4});
  h.expect_tx({.flags = "AE", .ack = 7});
  receive(7, kMarked);
  h.expect_nothing();
  receive(10, kCapable0);
  h.expect_tx({.flags = "AE", .ack = 10});
  h.expect_tx({.flags = "A", .ack = 13});
}

// (RFC3168-07, -09, -16): half the window, once; CWR on the next new data, once; nothing grows until something that
// was sent after the reduction is acknowledged.
TEST(Ecn, EchoHalvesTheWindowOnce) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    Script h(with(EcnUse::kOff, EcnUse::kClassic));
    send_ten(h, sack);
    h.rx({.flags = "AE", .seq = 1, .ack = number(2), .win = kScaled});
    EXPECT_EQ(h.info().ssthresh, 5 * kMss);
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kReducing);
    std::uint32_t next = 10;
    std::uint32_t with_cwr = 0;
    for (std::uint32_t acked = 3; acked <= 10; ++acked) {
      h.rx({.flags = "AE", .seq = 1, .ack = number(acked), .win = kScaled});
      while (const auto sent = h.next_tx()) {
        EXPECT_EQ(sent->seq, number(next));
        EXPECT_EQ(sent->ecn, kCapable0);
        const bool cwr = sent->flags.find('C') != std::string::npos;
        EXPECT_EQ(cwr, next == 10);
        with_cwr += cwr ? 1 : 0;
        ++next;
      }
      EXPECT_LE(h.info().flight, (10 - acked / 2) * kMss);
    }
    h.rx({.flags = "AE", .seq = 1, .ack = number(10), .win = kScaled - 1});  // from before CWR was seen there
    h.expect_nothing();
    EXPECT_EQ(with_cwr, 1u);
    EXPECT_EQ(next, 15u);  // five are in flight
    EXPECT_EQ(h.info().ssthresh, 5 * kMss);
    EXPECT_EQ(h.info().cwnd, 5 * kMss);
    EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 1u);
    h.rx({.seq = 1, .ack = number(11), .win = kScaled});  // what carried CWR
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
    h.discard_tx();
    h.rx({.flags = "AE", .seq = 1, .ack = number(12), .win = kScaled});  // marked anew
    EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 2u);
    EXPECT_EQ(h.info().ssthresh, 2 * kMss + kMss / 2);
  }
}

// With PRR the window falls evenly: with SACK one new segment goes for two acknowledged.
TEST(Ecn, TheWindowFallsEvenly) {
  Script h(with(EcnUse::kOff, EcnUse::kClassic));
  send_ten(h, true);
  std::uint32_t next = 10;
  for (std::uint32_t acked = 1; acked <= 7; ++acked) {
    h.rx({.flags = "AE", .seq = 1, .ack = number(acked), .win = kScaled});
    while (h.next_tx()) ++next;
    EXPECT_EQ(next, 10 + acked / 2);
  }
}

// All is acknowledged with the echo: there is nothing to wait for.
TEST(Ecn, EchoWithTheLastAck) {
  for (const bool sack : {true, false}) {
    Script h(with(EcnUse::kOff, EcnUse::kClassic));
    send_ten(h, sack, 10);
    h.rx({.flags = "AE", .seq = 1, .ack = number(10), .win = kScaled});
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kOpen);
    EXPECT_LE(h.info().cwnd, 10 * kMss);
    EXPECT_EQ(h.counters().get(Counter::kTcpMarkReductions), 1u);
    h.write("data");
    h.expect_tx({.flags = "PAC", .payload = "data", .ecn = kCapable0});
  }
}

// All is acknowledged while the window falls: what comes next finds the window where it had to fall to.
TEST(Ecn, NothingLeftWhileReducing) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    Script h(with(EcnUse::kOff, EcnUse::kClassic));
    send_ten(h, sack, 10);
    h.rx({.flags = "AE", .seq = 1, .ack = number(2), .win = kScaled});
    h.rx({.flags = "AE", .seq = 1, .ack = number(10), .win = kScaled});
    h.expect_nothing();
    h.write(std::string(10 * kMss, 'x'));
    for (std::uint32_t i = 10; i < 15; ++i) h.expect_tx({.seq = number(i), .size = kMss});
    h.expect_nothing();
  }
}

// A loss in the same window of data is repaired, and is no second reason to reduce.
TEST(Ecn, LossWhileReducing) {
  for (const bool sack : {true, false}) {
    SCOPED_TRACE(sack);
    Script h(with(EcnUse::kOff, EcnUse::kClassic));
    send_ten(h, sack);
    h.rx({.flags = "AE", .seq = 1, .ack = number(1), .win = kScaled});
    const std::uint32_t ssthresh = h.info().ssthresh;
    h.discard_tx();
    bool again = false;
    for (std::uint32_t i = 2; i < 9; ++i) {
      Segment s{.flags = "AE", .seq = 1, .ack = number(1), .win = kScaled};
      if (sack) s.sack.push_back({number(2), number(i + 1)});
      h.rx(s);
      while (const auto sent = h.next_tx()) {
        if (sent->seq != number(1)) continue;
        again = true;
        EXPECT_EQ(sent->ecn, kNone);
        EXPECT_EQ(sent->flags.find('C'), std::string::npos);
      }
    }
    EXPECT_TRUE(again);
    EXPECT_EQ(h.info().phase, tcp::cc::Phase::kRecovery);
    EXPECT_EQ(h.info().ssthresh, ssthresh);
    h.rx({.flags = "A", .seq = 1, .ack = number(20), .win = kScaled});
    h.discard_tx();
  }
}

// Marks whose ACKs come back halve the window by the share of bytes that was marked (RFC 8257 §3.3): with all of the
// first round trip it is by half, as alpha begins with 1.
TEST(Ecn, DctcpReduces) {
  Script h(with(EcnUse::kOff, EcnUse::kClassic, "dctcp"));
  send_ten(h, true);
  h.rx({.flags = "AE", .seq = 1, .ack = number(2), .win = kScaled});
  EXPECT_EQ(h.info().ssthresh, 5 * kMss);
}

// A model of the path does not take marks for losses.
TEST(Ecn, BbrHearsThemOnly) {
  Script h(with(EcnUse::kOff, EcnUse::kClassic, "bbr"));
  establish(h, true);
  h.write(std::string(30 * kMss, 'x'));
  h.after(40_ms);
  h.discard_tx();
  const std::uint32_t cwnd = h.info().cwnd;
  h.rx({.flags = "AE", .seq = 1, .ack = number(2), .win = kScaled});
  EXPECT_GE(h.info().cwnd, cwnd);
}

}  // namespace
}  // namespace sluice::test
