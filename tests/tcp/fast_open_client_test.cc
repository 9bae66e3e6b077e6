// Fast Open of a client: RFC 7413 §4.1.3 (what it remembers), §4.2.1 (data in a SYN).
#include "stack/tcp/fast_open.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;
using tcp::FastOpenCache;
using tcp::FastOpenFailure;
using tcp::FastOpenOption;
using tcp::Switch;
using Outcome = FastOpenCache::Outcome;

const Segment::FastOpen kCookie{{0xab, 0xcd, 0x12, 0x34}, false};
const Segment::FastOpen kRequest{};

// --- what is remembered

FastOpenOption option_of(std::uint8_t size, FastOpenOption::Kind kind = FastOpenOption::Kind::kStandard) {
  FastOpenOption o{.kind = kind, .size = size};
  for (std::size_t i = 0; i < size; ++i) o.cookie[i] = static_cast<std::uint8_t>(i + 1);
  return o;
}

struct Memory {
  Context context{Rng::seed_from(1)};
  FastOpenCache cache{context};
  Memory() { context.now = Instant::from_nanos(1'000'000'000); }
};
const ip::Address kServer = wire::Ipv4Address{kPeerAddress};
const ip::Address kOther = wire::Ipv4Address{kPeerAddress + 1};

// (RFC7413-04): cookie and size of each server; a cookie that was not asked for is none.
TEST(FastOpenCache, CookiesAndSizes) {
  Memory m;
  EXPECT_EQ(m.cache.option_for(kServer), option_of(0));
  EXPECT_EQ(m.cache.mss_of(kServer), 0);
  m.cache.on_syn_ack(kServer, 1400, {}, option_of(8), Outcome::kAnswered);
  EXPECT_EQ(m.cache.option_for(kServer), option_of(0));
  EXPECT_EQ(m.cache.mss_of(kServer), 1400);
  m.cache.on_syn_ack(kServer, 1300, option_of(0), option_of(8), Outcome::kAnswered);
  EXPECT_EQ(m.cache.option_for(kServer), option_of(8));
  m.cache.on_syn_ack(kServer, 1200, option_of(8), {}, Outcome::kAnswered);  // no new one: the old one stays
  EXPECT_EQ(m.cache.option_for(kServer), option_of(8));
  EXPECT_EQ(m.cache.mss_of(kServer), 1200);
  EXPECT_EQ(m.cache.option_for(kOther), option_of(0));
  m.cache.clear();
  EXPECT_EQ(m.cache.mss_of(kServer), 0);
}

// Who gives no cookie is asked once in the old way, and then in the new one for good.
TEST(FastOpenCache, OldWayOfAsking) {
  Memory m;
  using Kind = FastOpenOption::Kind;
  for (const Kind kind : {Kind::kStandard, Kind::kExperimental, Kind::kStandard, Kind::kStandard}) {
    EXPECT_EQ(m.cache.option_for(kServer).kind, kind);
    m.cache.on_syn_ack(kServer, 1460, option_of(0, kind), {}, Outcome::kNoCookie);
  }
}

// (RFC7413-05): two failures in a row, then peace for a while, each time for longer; a success ends that.
TEST(FastOpenCache, RestsAfterFailures) {
  Memory m;
  m.cache.on_failure(kServer);
  EXPECT_FALSE(m.cache.resting(kServer));
  for (const std::int64_t rest : {1, 2, 4}) {
    m.cache.on_failure(kServer);
    m.context.now = m.context.now + FastOpenCache::kFirstRest * rest - 1_s;
    EXPECT_TRUE(m.cache.resting(kServer)) << rest;
    EXPECT_FALSE(m.cache.resting(kOther));
    m.context.now = m.context.now + 1_s;
    EXPECT_FALSE(m.cache.resting(kServer)) << rest;
  }
  m.cache.on_syn_ack(kServer, 1460, option_of(0), {}, Outcome::kAnswered);
  m.cache.on_failure(kServer);
  EXPECT_FALSE(m.cache.resting(kServer));
}

TEST(FastOpenCache, RestsEverywhereAfterBlackHoles) {
  Memory m;
  m.cache.on_black_hole(Duration());
  EXPECT_FALSE(m.cache.resting(kServer));
  for (const std::int64_t rest : {1, 2}) {
    m.cache.on_black_hole(60_s);
    m.context.now = m.context.now + 60_s * rest - 1_s;
    EXPECT_TRUE(m.cache.resting(kOther)) << rest;
    m.context.now = m.context.now + 1_s;
    EXPECT_FALSE(m.cache.resting(kOther)) << rest;
  }
  m.cache.on_success();
  m.cache.on_black_hole(60_s);
  m.context.now = m.context.now + 60_s;
  EXPECT_FALSE(m.cache.resting(kServer));
}

// However many servers there are; those used last stay.
TEST(FastOpenCache, Bounded) {
  Memory m;
  std::size_t known = 0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    m.context.now = m.context.now + 1_ms;
    m.cache.on_syn_ack(kServer, 1460, option_of(0), option_of(8), Outcome::kAnswered);
    m.cache.on_syn_ack(wire::Ipv4Address{0x0a000000 + i}, 1460, option_of(0), option_of(8), Outcome::kAnswered);
  }
  for (std::uint32_t i = 0; i < 10'000; ++i) known += m.cache.mss_of(wire::Ipv4Address{0x0a000000 + i}) != 0 ? 1 : 0;
  EXPECT_LT(known, FastOpenCache::kMost);
  EXPECT_GT(known, FastOpenCache::kMost / 2);
  EXPECT_EQ(m.cache.option_for(kServer), option_of(8));
}

// --- in the stack

Segment syn_ack(std::uint32_t ack, const std::optional<Segment::FastOpen>& option = {}, std::uint16_t mss = 1460) {
  return {.flags = "SA", .seq = 0, .ack = ack, .mss = mss, .sack_ok = true, .fast_open = option};
}

// Ends a connection that has received nothing, so that the next one is the only one.
void forget(Script& h) {
  h.rx({.flags = "R", .seq = 1, .ack = 0});
  h.close();
  h.discard_tx();
}

// A first connection that brings the cookie.
void learn(Script& h, const Segment::FastOpen& cookie = kCookie, std::uint16_t mss = 1460) {
  h.open_socket();
  EXPECT_EQ(h.send_first("").error(), Errno::kInProgress);
  h.expect_tx({.flags = "S", .payload = "", .fast_open = kRequest});
  h.rx(syn_ack(1, cookie, mss));
  h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
  forget(h);
}

TEST(FastOpenClient, DataInTheSyn) {
  Script h;
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  h.expect_tx({.flags = "S", .seq = 0, .payload = "hello", .fast_open = kCookie});
  EXPECT_EQ(h.state(), "SYN-SENT");
  EXPECT_EQ(h.write("more"), Errno::kAgain);
  h.rx(syn_ack(6));
  h.expect_tx({.flags = "A", .seq = 6, .ack = 1, .payload = ""});
  EXPECT_EQ(h.state(), "ESTABLISHED");
  EXPECT_TRUE(h.info().syn_data_acked);
  EXPECT_EQ(h.info().send_queued, 0u);
  h.write("more");
  h.expect_tx({.flags = "PA", .seq = 6, .payload = "more"});
  const Segment::FastOpen other{{9, 9, 9, 9}, false};  // without a SYN it means nothing (RFC7413-02)
  h.rx({.flags = "PA", .seq = 1, .ack = 10, .payload = "answer", .fast_open = other});
  EXPECT_EQ(h.read(), "answer");
  h.discard_tx();
  h.open_socket();
  EXPECT_EQ(h.send_first("again").value(), 5u);
  h.expect_tx({.flags = "S", .payload = "again", .fast_open = kCookie});
}

// (RFC7413-04): no more than the server took last time, less room for all options; TCP_MAXSEG and the path count too.
TEST(FastOpenClient, Size) {
  struct Row {
    std::uint16_t mss;
    std::int64_t max_segment;
    std::size_t size;
  };
  for (const Row& row : {Row{1460, 0, 1420}, Row{940, 0, 900}, Row{1460, 1040, 1000}, Row{9000, 0, 1420}}) {
    Script h;
    learn(h, kCookie, row.mss);
    h.open_socket();
    h.set(Option::kTcpMaxSegment, row.max_segment);
    EXPECT_EQ(h.send_first(std::string(5000, 'x')).value(), row.size);
    h.expect_tx({.flags = "S", .size = row.size});
  }
}

// What the SYN says, by what is known and asked for. (RFC7413-01, -09)
TEST(FastOpenClient, Decisions) {
  struct Row {
    const char* what;
    bool known;
    std::size_t taken;
    std::optional<Segment::FastOpen> option;
    void (*config)(tcp::TcpConfig&) = [](tcp::TcpConfig&) {};
    std::optional<Option> set = {};
  };
  const auto no_cookie = [](tcp::TcpConfig& c) { c.fast_open_client_no_cookie = Switch::kOn; };
  const Row rows[] = {
      {"nothing known", false, 0, kRequest},
      {"a cookie", true, 5, kCookie},
      {"none needed, of the stack", false, 5, {}, no_cookie},
      {"none needed, of the socket", false, 5, {}, [](tcp::TcpConfig&) {}, Option::kTcpFastOpenNoCookie},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    ScriptOptions o;
    row.config(o.tcp);
    Script h(o);
    if (row.known) learn(h);
    h.open_socket();
    if (row.set) h.set(*row.set, 1);
    const auto sent = h.send_first("hello");
    EXPECT_EQ(sent.value_or(0), row.taken);
    const Segment syn = h.expect_tx({.flags = "S", .size = row.taken});
    EXPECT_EQ(syn.fast_open, row.option);
  }
  ScriptOptions o;
  o.tcp.fast_open_client = Switch::kOff;
  Script off(o);
  off.open_socket();
  EXPECT_EQ(off.send_first("hello").error(), Errno::kNotSupported);
  Script plain;  // not asked for
  learn(plain);
  plain.connect();
  plain.expect_tx({.flags = "S", .payload = "", .has_fast_open = false});
}

// Errors as on Linux.
TEST(FastOpenClient, Errors) {
  Script h;
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  EXPECT_EQ(h.send_first("hello").error(), Errno::kAlready);
  EXPECT_EQ(h.begin_connect().error(), Errno::kAlready);
  h.expect_tx({.flags = "S"});
  h.rx(syn_ack(6));
  EXPECT_TRUE(h.begin_connect());
  EXPECT_EQ(h.send_first("hello").error(), Errno::kIsConnected);
  h.discard_tx();
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  h.expect_tx({.flags = "S"});
  h.rx({.flags = "RA", .seq = 0, .ack = 1});
  EXPECT_EQ(h.write("x"), Errno::kConnectionRefused);
}

// What the SYN-ACK acknowledges of the data; the rest goes again at once, not as a sign of congestion.
TEST(FastOpenClient, Acknowledged) {
  for (const bool sack : {true, false}) {
    for (const std::uint32_t taken : {0u, 3u, 5u}) {
      SCOPED_TRACE(taken);
      Script h;
      learn(h);
      h.open_socket();
      EXPECT_EQ(h.send_first("hello").value(), 5u);
      h.expect_tx({.flags = "S", .payload = "hello"});
      Segment answer = syn_ack(1 + taken);
      answer.sack_ok = sack;
      h.rx(answer);
      const std::string rest = std::string("hello").substr(taken);
      h.expect_tx({.flags = rest.empty() ? "A" : "PA", .seq = 1 + taken, .ack = 1, .payload = rest});
      EXPECT_EQ(h.info().syn_data_acked, rest.empty());
      EXPECT_EQ(h.info().fast_open_failure, rest.empty() ? FastOpenFailure::kNone : FastOpenFailure::kNotAcknowledged);
      EXPECT_EQ(h.info().cwnd, 14600u);
      h.rx({.seq = 1, .ack = 6});
      EXPECT_EQ(h.info().flight, 0u);
      h.expect_nothing();
    }
  }
  Script h;  // beyond what was sent: a reset (RFC9293-SYNS-01)
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  h.expect_tx({.flags = "S"});
  h.rx(syn_ack(7));
  h.expect_tx({.flags = "R", .seq = 7});
  EXPECT_EQ(h.state(), "SYN-SENT");
}

// (RFC7413-07): the SYN goes again without data and option. (RFC7413-05): when that happens twice, no third time.
TEST(FastOpenClient, SynLost) {
  Script h;
  learn(h);
  for (int i = 0; i < 3; ++i) {
    h.open_socket();
    const bool tries = i < 2;
    EXPECT_EQ(h.send_first("hello").value_or(0), tries ? 5u : 0u);
    h.expect_tx({.flags = "S", .payload = tries ? "hello" : "", .has_fast_open = tries});
    if (!tries) break;
    ASSERT_TRUE(h.until_tx(2_s));
    h.expect_tx({.flags = "S", .payload = "", .has_fast_open = false});
    h.rx(syn_ack(1));
    h.expect_tx({.flags = "PA", .seq = 1, .ack = 1, .payload = "hello"});
    EXPECT_EQ(h.info().fast_open_failure, FastOpenFailure::kSynRetransmitted);
    h.rx({.seq = 1, .ack = 6});
    forget(h);
  }
}

// (RFC7413-05): nobody answers at all: nobody else gets data in a SYN either, for an hour.
TEST(FastOpenClient, BlackHole) {
  Script h;
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  h.after(200_s);
  h.discard_tx();
  EXPECT_EQ(h.write("x"), Errno::kTimedOut);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").error(), Errno::kInProgress);
  h.expect_tx({.flags = "S", .payload = "", .has_fast_open = false});
  h.after(3700_s);
  h.discard_tx();
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
}

// TCP_FASTOPEN_CONNECT: connect() waits for the first data when there is a cookie.
TEST(FastOpenClient, ConnectWaitsForData) {
  Script h;
  h.open_socket();
  h.set(Option::kTcpFastOpenConnect, 1);
  EXPECT_EQ(h.begin_connect().error(), Errno::kInProgress);
  h.expect_tx({.flags = "S", .payload = "", .fast_open = kRequest});
  h.rx(syn_ack(1, kCookie));
  h.discard_tx();
  h.open_socket();
  h.set(Option::kTcpFastOpenConnect, 1);
  EXPECT_TRUE(h.begin_connect());
  h.after(300_s);
  h.expect_nothing();
  EXPECT_EQ(h.ready(), socket::Ready::kOut);
  EXPECT_EQ(h.read_error(), Errno::kAgain);
  EXPECT_EQ(h.begin_connect().error(), Errno::kIsConnected);
  EXPECT_EQ(h.write("hello"), Errno::kOk);
  h.expect_tx({.flags = "S", .payload = "hello", .fast_open = kCookie});
  h.rx(syn_ack(6));
  h.expect_tx({.flags = "A", .seq = 6});
  h.open_socket();  // and one that is closed instead
  h.set(Option::kTcpFastOpenConnect, 1);
  EXPECT_TRUE(h.begin_connect());
  h.close();
  h.after(300_s);
  h.expect_nothing();
}

// A block of the application's is no different: what does not fit into the SYN follows.
TEST(FastOpenClient, FirstBlock) {
  Script h;
  learn(h);
  h.open_socket();
  h.set(Option::kTcpFastOpenConnect, 1);
  EXPECT_TRUE(h.begin_connect());
  const std::string text = std::string(1420, 'a') + std::string(1000, 'b');
  buf::Buffer block = h.stack().pool().allocate(buf::Pool::kLarge);
  ASSERT_TRUE(block.append({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
  EXPECT_TRUE(h.stack().sockets().send(h.handle(), block, {}));
  EXPECT_FALSE(block);
  h.expect_tx({.flags = "S", .payload = text.substr(0, 1420)});
  h.rx(syn_ack(1421));
  h.expect_tx({.flags = "PA", .seq = 1421, .payload = text.substr(1420)});
}

// The server answers with data.
TEST(FastOpenClient, DataInTheSynAck) {
  Script h;
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first("hello").value(), 5u);
  h.expect_tx({.flags = "S"});
  Segment answer = syn_ack(6);
  answer.payload = "world";
  h.rx(answer);
  h.expect_tx({.flags = "A", .seq = 6, .ack = 6});
  EXPECT_EQ(h.read(), "world");
}

// Both at the same time: the data in the other's SYN is not taken, ours may be.
TEST(FastOpenClient, SimultaneousOpen) {
  for (const std::uint32_t taken : {0u, 5u}) {
    Script h;
    learn(h);
    h.open_socket();
    EXPECT_EQ(h.send_first("hello").value(), 5u);
    h.expect_tx({.flags = "S"});
    h.rx({.flags = "S", .seq = 0, .ack = 0, .payload = "other", .mss = 1460, .sack_ok = true, .fast_open = kCookie});
    h.expect_tx({.flags = "SA", .seq = 0, .ack = 1, .payload = "", .has_fast_open = false});
    h.rx(syn_ack(1 + taken));
    EXPECT_EQ(h.state(), "ESTABLISHED");
    if (taken == 0) h.expect_tx({.flags = "PA", .seq = 1, .payload = "hello"});
    h.discard_tx();
    h.rx({.flags = "PA", .seq = 1, .ack = 6, .payload = "other"});
    EXPECT_EQ(h.read(), "other");
  }
}

// Too large for the path: the SYN alone, at once.
TEST(FastOpenClient, TooLargeForThePath) {
  Script h;
  learn(h);
  h.open_socket();
  EXPECT_EQ(h.send_first(std::string(2000, 'x')).value(), 1420u);
  h.expect_tx({.flags = "S", .size = 1420});
  h.rx_icmp(3, 4, 1000, {.flags = "S", .seq = 0});
  h.expect_tx({.flags = "S", .size = 0, .has_fast_open = false});
  h.rx(syn_ack(1));
  std::size_t sent = 0;
  while (const auto segment = h.next_tx()) {
    EXPECT_LE(segment->payload.size(), 960u);
    sent += segment->payload.size();
  }
  EXPECT_EQ(sent, 1420u);
}

}  // namespace
}  // namespace sluice::test
