// Opens as the user sees them: addresses, ports, what is refused, and what an open leaves alone. RFC 9293 §3.9.1,
// §3.10.1 to §3.10.5; RFC 6056.
#include <set>

#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using wire::Ipv4Address;

constexpr std::uint32_t kSecondAddress = 0xc0000209;  // 192.0.2.9

Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

socket::Handle open_stream(Script& h) {
  return h.stack().sockets().open(ip::Family::kV4, socket::Type::kStream).value();
}

// A connection opened below the socket layer, which keeps a few calls from it.
struct Direct {
  Direct() {
    connection = h.stack().tcp().connect({}, {Ipv4Address{kPeerAddress}, 40000}, {}, nullptr).value();
    h.after(Duration());
    h.expect_tx({.flags = "S", .seq = 0});
  }
  void establish() {
    h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
    h.expect_tx({.flags = "A", .seq = 1, .ack = 1});
  }
  std::size_t write(std::string_view text) {
    const Bytes piece = as_bytes(text);
    const auto taken = connection->send(std::span(&piece, 1));
    h.after(Duration());
    return taken.value_or(0);
  }
  Script h;
  tcp::ConnectionHandle* connection = nullptr;
};

// (RFC9293-MUST-11, RFC9293-SYNR-01): how SYN-RECEIVED was reached decides what a reset does.
TEST(Open, ResetInSynReceived) {
  Script active;
  active.connect();
  active.expect_tx({.flags = "S"});
  active.rx({.flags = "S", .seq = 0, .ack = 0});
  active.expect_tx({.flags = "SA"});
  active.rx({.flags = "R", .seq = 1, .ack = 0});
  EXPECT_EQ(active.state(), "CLOSED");
  EXPECT_EQ(active.take_error(), Errno::kConnectionRefused);
  Script passive;
  passive.listen();
  for (int i = 0; i < 2; ++i) {
    passive.rx({.flags = "S", .seq = 0, .ack = 0});
    passive.expect_tx({.flags = "SA", .ack = 1});
    if (i == 0) passive.rx({.flags = "R", .seq = 1, .ack = 0});
  }
  passive.rx({.seq = 1, .ack = 1});
  passive.accept();
  passive.expect_nothing();
}

// (RFC9293-SYNR-03): a SYN inside the window of a half-open connection ends it; the next one opens another.
TEST(Open, SynInSynReceived) {
  Script h;
  h.listen();
  h.rx({.flags = "S", .seq = 0, .ack = 0});
  h.expect_tx({.flags = "SA", .ack = 1});
  h.rx({.flags = "S", .seq = 100, .ack = 0});
  h.expect_nothing();
  EXPECT_EQ(h.state(), "CLOSED");
  h.rx({.flags = "S", .seq = 100, .ack = 0});
  h.expect_tx({.flags = "SA", .ack = 101});
}

// (RFC9293-MUST-41): a second listen fails, a new one after the first is closed works, and the connection does not
// notice either.
TEST(Open, ListenDisturbsNoConnection) {
  Script h;
  h.establish();
  auto& sockets = h.stack().sockets();
  const auto second = open_stream(h);
  const auto third = open_stream(h);
  ASSERT_TRUE(sockets.set_option(second, socket::Option::kReuseAddress, 1).has_value());
  ASSERT_TRUE(sockets.set_option(third, socket::Option::kReuseAddress, 1).has_value());
  EXPECT_EQ(sockets.bind(second, {Ipv4Address{}, 80}).error(), Errno::kAddressInUse);
  h.stop_listening();
  ASSERT_TRUE(sockets.bind(second, {Ipv4Address{}, 80}).has_value());
  ASSERT_TRUE(sockets.bind(third, {Ipv4Address{}, 80}).has_value());
  EXPECT_TRUE(sockets.listen(second, 1).has_value());
  EXPECT_EQ(sockets.listen(third, 1).error(), Errno::kAddressInUse);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = 41000});
  EXPECT_EQ(h.expect_tx({.flags = "SA"}).dst_port, 41000);
  EXPECT_EQ(h.state(), "ESTABLISHED");
  h.rx({.seq = 1, .ack = 1, .payload = "still here"});
  EXPECT_EQ(h.read(), "still here");
}

// (RFC9293-MUST-42): while a connection is in SYN-SENT or SYN-RECEIVED its port can be listened on.
TEST(Open, ListenBesideAnOpen) {
  for (const char* state : {"SYN-SENT", "SYN-RECEIVED"}) {
    Script h;
    h.connect({Ipv4Address{}, 5000});
    h.expect_tx({.flags = "S"});
    if (std::string_view(state) == "SYN-RECEIVED") {
      h.rx({.flags = "S", .seq = 0, .ack = 0});
      h.expect_tx({.flags = "SA"});
    }
    auto& sockets = h.stack().sockets();
    const auto listener = open_stream(h);
    ASSERT_TRUE(sockets.set_option(listener, socket::Option::kReuseAddress, 1).has_value());
    ASSERT_TRUE(sockets.bind(listener, {Ipv4Address{}, 5000}).has_value());
    ASSERT_TRUE(sockets.listen(listener, 1).has_value());
    h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = 41000});
    EXPECT_EQ(h.expect_tx({.flags = "SA"}).dst_port, 41000);
    EXPECT_EQ(h.state(), state);
  }
}

// (RFC9293-MUST-43, -44, -45): the address asked for, or one that IP picks; and the same one to the end.
TEST(Open, LocalAddress) {
  for (const std::uint32_t wanted : {0u, kSecondAddress}) {
    const std::uint32_t used = wanted != 0 ? wanted : kOurAddress;
    Script h;
    auto& ip = h.stack().ip();
    ASSERT_TRUE(ip.add_address(h.interface(), {Ipv4Address{kSecondAddress}, 24}).has_value());
    h.connect({Ipv4Address{wanted}, 0});
    EXPECT_EQ(h.expect_tx({.flags = "S"}).source, used);
    EXPECT_EQ(h.stack().sockets().local_name(h.handle())->address, ip::Address(Ipv4Address{used}));
    ASSERT_TRUE(h.until_tx(5_s).has_value());
    EXPECT_EQ(h.expect_tx({.flags = "S"}).source, used);
    h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
    EXPECT_EQ(h.expect_tx({.flags = "A"}).source, used);
    ASSERT_TRUE(ip.add_address(h.interface(), {Ipv4Address{kPeerAddress + 1}, 29}).has_value());  // a nearer network
    h.write("data");
    EXPECT_EQ(h.expect_tx({.payload = "data"}).source, used);
    ASSERT_TRUE(h.until_tx(5_s).has_value());
    EXPECT_EQ(h.expect_tx({.payload = "data"}).source, used);
    h.close();
    EXPECT_EQ(h.expect_tx({.flags = "FA"}).source, used);
  }
}

// (RFC9293-OPEN-01, RFC9293-MUST-46): nobody there to connect to.
TEST(Open, ImpossiblePeers) {
  struct Row {
    std::uint32_t address;
    std::uint16_t port;
    Errno want;
  };
  const Row rows[] = {{kPeerAddress, 0, Errno::kInvalid},
                      {0xc00002ff, 80, Errno::kNetworkUnreachable},
                      {0xffffffff, 80, Errno::kNetworkUnreachable},
                      {0xe0000001, 80, Errno::kNetworkUnreachable},
                      {0xf0000001, 80, Errno::kInvalid}};
  for (const Row& row : rows) {
    Script h;
    const auto s = open_stream(h);
    EXPECT_EQ(h.stack().sockets().connect(s, {Ipv4Address{row.address}, row.port}).error(), row.want) << row.address;
    h.after(5_s);
    h.expect_nothing();
  }
}

// (RFC9293-MUST-46): TCP opens nothing to an unspecified address. A socket takes it for this host, as on Linux.
TEST(Open, UnspecifiedPeer) {
  Script h;
  const ip::Endpoint nowhere{Ipv4Address{0}, 80};
  const auto opened = h.stack().tcp().connect({}, nowhere, {}, nullptr);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error(), Errno::kInvalid);
  const auto s = open_stream(h);
  EXPECT_EQ(h.stack().sockets().connect(s, nowhere).error(), Errno::kInProgress);
  h.after(5_s);
  EXPECT_EQ(h.stack().sockets().get_option(s, socket::Option::kError).value_or(-1), std::int64_t{ECONNREFUSED});
  h.expect_nothing();
}

// (RFC9293-OPEN-01): a second open of the same socket is told how far the first is, and changes nothing.
TEST(Open, Twice) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  auto& sockets = h.stack().sockets();
  const ip::Endpoint peer{Ipv4Address{kPeerAddress}, 40000};
  EXPECT_EQ(sockets.connect(h.handle(), peer).error(), Errno::kAlready);
  h.rx({.flags = "SA", .seq = 0, .ack = 1});
  h.expect_tx({.flags = "A"});
  EXPECT_TRUE(sockets.connect(h.handle(), peer));  // tells once that it has succeeded, as Linux
  for (int i = 0; i < 2; ++i) EXPECT_EQ(sockets.connect(h.handle(), peer).error(), Errno::kIsConnected);
  EXPECT_EQ(sockets.listen(h.handle(), 1).error(), Errno::kInvalid);
  h.expect_nothing();
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// (RFC9293-OPEN-03): a full table refuses both kinds of open; the connection in it goes on.
TEST(Open, TableFull) {
  ScriptOptions o;
  o.tcp.max_connections = 1;
  Script h(o);
  h.establish();
  EXPECT_EQ(h.stack().sockets().connect(open_stream(h), {Ipv4Address{kPeerAddress}, 9}).error(), Errno::kNoBuffers);
  h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = 41000});
  h.expect_nothing();
  EXPECT_EQ(h.counters().get(Drop::kTcpTableFull), 1u);
  h.rx({.seq = 1, .ack = 1, .payload = "abc"});
  EXPECT_EQ(h.read(), "abc");
}

// (RFC4987-01, RFC4987-04): without cookies a flood of SYNs leaves no more half-open connections than agreed, the
// latest, and whoever answers in time gets through.
TEST(Open, SynFlood) {
  ScriptOptions o;
  o.tcp.syn_cookies = tcp::SynCookieUse::kNever;
  o.tcp.max_syn_queue = 16;
  Script h(o);
  h.listen();
  std::uint32_t first = 0;
  Segment last;
  for (std::uint16_t port = 1000; port < 3000; ++port) {
    h.rx({.flags = "S", .seq = 0, .ack = 0, .src_port = port});
    last = h.expect_tx({.flags = "SA"});
    if (port == 1000) first = last.seq;
  }
  int half_open = 0;
  h.stack().tcp().visit_connections(
      [](void* count, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
        *static_cast<int*>(count) += info.state == tcp::State::kSynReceived ? 1 : 0;
      },
      &half_open);
  EXPECT_EQ(half_open, 16);
  EXPECT_EQ(h.counters().get(Drop::kTcpSynQueueFull), 2000u - 16);
  h.rx({.seq = 1, .ack = first + 1, .src_port = 1000});
  h.expect_tx({.flags = "R"});
  h.rx({.seq = 1, .ack = last.seq + 1, .src_port = 2999});
  h.accept();
  h.expect_nothing();
}

// (RFC9293-MUST-57): a SYN to many addresses one by one only.
TEST(Open, SynToBroadcastOrMulticast) {
  Script h;
  h.listen();
  const Ipv4Address group{0xe0000001};  // all hosts: of which IGMP reports nothing
  ASSERT_TRUE(h.stack().ip().join_group(h.interface(), group).has_value());
  for (const std::uint32_t to : {0xc00002ffu, 0xffffffffu, group.value}) {
    h.rx({.flags = "S", .seq = 0, .ack = 0, .destination = to});
    h.expect_nothing();
    EXPECT_EQ(h.state(), "CLOSED");
  }
  EXPECT_EQ(h.counters().get(Drop::kTcpCast), 3u);
}

// (RFC9293-MUST-49)
TEST(Open, TimeToLive) {
  Script h;
  h.establish();
  h.write("a");
  EXPECT_EQ(h.expect_tx({.payload = "a"}).ttl, 64);
  h.set(socket::Option::kIpTtl, 7);
  h.rx({.seq = 1, .ack = 2, .payload = "b"});
  EXPECT_EQ(h.expect_tx({.flags = "A"}).ttl, 7);
  h.write("c");
  EXPECT_EQ(h.expect_tx({.payload = "c"}).ttl, 7);
  h.close();
  EXPECT_EQ(h.expect_tx({.flags = "RA"}).ttl, 7);  // "b" was not read
}

// (RFC9293-MUST-67, RFC6691-01): the MTU less 40, whatever options there will be; at most what IP can put together.
TEST(Open, AdvertisedMss) {
  struct Row {
    std::uint32_t mtu;
    std::uint16_t want;
  };
  for (const Row& row : {Row{576, 536}, Row{1500, 1460}, Row{9000, 8960}, Row{65535, 65495}}) {
    Script active({.mtu = row.mtu});
    active.connect();
    active.expect_tx({.flags = "S", .mss = row.want, .has_ts = true});
    EXPECT_LE(row.want, active.stack().ip().max_receive_size() - 20);
    Script passive({.mtu = row.mtu});
    passive.listen();
    passive.rx({.flags = "S", .seq = 0, .ack = 0, .ts = Segment::Timestamps{1, 0}});
    passive.expect_tx({.flags = "SA", .mss = row.want, .has_ts = true});
  }
}

// (RFC1191-09): also to a peer behind a gateway, with or without an MSS of its own. (RFC9293-SHLD-5, -MAY-3): always.
TEST(Open, MssForDistantPeers) {
  for (const std::optional<std::uint16_t> mss : {std::optional<std::uint16_t>{}, std::optional<std::uint16_t>{536}}) {
    Script h;
    auto& ip = h.stack().ip();
    ASSERT_TRUE(ip.add_route({{Ipv4Address{}, 0}, Ipv4Address{kPeerAddress}, h.interface(), 0}).has_value());
    h.listen();
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = mss, .source = 0xc6336407});
    h.expect_tx({.flags = "SA", .mss = 1460});
  }
}

// (RFC9293-SEND-01): what is written before the handshake is complete waits for it.
TEST(Open, DataBeforeEstablished) {
  for (const bool simultaneous : {false, true}) {
    Direct d;
    EXPECT_EQ(d.write("early "), 6u);
    d.h.expect_nothing();
    if (simultaneous) {
      d.h.rx({.flags = "S", .seq = 0, .ack = 0});
      d.h.expect_tx({.flags = "SA", .size = 0});
      EXPECT_EQ(d.write("bird"), 4u);
      d.h.expect_nothing();
      d.h.rx({.flags = "SA", .seq = 0, .ack = 1});
      d.h.expect_tx({.seq = 1, .ack = 1, .payload = "early bird"});
    } else {
      d.h.rx({.flags = "SA", .seq = 0, .ack = 1});
      d.h.expect_tx({.seq = 1, .ack = 1, .payload = "early "});
    }
    d.h.expect_nothing();
    d.connection->abort();
  }
}

// (RFC9293-CLOSE-01): closing LISTEN or SYN-SENT leaves nothing behind and says nothing to the peer.
TEST(Open, CloseBeforeEstablished) {
  Script active;
  active.connect();
  active.expect_tx({.flags = "S"});
  active.close();
  active.after(100_s);
  active.expect_nothing();
  EXPECT_EQ(active.state(), "CLOSED");
  active.rx({.flags = "SA", .seq = 0, .ack = 1});
  active.expect_tx({.flags = "R", .seq = 1});
  Script passive;
  passive.listen();
  passive.rx({.flags = "S", .seq = 0, .ack = 0});
  passive.expect_tx({.flags = "SA"});
  passive.stop_listening();
  passive.after(100_s);
  passive.expect_nothing();
  passive.rx({.flags = "S", .seq = 0, .ack = 0});
  passive.expect_tx({.flags = "RA", .ack = 1});
}

// (RFC9293-ABORT-01): a reset at SND.NXT, and nothing of what was queued after it.
TEST(Open, Abort) {
  struct Row {
    const char* state;
    void (*reach)(Direct& d);
    std::uint32_t seq;
  };
  const Row rows[] = {
      {"ESTABLISHED", [](Direct& d) { d.write(std::string(100'000, 'x')); }, 1 + 10 * 1460},
      {"FIN-WAIT-1", [](Direct& d) { EXPECT_TRUE(d.connection->shutdown_send().has_value()); }, 2},
      {"FIN-WAIT-2",
       [](Direct& d) {
         EXPECT_TRUE(d.connection->shutdown_send().has_value());
         d.h.discard_tx();
         d.h.rx({.seq = 1, .ack = 2});
       },
       2},
      {"CLOSE-WAIT", [](Direct& d) { d.h.rx({.flags = "FA", .seq = 1, .ack = 1, .payload = "unread"}); }, 1},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.state);
    Direct d;
    d.establish();
    row.reach(d);
    d.h.discard_tx();
    EXPECT_EQ(d.h.state(), row.state);
    d.connection->abort();
    d.h.after(100_s);
    d.h.expect_tx({.flags = "RA", .seq = row.seq, .size = 0});
    d.h.expect_nothing();
    EXPECT_EQ(d.h.state(), "CLOSED");
  }
}

// (RFC9293-ABORT-01): the socket's way to it, and what the other end hears when we are reset.
TEST(Open, LingerZeroAborts) {
  Script h;
  h.establish();
  h.set(socket::Option::kLinger, 0);
  h.write("abc");
  h.discard_tx();
  h.close();
  h.expect_tx({.flags = "RA", .seq = 4});
  h.after(100_s);
  h.expect_nothing();
}

// --- ephemeral ports

std::optional<std::uint16_t> port_of_connect(Script& h, std::uint16_t peer_port) {
  const auto s = open_stream(h);
  const auto status = h.stack().sockets().connect(s, {Ipv4Address{kPeerAddress}, peer_port});
  if (status.error() != Errno::kInProgress) return {};
  return h.stack().sockets().local_name(s)->port;
}

// (RFC6056-01, RFC6056-04): not a port that is listened on, and never the same 4-tuple twice.
TEST(EphemeralPort, Unique) {
  ScriptOptions o;
  o.tcp.port_first = 80;  // listened on
  o.tcp.port_last = 90;
  Script h(o);
  h.listen();
  std::set<std::uint16_t> ports;
  for (int i = 0; i < 10; ++i) ports.insert(port_of_connect(h, 9).value_or(0));
  EXPECT_EQ(ports, (std::set<std::uint16_t>{81, 82, 83, 84, 85, 86, 87, 88, 89, 90}));
  EXPECT_EQ(port_of_connect(h, 9), std::nullopt);
  EXPECT_TRUE(port_of_connect(h, 10).has_value());  // another peer, another tuple
}

// (RFC6056-02, RFC6056-03): all over the range, with no pattern from one to the next.
TEST(EphemeralPort, Unpredictable) {
  Script h;
  int small_steps = 0;
  int lowest = 65535;
  int highest = 0;
  int before = 0;
  constexpr int kConnects = 500;
  for (int i = 0; i < kConnects; ++i) {
    const int port = port_of_connect(h, static_cast<std::uint16_t>(1000 + i)).value_or(0);
    small_steps += std::abs(port - before) < 64 ? 1 : 0;
    lowest = std::min(lowest, port);
    highest = std::max(highest, port);
    before = port;
  }
  EXPECT_LT(small_steps, 10);  // one is to be expected
  EXPECT_GE(lowest, 1024);
  EXPECT_LT(lowest, 4096);
  EXPECT_GT(highest, 62'000);
}

// A router reports that there is nobody who could have sent the SYN: it is forgotten. Other reports, and such about
// something else, change nothing.
TEST(Open, SynOfNobody) {
  struct Row {
    std::uint8_t type, code;
    std::uint32_t seq;
    bool forgotten;
  };
  for (const Row& row :
       {Row{3, 1, 0, true}, Row{3, 0, 0, true}, Row{3, 1, 1, false}, Row{3, 3, 0, false}, Row{11, 0, 0, false}}) {
    SCOPED_TRACE(int{row.type} * 100 + row.code);
    Script h;
    h.listen();
    h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
    h.expect_tx({.flags = "SA"});
    h.rx_icmp(row.type, row.code, 0, {.flags = "SA", .seq = row.seq});
    h.rx({.seq = 1, .ack = 1});
    EXPECT_EQ(h.acceptable(), !row.forgotten);
    if (row.forgotten) h.expect_tx({.flags = "R", .seq = 1});
  }
}

}  // namespace
}  // namespace sluice::test
