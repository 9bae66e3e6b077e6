// The MD5 signature option: RFC 2385, and what Linux makes of what it leaves open.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::uint32_t kMss = 1440;  // of 1460 without the option
const std::string kKey = "secret";

ScriptOptions with_key() {
  ScriptOptions o;
  o.md5_key = kKey;
  return o;
}

Status give_key(Script& h, socket::Handle handle, std::string_view secret, std::uint32_t address = kPeerAddress,
                std::uint8_t length = 32) {
  return h.stack().sockets().set_md5_key(handle,
                                         {{wire::Ipv4Address{address}, length}, {secret.begin(), secret.end()}});
}

void listen_with_key(Script& h) {
  h.listen();
  ASSERT_TRUE(give_key(h, h.listener(), kKey).has_value());
}

// The peer's SYN has all the options there is room for.
Segment syn(const std::optional<std::string>& key) {
  return {.flags = "S", .mss = 1460, .sack_ok = true, .ts = Segment::Timestamps{1, 0}, .md5 = key};
}

void establish(Script& h) {
  listen_with_key(h);
  h.rx(syn(kKey));
  h.expect_tx({.flags = "SA", .md5 = kKey});
  h.rx({.seq = 1, .ack = 1, .md5 = kKey});
  h.accept();
}

// Every segment is signed, and smaller by the option; there are no timestamps where SACK is agreed,
// as there would be no room for a block.
TEST(Md5, ServerSignsEverything) {
  Script h(with_key());
  listen_with_key(h);
  h.rx(syn(kKey));
  h.expect_tx({.flags = "SA", .mss = 1460, .has_ts = false, .sack_ok = true, .md5 = kKey});
  EXPECT_TRUE(h.until_tx(2_s).has_value());
  h.expect_tx({.flags = "SA", .md5 = kKey});  // again
  h.rx({.seq = 1, .ack = 1, .md5 = kKey});
  h.accept();
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "hello", .md5 = kKey});
  EXPECT_EQ(h.read(), "hello");
  h.expect_tx({.flags = "A", .ack = 6, .md5 = kKey});
  h.write(std::string(3 * kMss, 'x'));
  for (std::uint32_t i = 0; i < 3; ++i) h.expect_tx({.seq = 1 + i * kMss, .size = kMss, .md5 = kKey});
  h.expect_nothing();
  EXPECT_EQ(h.info().send_mss, kMss);
  EXPECT_TRUE(h.until_tx(5_s).has_value());
  while (const auto s = h.next_tx()) EXPECT_EQ(s->md5, kKey);  // probes and retransmissions
  h.rx({.seq = 6, .ack = 1 + 3 * kMss, .md5 = kKey});
  h.shutdown_write();
  h.expect_tx({.flags = "FA", .md5 = kKey});
  EXPECT_EQ(h.stack().counters().get(Drop::kTcpSignature), 0u);
}

// What the device or the link layer would cut is sent in single segments: each needs a digest of its own.
TEST(Md5, NothingIsCutLate) {
  Script h(with_key());
  establish(h);
  h.rx({.seq = 1, .ack = 1, .win = 65535, .md5 = kKey});
  std::uint32_t end = 1;
  for (int i = 0; i < 5; ++i) {
    h.write(std::string(40'000, 'x'));
    while (const auto s = h.next_tx()) {
      EXPECT_EQ(s->md5, kKey);
      EXPECT_LE(s->payload.size(), kMss);
      end = s->seq + static_cast<std::uint32_t>(s->payload.size());
    }
    h.after(10_ms);
    h.rx({.seq = 1, .ack = end, .md5 = kKey});
  }
  EXPECT_GT(end, 100'000u);
  EXPECT_GT(h.counters().get(Counter::kTcpFastPath), 0u);
}

// Timestamps stay where nobody wants SACK.
TEST(Md5, TimestampsWithoutSack) {
  Script h(with_key());
  listen_with_key(h);
  Segment first = syn(kKey);
  first.sack_ok = false;
  h.rx(first);
  const Segment answer = h.expect_tx({.flags = "SA", .has_ts = true, .md5 = kKey});
  const Segment::Timestamps echo{2, answer.ts->value};
  h.rx({.seq = 1, .ack = 1, .ts = echo, .md5 = kKey});
  h.accept();
  h.write(std::string(2 * kMss, 'x'));
  h.expect_tx({.size = kMss - 12, .has_ts = true, .md5 = kKey});
}

// As many blocks as there is room for: two.
TEST(Md5, SackBlocks) {
  Script h(with_key());
  establish(h);
  for (std::uint32_t i = 1; i <= 3; ++i) {
    h.rx({.seq = 1 + 1000 * i, .ack = 1, .payload = std::string(100, 'x'), .md5 = kKey});
  }
  h.expect_tx({.sack = {{{1001, 1101}}}});
  h.expect_tx({.sack = {{{2001, 2101}, {1001, 1101}}}});
  h.expect_tx({.sack = {{{3001, 3101}, {2001, 2101}}}, .md5 = kKey});
}

// A client has no timestamps to ask for.
TEST(Md5, ClientSignsEverything) {
  Script h(with_key());
  h.open_socket();
  ASSERT_TRUE(give_key(h, h.handle(), kKey).has_value());
  EXPECT_EQ(h.begin_connect().error(), Errno::kInProgress);
  h.expect_tx({.flags = "S", .has_ts = false, .sack_ok = true, .md5 = kKey});
  Segment answer = syn(kKey);
  answer.flags = "SA";
  answer.ack = 1;
  answer.md5.reset();
  h.rx(answer);
  h.expect_nothing();
  EXPECT_EQ(h.counters().get(Drop::kTcpUnsigned), 1u);
  EXPECT_EQ(h.state(), "SYN-SENT");
  answer.md5 = kKey;
  h.rx(answer);
  h.expect_tx({.flags = "A", .has_ts = false, .md5 = kKey});
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.write(std::string(kMss, 'x'));
  h.expect_tx({.size = kMss, .md5 = kKey});
  h.close();
  h.expect_tx({.flags = "FA", .md5 = kKey});
}

enum class Where { kListener, kHalfOpen, kConnection, kTimeWait };

void bring_to(Script& h, Where where) {
  if (where == Where::kListener) return;
  h.rx(syn(kKey));
  h.discard_tx();
  if (where == Where::kHalfOpen) return;
  h.rx({.seq = 1, .ack = 1, .md5 = kKey});
  h.accept();
  if (where == Where::kConnection) return;
  h.close();
  h.rx({.flags = "FA", .seq = 1, .ack = 2, .md5 = kKey});
  h.discard_tx();
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// What is not signed, or not with this key, changes nothing and is not answered, whatever it is; for
// each there is a reason.
TEST(Md5, DropsWhatIsNotSigned) {
  for (const Where where : {Where::kListener, Where::kHalfOpen, Where::kConnection, Where::kTimeWait}) {
    for (const char* flags : {"S", "A", "PA", "R", "FA", "SA"}) {
      for (const bool wrong : {false, true}) {
        SCOPED_TRACE(std::string(flags) + (wrong ? " wrong " : " missing ") + std::to_string(static_cast<int>(where)));
        Script h(with_key());
        listen_with_key(h);
        bring_to(h, where);
        const std::string before = h.state();
        const auto key = wrong ? std::optional<std::string>("guess") : std::nullopt;
        h.rx({.flags = flags,
              .seq = where == Where::kListener   ? 0u
                     : where == Where::kTimeWait ? 2u
                                                 : 1u,
              .ack = where == Where::kTimeWait ? 2u : 1u,
              .payload = "data",
              .md5 = key});
        h.expect_nothing();
        EXPECT_EQ(h.state(), before);
        EXPECT_EQ(h.counters().get(Drop::kTcpUnsigned), wrong ? 0u : 1u);
        EXPECT_EQ(h.counters().get(Drop::kTcpSignature), wrong ? 1u : 0u);
        if (where == Where::kConnection) {
          EXPECT_EQ(h.read_error(), Errno::kAgain);
        }
      }
    }
  }
}

// A signature where there is no key, too.
TEST(Md5, DropsWhatIsSignedForNobody) {
  for (const bool connected : {false, true}) {
    Script h;
    h.listen();
    if (connected) {
      h.rx({.flags = "S", .mss = 1460});
      h.discard_tx();
      h.rx({.seq = 1, .ack = 1});
      h.accept();
      h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "data", .md5 = kKey});
    } else {
      h.rx(syn(kKey));
    }
    h.expect_nothing();
    EXPECT_EQ(h.counters().get(Drop::kTcpSigned), 1u);
    if (connected) {
      EXPECT_EQ(h.read_error(), Errno::kAgain);
    }
  }
}

// A byte that changed on the way, with a checksum that fits.
TEST(Md5, CoversHeaderAndData) {
  for (const std::size_t at : {0u, 5u, 9u, 13u, 14u, 40u}) {  // of the segment: ports, numbers, flags, window, data
    SCOPED_TRACE(at);
    Script h(with_key());
    establish(h);
    h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "data", .md5 = kKey});
    EXPECT_EQ(h.read(), "data");
    h.discard_tx();
    Segment changed{.flags = "PA", .seq = 5, .ack = 1, .payload = "data", .md5 = kKey};
    h.rx_changed(changed, at);
    EXPECT_EQ(h.read_error(), Errno::kAgain);
    h.expect_nothing();
  }
}

// Of a listener the key is the peer's: others need none, or have another.
TEST(Md5, ListenerHasKeysByPeer) {
  Script h(with_key());
  h.listen();
  ASSERT_TRUE(give_key(h, h.listener(), kKey, kPeerAddress & 0xffffff00, 24).has_value());
  ASSERT_TRUE(give_key(h, h.listener(), "other", kPeerAddress + 1).has_value());
  h.rx(syn(kKey));
  h.expect_tx({.flags = "SA", .md5 = kKey});
  h.rx({.flags = "S", .mss = 1460, .md5 = kKey, .src_port = 2, .source = kPeerAddress + 1});
  EXPECT_EQ(h.counters().get(Drop::kTcpSignature), 1u);
  h.rx({.flags = "S", .mss = 1460, .md5 = "other", .src_port = 2, .source = kPeerAddress + 1});
  h.expect_tx({.flags = "SA", .md5 = "?"});  // which is not the script's
  EXPECT_EQ(h.counters().get(Drop::kTcpSignature), 1u);
}

// An accepted connection keeps the key it began with; its own can be changed and taken away.
TEST(Md5, KeyChangesWhileConnected) {
  Script h(with_key());
  establish(h);
  ASSERT_TRUE(give_key(h, h.listener(), "").has_value());
  h.write("a");
  h.expect_tx({.payload = "a", .md5 = kKey});
  EXPECT_EQ(give_key(h, h.listener(), "").error(), Errno::kNoSuchFile);

  ASSERT_TRUE(give_key(h, h.handle(), "next").has_value());
  h.rx({.seq = 1, .ack = 2, .md5 = kKey});
  EXPECT_EQ(h.counters().get(Drop::kTcpSignature), 1u);
  h.rx({.seq = 1, .ack = 2, .md5 = "next"});
  h.write("b");
  h.expect_tx({.payload = "b", .md5 = "?"});

  ASSERT_TRUE(give_key(h, h.handle(), "").has_value());
  EXPECT_EQ(h.info().send_mss, 1460u);
  h.rx({.seq = 1, .ack = 3});
  h.write("c");
  h.expect_tx({.payload = "c", .md5 = "none"});
}

// A reset is signed, or the peer would not believe it; and who has no key to sign with sends none.
TEST(Md5, Resets) {
  Script h(with_key());
  establish(h);
  h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "unread", .md5 = kKey});
  h.discard_tx();
  h.close();
  h.expect_tx({.flags = "RA", .md5 = kKey});

  h.rx({.seq = 7, .ack = 1, .md5 = kKey});  // the listener knows the key
  h.expect_tx({.flags = "R", .md5 = kKey});
  h.rx(syn(kKey));
  h.expect_tx({.flags = "SA"});
  h.rx({.seq = 1, .ack = 7, .md5 = kKey});  // of a half-open connection
  h.expect_tx({.flags = "R", .seq = 7, .md5 = kKey});

  Script nobody;
  nobody.rx(syn(kKey));
  nobody.expect_nothing();
  EXPECT_EQ(nobody.counters().get(Drop::kTcpNoPort), 1u);
  nobody.rx(syn({}));
  nobody.expect_tx({.flags = "RA", .md5 = "none"});
}

// A reset of the peer's that is signed counts.
TEST(Md5, ResetByThePeer) {
  Script h(with_key());
  establish(h);
  h.rx({.flags = "R", .seq = 1, .md5 = kKey});
  EXPECT_EQ(h.take_error(), Errno::kConnectionReset);
}

// TIME-WAIT answers the last FIN, signed, also when the listener has forgotten the key.
TEST(Md5, TimeWait) {
  Script h(with_key());
  listen_with_key(h);
  bring_to(h, Where::kTimeWait);
  ASSERT_TRUE(give_key(h, h.listener(), "").has_value());
  h.rx({.flags = "FA", .seq = 1, .ack = 2, .md5 = kKey});
  h.expect_tx({.flags = "A", .ack = 2, .md5 = kKey});
  h.stop_listening();
  Segment again = syn(kKey);
  again.seq = 1000;
  h.rx(again);  // could begin anew, were there somebody
  h.expect_tx({.flags = "RA", .md5 = kKey});
  EXPECT_EQ(h.state(), "CLOSED");
}

TEST(Md5, TimeWaitEnds) {
  Script h(with_key());
  listen_with_key(h);
  bring_to(h, Where::kTimeWait);
  h.after(61_s);
  EXPECT_EQ(h.state(), "CLOSED");
}

// Where a connection without a key was: no other without one, and one with it only when TIME-WAIT is over.
TEST(Md5, TimeWaitOfAnother) {
  for (const bool has_signature : {false, true}) {
    Script h(with_key());
    h.listen();
    h.rx({.flags = "S", .mss = 1460});
    h.discard_tx();
    h.rx({.seq = 1, .ack = 1});
    h.accept();
    h.close();
    h.rx({.flags = "FA", .seq = 1, .ack = 2});
    h.discard_tx();
    ASSERT_TRUE(give_key(h, h.listener(), kKey).has_value());
    h.rx({.flags = "S", .seq = 1000, .mss = 1460, .md5 = has_signature ? std::optional(kKey) : std::nullopt});
    h.expect_nothing();
    EXPECT_EQ(h.counters().get(has_signature ? Drop::kTcpSigned : Drop::kTcpUnsigned), 1u);
  }
}

// SYN cookies are signed as well, and the key is found again when the handshake ends.
TEST(Md5, SynCookies) {
  ScriptOptions o = with_key();
  o.tcp.syn_cookies = tcp::SynCookieUse::kAlways;
  Script h(o);
  listen_with_key(h);
  h.rx(syn(kKey));
  h.expect_tx({.flags = "SA", .md5 = kKey});
  h.rx({.seq = 1, .ack = 1});
  EXPECT_FALSE(h.acceptable());
  h.rx({.seq = 1, .ack = 1, .md5 = kKey});
  h.accept();
  h.write("x");
  h.expect_tx({.payload = "x", .md5 = kKey});
}

// Data in a SYN: there is no room for both options.
TEST(Md5, NoFastOpen) {
  ScriptOptions o = with_key();
  o.tcp.fast_open_server_no_cookie = tcp::Switch::kOn;
  for (const tcp::Switch no_cookie : {tcp::Switch::kOff, tcp::Switch::kOn}) {
    o.tcp.fast_open_client_no_cookie = no_cookie;
    Script h(o);
    h.open_socket();
    ASSERT_TRUE(give_key(h, h.handle(), kKey).has_value());
    (void)h.send_first("data");
    h.expect_tx({.flags = "S", .size = 0, .md5 = kKey, .has_fast_open = false});
  }

  Script server(o);
  listen_with_key(server);
  server.set_listener(socket::Option::kTcpFastOpen, 5);
  Segment first = syn(kKey);
  first.payload = "data";
  server.rx(first);
  server.expect_tx({.flags = "SA", .ack = 1, .md5 = kKey});
}

// Probes of a closed window and of silence.
TEST(Md5, Probes) {
  Script h(with_key());
  establish(h);
  h.set(socket::Option::kTcpKeepIdle, 10);
  h.set(socket::Option::kKeepAlive, 1);
  EXPECT_TRUE(h.until_tx(11_s).has_value());
  h.expect_tx({.seq = 0, .md5 = kKey});
  h.rx({.seq = 1, .ack = 1, .win = 0, .md5 = kKey});
  h.write("x");
  EXPECT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1, .size = 1, .md5 = kKey});
}

}  // namespace
}  // namespace sluice::test
