// Fast Open of a server: RFC 7413 §4.1.2 (cookies), §4.2.2 (data in a SYN).
#include <cstring>

#include "stack/tcp/fast_open.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;
using tcp::FastOpenKeys;
using tcp::FastOpenOption;
using tcp::FastOpenVerdict;
using tcp::Switch;
using Cookie = std::vector<std::uint8_t>;

// As a sysctl has it: words of 32 bits, each with its lowest byte first.
SipKey key_of(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  SipKey key{};
  const std::uint32_t words[] = {a, b, c, d};
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(words[i / 4] >> i % 4 * 8);
  return key;
}
const SipKey kKey = key_of(0xa1a1a1a1, 0xb2b2b2b2, 0xc3c3c3c3, 0xd4d4d4d4);
const SipKey kOtherKey = key_of(1, 2, 3, 4);

Cookie bytes_of(const FastOpenOption& o) {
  return {o.cookie.begin(), o.cookie.begin() + o.size};
}
Cookie cookie_of(const SipKey& key) {
  return bytes_of(tcp::fast_open_cookie(key, wire::Ipv4Address{kPeerAddress}, wire::Ipv4Address{kOurAddress}));
}

// (RFC7413-03): the values Linux computes.
TEST(FastOpenCookie, KnownValues) {
  struct Row {
    SipKey key;
    wire::Ipv4Address client, server;
    Cookie cookie;
  };
  const SipKey second = key_of(0xa0bf63f7, 0xed803d81, 0xcd641d30, 0xcebc4a90);
  const Row rows[] = {
      {kKey,
       wire::Ipv4Address::of(192, 0, 2, 1),
       wire::Ipv4Address::of(192, 168, 0, 1),
       {0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb}},
      {second,
       wire::Ipv4Address::of(10, 248, 0, 2),
       wire::Ipv4Address::of(192, 168, 0, 2),
       {0x00, 0xab, 0xaa, 0xab, 0xe8, 0xe9, 0x54, 0xc2}},
      {second,
       wire::Ipv4Address::of(10, 248, 0, 3),
       wire::Ipv4Address::of(192, 168, 0, 2),
       {0x13, 0x13, 0xa2, 0xda, 0x99, 0x4a, 0x09, 0x51}},
  };
  for (const Row& row : rows) EXPECT_EQ(bytes_of(tcp::fast_open_cookie(row.key, row.client, row.server)), row.cookie);
}

// (RFC7413-03): bound to both addresses; two keys are good, one of them old.
TEST(FastOpenCookie, Judged) {
  const wire::Ipv4Address client{kPeerAddress};
  const wire::Ipv4Address server{kOurAddress};
  const FastOpenKeys keys{.key = {kKey, kOtherKey}, .count = 2};
  const FastOpenKeys one{.key = {kKey, kOtherKey}, .count = 1};
  const FastOpenOption fresh = tcp::fast_open_cookie(kKey, client, server);
  const FastOpenOption old = tcp::fast_open_cookie(kOtherKey, client, server);
  FastOpenOption cut = fresh;
  cut.size = 6;
  FastOpenOption wrong = fresh;
  wrong.cookie[7] ^= 1;
  EXPECT_EQ(tcp::judge_cookie(fresh, keys, client, server), FastOpenVerdict::kGood);
  EXPECT_EQ(tcp::judge_cookie(old, keys, client, server), FastOpenVerdict::kOld);
  EXPECT_EQ(tcp::judge_cookie(old, one, client, server), FastOpenVerdict::kBad);
  EXPECT_EQ(tcp::judge_cookie(cut, keys, client, server), FastOpenVerdict::kBad);
  EXPECT_EQ(tcp::judge_cookie(wrong, keys, client, server), FastOpenVerdict::kBad);
  EXPECT_EQ(tcp::judge_cookie(fresh, keys, wire::Ipv4Address{kPeerAddress + 1}, server), FastOpenVerdict::kBad);
  EXPECT_EQ(tcp::judge_cookie(fresh, keys, client, wire::Ipv4Address{kOurAddress + 1}), FastOpenVerdict::kBad);
}

// (RFC7413-03): a cookie of the stack's own key lives for one to two lifetimes.
TEST(FastOpenCookie, OwnKeysChange) {
  Context context(Rng::seed_from(1));
  context.now = Instant::from_nanos(1'000'000'000);
  tcp::FastOpenSecret secret(context);
  const FastOpenKeys first = secret.keys();
  EXPECT_EQ(first.count, 1);
  context.now = context.now + tcp::FastOpenSecret::kLifetime - 1_s;
  EXPECT_EQ(secret.keys(), first);
  context.now = context.now + 1_s;
  const FastOpenKeys second = secret.keys();
  EXPECT_EQ(second.count, 2);
  EXPECT_EQ(second.key[1], first.key[0]);
  EXPECT_NE(second.key[0], first.key[0]);
  context.now = context.now + tcp::FastOpenSecret::kLifetime * 2;  // nobody asked for a long time
  EXPECT_EQ(secret.keys().count, 1);
}

// --- in the stack

ScriptOptions with_key() {
  ScriptOptions o;
  o.tcp.fast_open_keys = {.key = {kKey, {}}, .count = 1};
  return o;
}

void listen_fast(Script& h, std::int64_t limit = 16) {
  h.listen();
  h.set_listener(Option::kTcpFastOpen, limit);
}

Segment syn_with(const std::string& data, const std::optional<Segment::FastOpen>& option) {
  return {.flags = "S", .seq = 0, .ack = 0, .payload = data, .mss = 1460, .fast_open = option};
}
Segment good_syn(const std::string& data = "hello") {
  return syn_with(data, Segment::FastOpen{cookie_of(kKey), false});
}

// RFC 7413 §4.2.2: the data is delivered, and answered, before the handshake ends.
TEST(FastOpenServer, DataBeforeTheHandshakeEnds) {
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .seq = 0, .ack = 6, .has_fast_open = false});
  h.accept();
  EXPECT_EQ(h.state(), "SYN-RECEIVED");
  EXPECT_TRUE(h.info().syn_data_acked);
  EXPECT_EQ(h.read(), "hello");
  EXPECT_EQ(h.read_error(), Errno::kAgain);
  EXPECT_EQ(h.write("world"), Errno::kOk);
  h.expect_tx({.flags = "PA", .seq = 1, .ack = 6, .payload = "world"});
  h.rx({.seq = 6, .ack = 6});
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.flags = "PA", .seq = 6, .ack = 6, .payload = "more"});
  EXPECT_EQ(h.read(), "more");
}

// What the server says to each SYN. (RFC7413-01, -09): nothing without being asked for; (RFC7413-02): options of a
// wrong length are none.
TEST(FastOpenServer, Decisions) {
  struct Row {
    const char* what;
    std::int64_t limit;
    Segment syn;
    std::uint32_t ack;  // of the SYN-ACK: 6 when the five bytes are taken
    std::optional<Segment::FastOpen> answer;
    std::optional<Option> option = {};
    void (*config)(tcp::TcpConfig&) = [](tcp::TcpConfig&) {};
  };
  const Segment::FastOpen ask{};
  const Segment::FastOpen ask_as_experiment{{}, true};
  const Segment::FastOpen good{cookie_of(kKey), false};
  const Segment::FastOpen good_as_experiment{cookie_of(kKey), true};
  const Segment::FastOpen bad{{1, 2, 3, 4, 5, 6, 7, 8}, false};
  const Segment::FastOpen too_short{{1, 2}, false};
  const Segment::FastOpen odd{{1, 2, 3, 4, 5}, false};
  const Segment::FastOpen too_long{Cookie(18, 7), false};
  const Row rows[] = {
      {"nobody asked for it", 0, syn_with("hello", good), 1, {}},
      {"good", 16, syn_with("hello", good), 6, {}},
      {"good, the old option", 16, syn_with("hello", good_as_experiment), 6, {}},
      {"a request", 16, syn_with("", ask), 1, good},
      {"a request, the old option", 16, syn_with("", ask_as_experiment), 1, good_as_experiment},
      {"a request with data", 16, syn_with("hello", ask), 1, good},
      {"bad", 16, syn_with("hello", bad), 1, good},
      {"too short", 16, syn_with("hello", too_short), 1, {}},
      {"odd", 16, syn_with("hello", odd), 1, {}},
      {"too long", 16, syn_with("hello", too_long), 1, {}},
      {"data only", 16, syn_with("hello", {}), 1, {}},
      {"none needed, of the listener", 16, syn_with("hello", {}), 6, {}, Option::kTcpFastOpenNoCookie},
      {"none needed, a bad one", 16, syn_with("hello", bad), 6, {}, Option::kTcpFastOpenNoCookie},
      {"none needed, of the stack",
       16,
       syn_with("hello", {}),
       6,
       {},
       {},
       [](tcp::TcpConfig& c) { c.fast_open_server_no_cookie = Switch::kOn; }},
      {"off for the stack",
       16,
       syn_with("hello", good),
       1,
       {},
       {},
       [](tcp::TcpConfig& c) { c.fast_open_server = Switch::kOff; }},
      {"each listener",
       0,
       syn_with("hello", good),
       1,
       {},
       {},  // set_listener(0) took it back
       [](tcp::TcpConfig& c) { c.fast_open_all_listeners = Switch::kOn; }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    ScriptOptions o = with_key();
    row.config(o.tcp);
    Script h(o);
    listen_fast(h, row.limit);
    if (row.option) h.set_listener(*row.option, 1);
    h.rx(row.syn);
    const Segment got = h.expect_tx({.flags = "SA", .seq = 0, .ack = row.ack});
    EXPECT_EQ(got.fast_open, row.answer);
    EXPECT_EQ(h.acceptable(), row.ack == 6);
  }
}

TEST(FastOpenServer, EachListenerByConfiguration) {
  ScriptOptions o = with_key();
  o.tcp.fast_open_all_listeners = Switch::kOn;
  Script h(o);
  h.listen();
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
}

// A good cookie without data: the server may speak first.
TEST(FastOpenServer, CookieWithoutData) {
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn(""));
  h.expect_tx({.flags = "SA", .seq = 0, .ack = 1, .has_fast_open = false});
  h.accept();
  EXPECT_FALSE(h.info().syn_data_acked);
  h.write("220 hello");
  h.expect_tx({.flags = "PA", .seq = 1, .ack = 1, .payload = "220 hello"});
}

// (RFC7413-03): a cookie of the last key opens, and is renewed.
TEST(FastOpenServer, RenewsOldCookie) {
  ScriptOptions o;
  o.tcp.fast_open_keys = {.key = {kKey, kOtherKey}, .count = 2};
  Script h(o);
  listen_fast(h);
  h.rx(syn_with("hello", Segment::FastOpen{cookie_of(kOtherKey), false}));
  h.expect_tx({.flags = "SA", .ack = 6, .fast_open = Segment::FastOpen{cookie_of(kKey), false}});
  h.after(1100_ms);
  h.expect_tx({.flags = "SA", .ack = 6, .has_fast_open = false});  // (RFC7413-07)
}

// (RFC7413-07): a SYN-ACK sent again has no option; nothing else is sent again before the handshake is over.
TEST(FastOpenServer, SynAckAgain) {
  Script h(with_key());
  listen_fast(h);
  h.rx(syn_with("hello", Segment::FastOpen{}));
  h.expect_tx({.flags = "SA", .ack = 1, .has_fast_open = true});
  h.after(1100_ms);
  h.expect_tx({.flags = "SA", .ack = 1, .has_fast_open = false});
  Script early(with_key());
  listen_fast(early);
  early.rx(good_syn());
  early.accept();
  early.write("world");
  early.discard_tx();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(early.until_tx(10_s));
    early.expect_tx({.flags = "SA", .seq = 0, .ack = 6, .payload = "", .has_fast_open = false});
  }
  early.rx({.seq = 6, .ack = 1});  // and now what was lost with it
  ASSERT_TRUE(early.until_tx(10_s));
  early.expect_tx({.flags = "PA", .seq = 1, .ack = 6, .payload = "world"});
}

// RFC 7413 §2.1: the SYN that comes twice is answered twice, but its data is delivered once.
TEST(FastOpenServer, SynTwice) {
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});  // sent again without data
  h.expect_tx({.flags = "SA", .ack = 6});
  h.accept();
  EXPECT_EQ(h.read(), "hello");
  EXPECT_FALSE(h.acceptable());
  h.rx({.seq = 6, .ack = 1});
  h.rx(good_syn());  // and late: a challenge
  h.expect_tx({.flags = "A", .seq = 1, .ack = 6, .payload = ""});
  EXPECT_EQ(h.read_error(), Errno::kAgain);
}

// (RFC7413-08): ten segments, and the peer's window, which a SYN does not scale.
TEST(FastOpenServer, InitialWindow) {
  for (const std::uint32_t window : {65535u, 2920u}) {
    Script h(with_key());
    listen_fast(h);
    Segment syn = good_syn();
    syn.win = window;
    syn.scale = 7;
    h.rx(syn);
    h.expect_tx({.flags = "SA"});
    h.accept();
    h.write(std::string(100'000, 'x'));
    std::size_t sent = 0;
    while (const auto segment = h.next_tx()) sent += segment->payload.size();
    EXPECT_EQ(sent, std::min<std::size_t>(window, 14600));
  }
}

// (RFC7413-06): beyond the limit an ordinary handshake; what is complete, or gone, makes room again; but what the peer
// reset only after a while.
TEST(FastOpenServer, Limit) {
  Script h(with_key());
  listen_fast(h, 2);
  const auto open = [&](std::uint16_t port) {
    Segment syn = good_syn();
    syn.src_port = port;
    h.rx(syn);
    return h.expect_tx({.flags = "SA"});
  };
  const Segment first = open(1001);
  EXPECT_EQ(first.ack, 6u);
  const Segment second = open(1002);
  EXPECT_EQ(second.ack, 6u);
  EXPECT_EQ(open(1003).ack, 1u);
  EXPECT_EQ(h.counters().get(Counter::kTcpFastOpenFull), 1u);
  h.rx({.seq = 6, .ack = first.seq + 1, .src_port = 1001});
  EXPECT_EQ(open(1004).ack, 6u);
  h.rx({.flags = "R", .seq = 6, .ack = 0, .src_port = 1002});
  EXPECT_EQ(open(1005).ack, 1u);
  h.after(59_s);
  h.discard_tx();
  EXPECT_EQ(open(1006).ack, 1u);
  h.after(2_s);
  h.discard_tx();
  EXPECT_EQ(open(1007).ack, 6u);
}

// An accepted one counts until its handshake is complete, also when the listener is closed meanwhile.
TEST(FastOpenServer, OutlivesItsListener) {
  Script h(with_key());
  listen_fast(h, 1);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.accept();
  Segment other = good_syn();
  other.src_port = 1001;
  h.rx(other);
  h.expect_tx({.flags = "SA", .ack = 1});
  h.stop_listening();
  h.discard_tx();
  h.rx({.seq = 6, .ack = 1});
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// Whoever was not accepted is reset with its listener.
TEST(FastOpenServer, ListenerClosed) {
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.stop_listening();
  h.expect_tx({.flags = "RA", .seq = 1, .ack = 6});
}

// The data can be read when the connection is over already: by a reset, or an error on the way.
TEST(FastOpenServer, DataOutlivesConnection) {
  enum class When { kBefore, kAfter };
  for (const When accepted : {When::kBefore, When::kAfter}) {
    Script h(with_key());
    listen_fast(h);
    h.rx(good_syn());
    h.expect_tx({.flags = "SA", .ack = 6});
    if (accepted == When::kBefore) h.accept();
    h.rx({.flags = "RA", .seq = 6, .ack = 0});
    if (accepted == When::kAfter) h.accept();
    EXPECT_EQ(h.state(), "CLOSED");
    EXPECT_TRUE(h.stack().sockets().tcp_info(h.handle())->syn_data_acked);
    EXPECT_EQ(h.read(), "hello");
    EXPECT_EQ(h.read_error(), Errno::kConnectionReset);
    EXPECT_TRUE(h.at_eof());
  }
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.rx_icmp(3, 1, 0, {.flags = "SA", .seq = 5000});  // about nothing that we sent
  EXPECT_EQ(h.counters().get(Drop::kIcmpQuote), 1u);
  h.rx_icmp(3, 1, 0, {.flags = "SA", .seq = 0});
  h.accept();
  EXPECT_EQ(h.read(), "hello");
  EXPECT_EQ(h.read_error(), Errno::kHostUnreachable);
  EXPECT_EQ(h.write("x"), Errno::kPipe);
}

// FIN in both directions before and with the end of the handshake.
TEST(FastOpenServer, Close) {
  Script h(with_key());
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 6});
  h.accept();
  EXPECT_EQ(h.read(), "hello");
  h.write("world");
  h.shutdown_write();
  h.expect_tx({.flags = "PA", .seq = 1, .ack = 6, .payload = "world"});
  h.expect_tx({.flags = "FA", .seq = 6, .ack = 6});
  h.rx({.flags = "FA", .seq = 6, .ack = 7});
  h.expect_tx({.flags = "A", .seq = 7, .ack = 7});
  EXPECT_EQ(h.state(), "TIME-WAIT");
  EXPECT_TRUE(h.at_eof());
}

// RFC 7413 §5.1: under a flood there are no cookies of this kind either.
TEST(FastOpenServer, NotWithSynCookies) {
  ScriptOptions o = with_key();
  o.tcp.syn_cookies = tcp::SynCookieUse::kAlways;
  Script h(o);
  listen_fast(h);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 1, .has_fast_open = false});
}

// Keys of a listener's own.
TEST(FastOpenServer, KeysOfTheListener) {
  Script h(with_key());
  listen_fast(h);
  auto& sockets = h.stack().sockets();
  const FastOpenKeys own{.key = {kOtherKey, {}}, .count = 1};
  EXPECT_TRUE(sockets.set_fast_open_keys(h.listener(), own));
  EXPECT_EQ(sockets.fast_open_keys(h.listener()).value(), own);
  h.rx(good_syn());
  h.expect_tx({.flags = "SA", .ack = 1, .fast_open = Segment::FastOpen{cookie_of(kOtherKey), false}});
}

}  // namespace
}  // namespace sluice::test
