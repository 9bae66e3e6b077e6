// Opening a connection: RFC 9293 §3.5, §3.10.1, §3.10.7.1 to §3.10.7.3; options in SYN segments.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

// (RFC9293-LIS-03, RFC9293-SYNR-02, RFC9293-MUST-14)
TEST(Handshake, PassiveOpen) {
  Script h;
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1400});
  h.expect_tx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
  EXPECT_EQ(h.state(), "SYN-RECEIVED");
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.expect_nothing();
}

// (RFC9293-OPEN-02, RFC9293-SYNS-03, RFC7323-01)
TEST(Handshake, ActiveOpen) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S", .seq = 0, .mss = 1460, .has_scale = true, .has_ts = true});
  EXPECT_EQ(h.state(), "SYN-SENT");
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
  h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// (RFC9293-MUST-10, RFC9293-SYNS-04, RFC 9293 figure 8)
TEST(Handshake, SimultaneousOpen) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S", .seq = 0});
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA", .seq = 0, .ack = 1});
  EXPECT_EQ(h.state(), "SYN-RECEIVED");
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// (RFC9293-RST-02): a reset for a closed port.
TEST(Handshake, ClosedPortIsReset) {
  Script h;
  h.rx({.flags = "S", .seq = 0, .ack = 0, .payload = ""});
  const Segment rst = h.expect_tx({.flags = "RA"});
  EXPECT_EQ(rst.ack, 1u);
  h.rx({.flags = "R", .seq = 5, .ack = 0});  // (RFC9293-RST-01)
  h.expect_nothing();
}

struct SynSentRow {
  const char* name;
  Segment in;
  const char* answer;  // flags of what is sent, "" for nothing
  const char* state;   // afterwards
};

// (RFC9293-SYNS-01, RFC9293-SYNS-02, RFC9293-SYNS-05, RFC9293-RST-03, RFC9293-RST-06; RFC5961-05)
TEST(Handshake, SegmentsInSynSent) {
  const SynSentRow rows[] = {
      {"ACK too low", {.flags = "A", .seq = 0, .ack = 0}, "R", "SYN-SENT"},
      {"ACK too high", {.flags = "A", .seq = 0, .ack = 2}, "R", "SYN-SENT"},
      {"SYN-ACK too high", {.flags = "SA", .seq = 0, .ack = 2}, "R", "SYN-SENT"},
      {"RST with bad ACK", {.flags = "RA", .seq = 0, .ack = 2}, "", "SYN-SENT"},
      {"RST with good ACK", {.flags = "RA", .seq = 0, .ack = 1}, "", "CLOSED"},
      {"RST without ACK", {.flags = "R", .seq = 0, .ack = 0}, "", "SYN-SENT"},
      {"ACK alone, good", {.flags = "A", .seq = 0, .ack = 1}, "", "SYN-SENT"},
      {"FIN", {.flags = "F", .seq = 0, .ack = 0}, "", "SYN-SENT"},
      {"FIN-ACK", {.flags = "FA", .seq = 0, .ack = 1}, "", "SYN-SENT"},
      {"nothing", {.flags = ".", .seq = 0, .ack = 0}, "", "SYN-SENT"},
  };
  for (const SynSentRow& row : rows) {
    SCOPED_TRACE(row.name);
    Script h;
    h.connect();
    h.expect_tx({.flags = "S"});
    h.rx(row.in);
    if (*row.answer != '\0') {
      const Segment rst = h.expect_tx({.flags = row.answer});
      EXPECT_EQ(rst.seq, row.in.ack);
    }
    h.expect_nothing();
    EXPECT_EQ(h.state(), row.state);
    EXPECT_EQ(h.take_error(), h.state() == "CLOSED" ? Errno::kConnectionRefused : Errno::kOk);
  }
}

// (RFC9293-LIS-01, RFC9293-LIS-02, RFC9293-LIS-04)
TEST(Handshake, SegmentsInListen) {
  Script h;
  h.listen();
  h.rx({.flags = "R", .seq = 0, .ack = 0});
  h.rx({.flags = "F", .seq = 0, .ack = 0});
  h.rx({.flags = "SF", .seq = 0, .ack = 0});
  h.rx({.flags = ".", .seq = 0, .ack = 0});
  h.expect_nothing();
  h.rx({.flags = "A", .seq = 0, .ack = 7});
  h.expect_tx({.flags = "R", .seq = 7});
  EXPECT_EQ(h.state(), "CLOSED");
}

// (RFC9293-SYNR-01): back to LISTEN quietly; (RFC9293-SYNR-02): a wrong ACK.
TEST(Handshake, SegmentsInSynReceived) {
  Script h;
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 2});
  h.expect_tx({.flags = "R", .seq = 2});
  h.rx({.seq = 1, .ack = 0});
  h.expect_tx({.flags = "R", .seq = 0});
  EXPECT_EQ(h.state(), "SYN-RECEIVED");
  h.rx({.flags = "R", .seq = 2, .ack = 0});  // in the window but not exact: a challenge (RFC 5961 §3)
  h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
  h.rx({.flags = "R", .seq = 1, .ack = 0});
  h.expect_nothing();
  EXPECT_EQ(h.state(), "CLOSED");
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA"});
}

// (RFC9293-MUST-22, RFC9293-MUST-23, RFC6298-18, RFC6298-19): SYN at 0, 1, 3, 7, ... s, for three minutes at least.
TEST(Handshake, SynIsRetransmitted) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  for (const int at : {1, 3, 7, 15, 31, 63, 123}) {
    const auto waited = h.until_tx(200_s);
    ASSERT_TRUE(waited.has_value()) << at;
    EXPECT_EQ(h.elapsed().to_millis(), at * 1000);
    h.expect_tx({.flags = "S", .seq = 0});
  }
  h.after(100_s);
  h.discard_tx();
  EXPECT_EQ(h.state(), "CLOSED");
  EXPECT_EQ(h.take_error(), Errno::kTimedOut);
  EXPECT_GE(h.elapsed().to_millis(), 180'000);
}

struct OptionRow {
  const char* name;
  Segment syn;
  bool want_scale;
  bool want_ts;
};

// (RFC7323-02, RFC7323-03, RFC7323-06, RFC7323-17): an answer has only what the SYN had.
TEST(Handshake, OptionsAreAnswered) {
  const OptionRow rows[] = {
      {"none", {.flags = "S", .seq = 0, .ack = 0}, false, false},
      {"scale", {.flags = "S", .seq = 0, .ack = 0, .scale = 0}, true, false},
      {"timestamps", {.flags = "S", .seq = 0, .ack = 0, .ts = Segment::Timestamps{7, 0}}, false, true},
      {"both", {.flags = "S", .seq = 0, .ack = 0, .scale = 7, .ts = Segment::Timestamps{7, 0}}, true, true},
  };
  for (const OptionRow& row : rows) {
    SCOPED_TRACE(row.name);
    Script h;
    h.listen();
    h.rx(row.syn);
    const Segment answer =
        h.expect_tx({.flags = "SA", .has_mss = true, .has_scale = row.want_scale, .has_ts = row.want_ts});
    EXPECT_EQ(answer.ts.value_or(Segment::Timestamps{}).echo, row.want_ts ? 7u : 0u);
  }
}

// The scale we offer is the smallest with which the largest window there can be fits the field; the window of the SYN
// itself is that of the beginning.
TEST(Handshake, OurWindowScale) {
  struct Row {
    const char* name;
    tcp::Switch tuning;
    std::size_t first, most;
    std::uint8_t want_scale;
    std::uint32_t want_window;
  };
  const Row rows[] = {{"default", tcp::Switch::kOn, 256 << 10, 32 << 20, 10, 65535},
                      {"small at first", tcp::Switch::kOn, 4096, 1 << 20, 5, 4096},
                      {"not tuned", tcp::Switch::kOff, 256 << 10, 32 << 20, 3, 65535}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ScriptOptions o;
    o.tcp.receive_tuning = row.tuning;
    o.tcp.receive_buffer = row.first;
    o.tcp.max_receive_buffer = row.most;
    Script passive(o);
    passive.listen();
    passive.rx({.flags = "S", .seq = 0, .mss = 1460, .scale = 7});
    EXPECT_EQ(passive.expect_tx({.flags = "SA", .win = row.want_window}).scale, row.want_scale);
    Script active(o);
    active.connect();
    EXPECT_EQ(active.expect_tx({.flags = "S", .win = row.want_window}).scale, row.want_scale);
  }
}

// (RFC7323-05, RFC7323-07, RFC7323-08, RFC7323-09): the SYN's window is literal; later ones are scaled; 15 counts
// as 14. (RFC9293-MUST-1, RFC9293-REC-1): the largest field with the largest shift is no negative number and loses no
// bit.
TEST(Handshake, WindowScale) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 1000, .mss = 1460, .scale = 15});
  EXPECT_EQ(h.info().send_scale, 14);
  h.rx({.seq = 1, .ack = 1, .win = 3});
  EXPECT_EQ(h.info().snd_wnd, 3u << 14);
  h.rx({.seq = 1, .ack = 1, .win = 65535});
  EXPECT_EQ(h.info().snd_wnd, 1'073'725'440u);
}

// (RFC9293-MUST-15, RFC9293-MUST-16): no MSS option means 536; a tiny one is not believed (S35).
TEST(Handshake, PeerMss) {
  struct Row {
    std::optional<std::uint16_t> mss;
    std::uint32_t want;
  };
  for (const Row& row : {Row{std::nullopt, 536}, Row{1000, 1000}, Row{0, 88}, Row{1, 88}, Row{65535, 1460}}) {
    Script h;
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = row.mss});
    EXPECT_EQ(h.info().send_mss, row.want);
  }
}

// (RFC9293-DATA-01): data on the SYN is not handed out before the handshake is complete.
TEST(Handshake, DataOnSyn) {
  Script h;
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0, .payload = "early"});
  h.expect_tx({.flags = "SA", .ack = 1});
  h.rx({.seq = 1, .ack = 1, .payload = "early"});
  h.accept();
  EXPECT_EQ(h.read(), "early");
}

// The accept queue is bounded, and a client that finds it full is served later (S50).
TEST(Handshake, AcceptQueueFull) {
  Script h;
  h.listen(1);
  for (std::uint16_t port = 1000; port < 1002; ++port) {
    h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = port});
  }
  const Segment first = h.expect_tx({.flags = "SA"});
  const Segment second = h.expect_tx({.flags = "SA"});
  EXPECT_EQ(first.dst_port, 1000);
  EXPECT_EQ(second.dst_port, 1001);
}

}  // namespace
}  // namespace sluice::test
