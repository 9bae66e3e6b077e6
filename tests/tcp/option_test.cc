// Options after the handshake: RFC 9293 §3.2, RFC 7323.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using Timestamps = Segment::Timestamps;

const Segment kSynWithTimestamps{.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Timestamps{1000, 0}};

// (RFC9293-MUST-5, RFC7323-04, RFC7323-21): any option may come with any segment. Those of a SYN mean nothing there,
// nor do timestamps that were not agreed; the data counts.
TEST(Options, OnDataSegments) {
  const std::vector<std::uint8_t> rows[] = {{1, 1, 1, 1},
                                            {0, 0, 0, 0},
                                            {2, 4, 0, 88},
                                            {3, 3, 9, 0},
                                            {4, 2, 1, 1},
                                            {8, 10, 0, 0, 0, 9, 0, 0, 0, 9, 1, 1},
                                            {5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1},
                                            {253, 6, 1, 2, 3, 4, 254, 2}};
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .scale = 2});
  std::uint32_t seq = 1;
  for (const auto& options : rows) {
    h.rx({.seq = seq, .ack = 1, .win = 1000 + seq, .payload = "abc", .raw_options = options});
    seq += 3;
    EXPECT_EQ(h.read(), "abc") << int{options[0]};
    h.expect_tx({.flags = "A", .ack = seq, .has_ts = false});
    EXPECT_EQ(h.info().snd_wnd, (1000 + seq - 3) << 2);
    EXPECT_EQ(h.info().send_mss, 1460u);
  }
}

// (RFC7323-13): what is sent for the first time lies inside the window as it was announced last.
TEST(Options, FirstTransmissionsStayInTheWindow) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 4000, .mss = 1460, .scale = 3});
  std::uint32_t edge = 1 + (4000u << 3);
  std::uint32_t highest = 1;
  h.write(std::string(200'000, 'x'));
  for (const std::uint32_t field : {4000u, 1000u, 900u, 4500u, 100u, 2000u, 5000u, 5000u}) {
    h.after(150_ms);  // less than a timeout
    while (const auto sent = h.next_tx()) {
      const std::uint32_t end = sent->seq + static_cast<std::uint32_t>(sent->payload.size());
      if (end > highest) {
        EXPECT_LE(end, edge);
      }
      highest = std::max(highest, end);
    }
    h.rx({.seq = 1, .ack = highest, .win = field});
    edge = highest + (field << 3);
  }
  EXPECT_GT(highest, 80'000u);
}

// (RFC7323-16): without an ACK there is nothing to echo. (RFC7323-15): nor to be read from an echo.
TEST(Timestamps, WithoutAck) {
  Script h;
  h.connect();
  const Segment syn = h.expect_tx({.flags = "S", .has_ts = true, .ts_echo = 0});
  h.after(100_ms);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .ts = Timestamps{500, syn.ts->value + 60}});  // the echo is garbage
  EXPECT_EQ(h.info().srtt, Duration());
  h.expect_tx({.flags = "SA", .ts_echo = 500});  // (RFC7323-15)
}

// (RFC7323-15): each ACK echoes the peer's clock of the segment that it answers.
TEST(Timestamps, Echo) {
  Script h;
  h.establish(kSynWithTimestamps);
  std::uint32_t seq = 1;
  for (const std::uint32_t value : {1001u, 1500u, 1500u, 2'000'000u}) {
    h.rx({.seq = seq, .ack = 1, .payload = "abc", .ts = Timestamps{value, 0}});
    seq += 3;
    h.expect_tx({.flags = "A", .ack = seq, .ts_echo = value});
  }
}

// (RFC7323-18): once agreed, on every segment: data, retransmissions, ACKs of all kinds, probes, FIN, TIME-WAIT.
TEST(Timestamps, OnEverySegment) {
  Script h;
  h.establish(kSynWithTimestamps);
  h.set(socket::Option::kTcpKeepIdle, 60);
  h.set(socket::Option::kKeepAlive, 1);
  const auto collect = [&](const char* kind) {
    int sent = 0;
    while (const auto s = h.next_tx()) {
      ++sent;
      EXPECT_TRUE(s->ts.has_value()) << kind;
      EXPECT_EQ(s->flags.find('R'), std::string::npos) << kind;
    }
    EXPECT_GT(sent, 0) << kind;
  };
  const Timestamps ts{1000, 0};
  h.write("data");
  collect("data");
  h.until_tx(5_s);
  collect("retransmission");
  h.rx({.seq = 1, .ack = 5, .ts = ts});
  h.rx({.seq = 1, .ack = 5, .payload = "abc", .ts = ts});
  collect("ACK");
  h.rx({.seq = 10, .ack = 5, .payload = "abc", .ts = ts});
  collect("duplicate ACK");
  h.rx({.flags = "S", .seq = 4, .ack = 0, .ts = ts});
  collect("challenge");
  h.rx({.seq = 4, .ack = 5, .payload = "old", .ts = Timestamps{900, 0}});
  collect("after PAWS");
  h.after(61_s);
  collect("keep-alive");
  h.rx({.seq = 4, .ack = 5, .payload = "123456", .ts = ts});
  collect("filled hole");
  h.rx({.seq = 13, .ack = 5, .win = 0, .ts = ts});
  h.write("x");
  h.expect_nothing();
  h.until_tx(5_s);
  collect("window probe");
  h.rx({.seq = 13, .ack = 6, .ts = ts});
  EXPECT_EQ(h.read(), "abc123456abc");
  h.shutdown_write();
  collect("FIN");
  h.rx({.flags = "FA", .seq = 13, .ack = 7, .ts = ts});
  collect("last ACK");
  EXPECT_EQ(h.state(), "TIME-WAIT");
  h.rx({.flags = "FA", .seq = 13, .ack = 7, .ts = ts});
  collect("TIME-WAIT");
}

// (RFC7323-23, -33, -34): a tick a millisecond: as fast as time, once in the shortest round trip there is to measure,
// and around in 49 days, longer than any segment lives.
TEST(Timestamps, Clock) {
  Script h;
  h.establish(kSynWithTimestamps);
  std::optional<std::uint32_t> first;
  Duration begin;
  for (const Duration pause : {Duration(), 1_ms, 1_ms, 998_ms, 3600_s}) {
    h.after(pause);
    h.rx({.seq = 1, .ack = 1, .payload = "a", .ts = Timestamps{1000, 0}});  // an ACK comes back each time
    const Segment ack = h.expect_tx({.flags = "A"});
    if (!first) {
      first = ack.ts->value;
      begin = h.elapsed();
    }
    EXPECT_EQ(ack.ts->value - *first, (h.elapsed() - begin).to_millis());
  }
}

// (RFC7323-37): the clock's start says nothing about the host, nor about another connection.
TEST(Timestamps, OffsetsDiffer) {
  std::vector<std::uint32_t> values;
  for (std::uint64_t seed = 1; seed < 5; ++seed) {
    Script h({.seed = seed});
    h.listen();
    for (std::uint16_t port = 1000; port < 1008; ++port) {
      h.rx({.flags = "S", .seq = 0, .ack = 0, .ts = Timestamps{1, 0}, .src_port = port});
      values.push_back(h.expect_tx({.flags = "SA"}).ts->value);
    }
  }
  std::sort(values.begin(), values.end());
  int close = 0;
  for (std::size_t i = 1; i < values.size(); ++i) close += values[i] - values[i - 1] < 100'000 ? 1 : 0;
  EXPECT_LE(close, 1);
  EXPECT_GT(values.back() - values.front(), 1u << 31);
}

// (RFC7323-24): an echo on a segment that acknowledges nothing new is no measurement.
TEST(Timestamps, SampleOnlyWhenTheAckAdvances) {
  Script h;
  h.establish(kSynWithTimestamps);
  h.write("abc");
  const std::uint32_t sent = h.expect_tx({.payload = "abc"}).ts->value;
  const Duration before = h.info().srtt;
  h.after(150_ms);
  h.rx({.seq = 1, .ack = 1, .payload = "xyz", .ts = Timestamps{1001, sent}});
  h.rx({.seq = 4, .ack = 1, .win = 60000, .payload = "u", .ts = Timestamps{1001, sent}});
  EXPECT_EQ(h.info().srtt, before);
  h.rx({.seq = 5, .ack = 4, .ts = Timestamps{1002, sent}});
  EXPECT_GT(h.info().srtt, before);
}

// (RFC7323-30): what has passed the check and waits behind a hole is not checked again, though time has gone on.
TEST(Timestamps, QueuedSegmentsAreNotCheckedAgain) {
  Script h;
  h.establish(kSynWithTimestamps);
  h.rx({.seq = 4, .ack = 1, .payload = "def", .ts = Timestamps{1001, 0}});
  h.rx({.seq = 1, .ack = 1, .payload = "abc", .ts = Timestamps{9000, 0}});
  EXPECT_EQ(h.read(), "abcdef");
}

// (RFC7323-32): neither an old duplicate nor a segment that is exempt from the check turns the saved value back.
TEST(Timestamps, SavedValueNeverDecreases) {
  Script h;
  h.establish(kSynWithTimestamps);
  h.rx({.seq = 1, .ack = 1, .payload = "abc", .ts = Timestamps{1500, 0}});
  h.expect_tx({.ack = 4, .ts_echo = 1500});
  h.rx({.seq = 1, .ack = 1, .payload = "abc", .ts = Timestamps{1400, 0}});  // PAWS
  h.expect_tx({.ack = 4, .ts_echo = 1500});
  h.rx({.flags = "R", .seq = 5, .ack = 0, .ts = Timestamps{1400, 0}});  // challenged
  h.expect_tx({.ack = 4, .ts_echo = 1500});
  h.rx({.flags = "S", .seq = 5, .ack = 0});  // without the option
  h.expect_tx({.ack = 4, .ts_echo = 1500});
  h.rx({.seq = 4, .ack = 1, .payload = "d", .ts = Timestamps{1500, 0}});
  h.expect_tx({.ack = 5, .ts_echo = 1500});
}

// A SYN-ACK that echoes a timestamp which no SYN of ours had is as wrong as one with a wrong number: a reset, which
// offers no window, and the connection waits on. An echo of 0 says nothing.
TEST(Timestamps, EchoInTheSynAck) {
  struct Row {
    std::uint32_t offset;  // to the SYN's value
    bool right;
  };
  for (const Row& row : {Row{0, true}, Row{1, false}, Row{UINT32_MAX, false}, Row{5000, false}}) {
    Script h;
    h.connect();
    const std::uint32_t value = h.expect_tx({.flags = "S", .has_ts = true}).ts->value;
    Segment answer{.flags = "SA", .seq = 0, .ack = 1, .mss = 1460};
    answer.ts = Segment::Timestamps{77, value + row.offset};
    h.rx(answer);
    EXPECT_EQ(h.state(), row.right ? "ESTABLISHED" : "SYN-SENT") << row.offset;
    if (!row.right) h.expect_tx({.flags = "R", .seq = 1, .win = 0});
  }
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  Segment answer{.flags = "SA", .seq = 0, .ack = 1, .mss = 1460};
  answer.ts = Segment::Timestamps{77, 0};
  h.rx(answer);
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// (RFC7323-38): NOP, NOP, timestamps: twelve bytes, the values on word boundaries.
TEST(Timestamps, LayOut) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Segment::Timestamps{1, 0}});
  h.write("abc");
  ASSERT_EQ(h.device().from_stack.size(), 1u);
  const std::vector<std::uint8_t>& packet = h.device().from_stack.front().packet;
  ASSERT_EQ(packet.size(), 20u + 20 + 12 + 3);
  const std::vector<std::uint8_t> head(packet.begin() + 40, packet.begin() + 44);
  EXPECT_EQ(head, (std::vector<std::uint8_t>{1, 1, 8, 10}));
}

// (RFC7323-35): after 24 days without a segment what was saved says nothing any more: the peer's clock may have
// wrapped.
TEST(Timestamps, SavedValueExpires) {
  for (const int days : {23, 25}) {
    Script h;
    h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = Segment::Timestamps{1000, 0}});
    h.after(Duration::seconds(days * 24 * 3600));
    h.rx({.seq = 1, .ack = 1, .payload = "abc", .ts = Segment::Timestamps{999, 0}});
    EXPECT_EQ(h.read(), days < 24 ? "" : "abc");
    EXPECT_EQ(h.counters().get(Drop::kTcpPaws), days < 24 ? 1u : 0u);
  }
}

// (RFC7323-11, -12): with a scale the field cannot say each size. The furthest edge that was announced is kept to: what
// ends there is taken, though the next byte may have been announced in smaller steps.
TEST(WindowScale, AnnouncedEdgeIsKept) {
  ScriptOptions o;
  o.tcp.receive_tuning = tcp::Switch::kOff;
  o.tcp.receive_buffer = 1 << 20;  // a scale of 5: steps of 32 bytes
  Script h(o);
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .scale = 7});
  const std::uint8_t shift = h.info().receive_scale;
  ASSERT_EQ(shift, 5);
  std::uint32_t seq = 1;
  std::uint32_t edge = 1 + 65535;  // of the SYN-ACK
  while (seq + 1001 <= edge) {     // odd sizes, and nobody reads
    h.rx({.seq = seq, .ack = 1, .payload = std::string(1001, 'x')});
    seq += 1001;
    h.after(1_s);
    while (const auto ack = h.next_tx()) {
      EXPECT_GE(ack->ack + (ack->win << shift), edge);
      edge = ack->ack + (ack->win << shift);
    }
  }
  EXPECT_GT(seq, 1'000'000u);
  const std::string last(edge - seq, 'y');
  h.rx({.seq = seq, .ack = 1, .payload = last});
  EXPECT_EQ(h.info().receive_queued, seq - 1 + last.size());
}

// (RFC9293-MUST-48, -SHLD-22): on all segments, those of the handshake too.
TEST(Dscp, IsTheUsers) {
  constexpr std::uint8_t kExpedited = 46;
  Script active;
  active.open_socket();
  active.set(socket::Option::kIpTos, kExpedited << 2);
  EXPECT_FALSE(active.begin_connect().has_value());
  EXPECT_EQ(active.expect_tx({.flags = "S"}).dscp, kExpedited);
  Script h;
  h.listen();
  h.set_listener(socket::Option::kIpTos, kExpedited << 2);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  EXPECT_EQ(h.expect_tx({.flags = "SA"}).dscp, kExpedited);
  h.rx({.seq = 1, .ack = 1});
  h.accept();
  h.write("abc");
  EXPECT_EQ(h.expect_tx({.payload = "abc"}).dscp, kExpedited);
  h.rx({.seq = 1, .ack = 4, .payload = "unread"});
  EXPECT_EQ(h.expect_tx({.flags = "A"}).dscp, kExpedited);
  h.set(socket::Option::kIpTos, 0);
  h.close();
  EXPECT_EQ(h.expect_tx({.flags = "RA"}).dscp, 0);
}

// (RFC9293-MUST-50): a header with options, known or not, is read over.
TEST(Options, OfIp) {
  for (const std::vector<std::uint8_t>& options :
       {std::vector<std::uint8_t>{1, 1, 1, 0}, std::vector<std::uint8_t>{0x94, 4, 0, 0},
        std::vector<std::uint8_t>{0x5e, 6, 1, 2, 3, 4, 0, 0}, std::vector<std::uint8_t>(40, 1)}) {
    Script h;
    h.listen();
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ip_options = options});
    h.expect_tx({.flags = "SA", .ack = 1});
    h.rx({.seq = 1, .ack = 1, .ip_options = options});
    h.accept();
    h.rx({.seq = 1, .ack = 1, .payload = "abc", .ip_options = options});
    EXPECT_EQ(h.read(), "abc");
  }
}

}  // namespace
}  // namespace sluice::test
