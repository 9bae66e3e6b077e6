// ICMP, path MTU and what a transport may ask of IP, seen by a transport made for the test: protocol 200.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "stack/ip/impl.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

constexpr std::uint8_t kProtocol = 200;
constexpr Ipv4Address kFar = Ipv4Address::of(198, 51, 100, 7);

class FakeTransport final : public ip::Transport {
 public:
  void on_datagram(ip::Datagram d) override {
    datagrams.push_back({d.source, d.destination, d.interface, d.ttl, d.tos, d.cast, d.buffer.size()});
    if (rejects) ip->reject(d, ip::ErrorKind::kPortUnreachable);
  }
  void on_icmp_error(const ip::IcmpError& e) override {
    errors.push_back(e.kind);
    mtu = e.mtu;
    quoted.assign(e.quoted.begin(), e.quoted.end());
  }
  struct Seen {
    ip::Address source, destination;
    ip::InterfaceId interface;
    std::uint8_t ttl, tos;
    ip::Cast cast;
    std::size_t size;
  };
  ip::Ip* ip = nullptr;
  bool rejects = false;
  std::vector<Seen> datagrams;
  std::vector<ip::ErrorKind> errors;
  std::uint32_t mtu = 0;
  Octets quoted;
};

class Script : public IpScript {
 public:
  explicit Script(const ip::IpConfig& config = {})
      : IpScript({.mac = kOurMac, .address_check = IpScript::Check::kNone}, config) {
    fake.ip = &stack->ip();
    stack->ip().register_transport(static_cast<ip::Protocol>(kProtocol), fake);
    EXPECT_TRUE(stack->ip().add_route({{Ipv4Address::any(), 0}, kPeer, id, 0}).has_value());
    learn_peer();
  }
  // Sends `size` bytes of our protocol; what went out is taken apart into `out`.
  Status send(std::size_t size, Ipv4Address to = kFar, ip::SendOptions options = {}) {
    const auto route = stack->ip().route(to, options.source);
    if (!route) return fail(route.error());
    const Octets data(size, 0x33);
    buf::TxPacket packet;
    EXPECT_TRUE(packet.append(data));
    options.source = route->source;
    options.destination = to;
    options.protocol = static_cast<ip::Protocol>(kProtocol);
    const Status sent_ = stack->ip().send(packet, options, *route);
    run();
    out.clear();
    reserved = 0;
    for (const Octets& f : device.sent) {
      out.push_back(wire::ipv4::parse(Bytes(f).subspan(14)).value().header);
      reserved |= f[20] & 0x80;
    }
    device.sent.clear();
    return sent_;
  }
  // An ICMP error from `reporter` about a packet of ours; `edit` changes the quoted header.
  void error(std::uint8_t type, std::uint8_t code, std::uint32_t rest, void (*edit)(wire::ipv4::Header&) = nullptr,
             std::size_t quoted = 28) {
    Octets l4(8 + quoted, 0x44);
    wire::ipv4::Header h{.total_length = 1000,
                         .dont_fragment = true,
                         .ttl = 9,
                         .protocol = kProtocol,
                         .source = kUs,
                         .destination = kFar};
    if (edit != nullptr) edit(h);
    Octets header(20);
    wire::ipv4::emit(header, h);
    std::copy_n(header.begin(), std::min<std::size_t>(20, quoted), l4.begin() + 8);
    wire::icmp::emit(l4, {type, code, rest, Bytes(l4).subspan(8)});
    rx(packet(1, l4));
  }
  FakeTransport fake;
  int reserved = 0;  // the flag of that name in any of `out`
  std::vector<wire::ipv4::Header> out;
};

// --- errors that arrive

struct ErrorRow {
  const char* name;
  std::uint8_t type, code;
  ip::ErrorKind want;
  Errno want_errno;
};

// (RFC1122-ICMP-03, -13, -15, -19, -21; RFC1122-IF-04): each goes up to the transport it quotes, as a hint: the route
// stays.
TEST(IcmpErrors, GoUp) {
  using K = ip::ErrorKind;
  const ErrorRow rows[] = {
      {"net", 3, 0, K::kNetUnreachable, Errno::kNetworkUnreachable},
      {"host", 3, 1, K::kHostUnreachable, Errno::kHostUnreachable},
      {"protocol", 3, 2, K::kProtocolUnreachable, Errno::kNoProtocolOption},
      {"port", 3, 3, K::kPortUnreachable, Errno::kConnectionRefused},
      {"fragmentation needed", 3, 4, K::kFragmentationNeeded, Errno::kMessageSize},
      {"source route failed", 3, 5, K::kHostUnreachable, Errno::kHostUnreachable},
      {"net unknown", 3, 6, K::kNetUnreachable, Errno::kNetworkUnreachable},
      {"host unknown", 3, 7, K::kHostUnreachable, Errno::kHostUnreachable},
      {"net prohibited", 3, 9, K::kProhibited, Errno::kHostUnreachable},
      {"host prohibited", 3, 10, K::kProhibited, Errno::kHostUnreachable},
      {"prohibited", 3, 13, K::kProhibited, Errno::kHostUnreachable},
      {"a code of the future", 3, 99, K::kNetUnreachable, Errno::kNetworkUnreachable},
      {"TTL", 11, 0, K::kTimeExceeded, Errno::kHostUnreachable},
      {"reassembly", 11, 1, K::kTimeExceeded, Errno::kHostUnreachable},
      {"parameter problem", 12, 0, K::kParameterProblem, Errno::kProtocol},
  };
  for (const ErrorRow& row : rows) {
    Script s;
    const std::uint32_t generation = s.stack->ip().route_generation();
    s.error(row.type, row.code, 0);
    ASSERT_EQ(s.fake.errors, std::vector<ip::ErrorKind>{row.want}) << row.name;
    EXPECT_EQ(s.fake.quoted, Octets(8, 0x44)) << row.name;
    EXPECT_EQ(ip::errno_of(row.want), row.want_errno) << row.name;
    EXPECT_EQ(s.stack->ip().route_generation(), generation) << row.name;
    EXPECT_EQ(s.sent(), "") << row.name;
  }
}

struct QuoteRow {
  const char* name;
  void (*edit)(wire::ipv4::Header&);
  std::size_t quoted;
};

// S32: an error is about nothing that we can have sent, or quotes too little of it.
TEST(IcmpErrors, BadQuotes) {
  const QuoteRow rows[] = {
      {"from another", [](wire::ipv4::Header& h) { h.source = kPeer; }, 28},
      {"between loopback addresses", [](wire::ipv4::Header& h) { h.source = h.destination = Ipv4Address::loopback(); },
       28},
      {"from ourselves to ourselves", [](wire::ipv4::Header& h) { h.destination = kUs; }, 28},
      {"a later fragment", [](wire::ipv4::Header& h) { h.fragment_offset = 8; }, 28},
      {"shorter than it says", [](wire::ipv4::Header& h) { h.total_length = 27; }, 28},
      {"7 bytes of transport", nullptr, 27},
      {"no header", nullptr, 19},
      {"nothing", nullptr, 0},
  };
  for (const QuoteRow& row : rows) {
    Script s;
    s.error(3, 3, 0, row.edit, row.quoted);
    EXPECT_TRUE(s.fake.errors.empty()) << row.name;
    EXPECT_EQ(s.dropped(Drop::kIcmpQuote), 1u) << row.name;
    EXPECT_EQ(s.sent(), "") << row.name;
  }
}

// (RFC1122-ICMP-01, -10, -16; RFC6633-01, -02; RFC6918-01) S18, S27, S31: whatever type and whatever protocol comes, we
// send echo replies, unreachables, time exceeded and parameter problems; never redirects, source quenches or answers to
// queries that nobody should ask.
TEST(IcmpErrors, OnlyTheseTypesAreSent) {
  Script s;
  std::set<int> types;
  for (int n = 0; n < 256; ++n) {
    Octets l4(40);
    wire::icmp::emit(l4, {static_cast<std::uint8_t>(n), 0, 0, Bytes(l4).subspan(8)});
    s.rx(packet(1, l4));
    if (n != 1) s.rx(packet(static_cast<std::uint8_t>(n), udp(9)));
    s.after(1_s);
    for (const Octets& f : s.device.sent) {
      if (f[12] == 8 && f[13] == 0 && f[23] == 1) types.insert(f[34]);
    }
    s.device.sent.clear();
  }
  EXPECT_EQ(types, (std::set<int>{0, 3}));
  EXPECT_EQ(s.fake.datagrams.size(), 1u);
}

// (RFC1122-ICMP-04, -38; RFC1812-01): as much as fits into 576 bytes, with no TOS of its own.
TEST(IcmpErrors, QuoteUpTo576Bytes) {
  for (const std::size_t data : {std::size_t{100}, std::size_t{540}, std::size_t{541}, std::size_t{1400}}) {
    Script s;
    const Octets frame = packet(17, udp(9999, data), [](wire::ipv4::Header& h) { h.tos = 0xb8; });
    s.rx(frame);
    ASSERT_EQ(s.device.sent.size(), 1u);
    const Octets sent = s.device.sent.front();
    const auto error = wire::ipv4::parse(Bytes(sent).subspan(14)).value();
    EXPECT_EQ(error.header.tos, 0);
    EXPECT_EQ(error.header.total_length, std::min<std::size_t>(20 + 8 + frame.size() - 14, 576));
    EXPECT_TRUE(std::equal(error.payload.begin() + 8, error.payload.end(), frame.begin() + 14));
  }
}

// (RFC792-06, RFC1122-ICMP-20): the pointer names the octet at fault.
TEST(IcmpErrors, PointToTheBadOption) {
  struct Row {
    Octets options;
    std::uint8_t pointer;
  };
  for (const Row& row : {Row{{0x94, 0, 0, 0}, 20}, Row{{1, 1, 0x94, 9}, 22}, Row{{0x94, 4, 0, 0, 1, 1, 1, 7}, 27}}) {
    Script s;
    Octets frame = packet(17, udp(9999));
    frame.insert(frame.begin() + 34, row.options.begin(), row.options.end());
    const std::size_t header_size = 20 + row.options.size();
    frame[14] = static_cast<std::uint8_t>(0x40 | header_size / 4);
    frame[17] = static_cast<std::uint8_t>(frame[17] + row.options.size());
    frame[24] = frame[25] = 0;
    const std::uint16_t sum = wire::checksum(Bytes(frame).subspan(14, header_size));
    frame[24] = static_cast<std::uint8_t>(sum >> 8);
    frame[25] = static_cast<std::uint8_t>(sum);
    s.rx(frame);
    ASSERT_EQ(s.device.sent.size(), 1u);
    const Octets sent = s.device.sent.front();
    EXPECT_EQ(sent[34], 12);
    EXPECT_EQ(sent[35], 0);
    EXPECT_EQ(sent[38], row.pointer);
  }
}

// --- what a transport gets and may ask for

// (RFC1122-IP-03): what is for another host ends here, with a way to it or without.
TEST(IpService, NothingIsForwarded) {
  Script s;
  WireDevice second(link::Fcs::kNone);
  const auto other = s.stack->ip().add_interface(second, {.mac = {{2, 0, 0, 0, 0, 3}}}).value();
  ASSERT_TRUE(s.stack->ip().add_address(other, {Ipv4Address::of(198, 51, 100, 1), 24}).has_value());
  s.run();
  second.sent.clear();
  s.rx(packet(kProtocol, Octets(10), [](wire::ipv4::Header& h) { h.destination = kFar; }));
  s.after(10_s);
  EXPECT_TRUE(
      std::none_of(second.sent.begin(), second.sent.end(), [](const Octets& f) { return f[12] == 8 && f[13] == 0; }));
  EXPECT_EQ(s.dropped(Drop::kIpNotForUs), 1u);
  EXPECT_TRUE(s.fake.datagrams.empty());
}

// (RFC6864-01, -03): datagrams that are whole are alike only by chance when their identification is the same.
TEST(IpService, IdentificationOfWholeDatagramsMeansNothing) {
  Script s;
  for (int i = 0; i < 3; ++i) {
    s.rx(packet(kProtocol, Octets(10), [](wire::ipv4::Header& h) { h.identification = 7; }));
  }
  EXPECT_EQ(s.fake.datagrams.size(), 3u);
}

// (RFC1122-IF-02, RFC1122-IP-16): the specific destination, the interface, TTL and TOS come up with a datagram.
TEST(IpService, DatagramFacts) {
  Script s;
  s.rx(packet(kProtocol, Octets(10), [](wire::ipv4::Header& h) {
    h.ttl = 3;
    h.tos = 0xb8;
  }));
  s.rx(packet(
      kProtocol, Octets(10), [](wire::ipv4::Header& h) { h.destination = Ipv4Address::broadcast(); },
      MacAddress::broadcast()));
  ASSERT_EQ(s.fake.datagrams.size(), 2u);
  const FakeTransport::Seen& d = s.fake.datagrams[0];
  EXPECT_EQ(d.source, ip::Address(kPeer));
  EXPECT_EQ(d.destination, ip::Address(kUs));
  EXPECT_EQ(d.interface, s.id);
  EXPECT_EQ(d.ttl, 3);
  EXPECT_EQ(d.tos, 0xb8);
  EXPECT_EQ(d.cast, ip::Cast::kUnicast);
  EXPECT_EQ(d.size, 10u);
  EXPECT_EQ(s.fake.datagrams[1].cast, ip::Cast::kBroadcast);
}

// (RFC1122-IF-03, RFC1122-IP-02): a transport can have port unreachable sent; the source is the address that was asked
// (RFC1122-MH-01).
TEST(IpService, Reject) {
  Script s;
  const auto second = Ipv4Address::of(192, 0, 2, 20);
  ASSERT_TRUE(s.stack->ip().add_address(s.id, {second, 24}).has_value());
  s.fake.rejects = true;
  s.rx(packet(kProtocol, Octets(10), [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(192, 0, 2, 20); }));
  EXPECT_EQ(s.sent(), "IP 192.0.2.20 > 192.0.2.1: ICMP destination unreachable type 3 code 3");
  s.rx(packet(1, echo_request(), [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(192, 0, 2, 20); }));
  EXPECT_EQ(s.sent(), "IP 192.0.2.20 > 192.0.2.1: ICMP echo reply id 4660 seq 1 length 24");
}

// A closed port on the loopback is refused as on any host.
TEST(IpService, RejectOverLoopback) {
  Script s;
  auto& sockets = s.stack->sockets();
  const auto h = sockets.open(ip::Family::kV4, socket::Type::kDatagram).value();
  ASSERT_TRUE(sockets.connect(h, {Ipv4Address::loopback(), 9}).has_value());
  const Octets data(4, 'x');
  const Bytes piece(data);
  ASSERT_TRUE(sockets.send(h, std::span(&piece, 1), nullptr).has_value());
  s.run();
  EXPECT_EQ(sockets.send(h, std::span(&piece, 1), nullptr).error(), Errno::kConnectionRefused);
}

// (RFC1122-IF-01, RFC1122-IP-15, -17, -19; RFC791-10): TTL, TOS and DF as asked for, each header with its checksum.
TEST(IpService, SendOptions) {
  Script s;
  ASSERT_TRUE(s.send(100, kFar, {.ttl = 7, .tos = 0x2e}).has_value());
  ASSERT_EQ(s.out.size(), 1u);
  EXPECT_EQ(s.out[0].ttl, 7);
  EXPECT_EQ(s.out[0].tos, 0x2e);
  EXPECT_EQ(s.reserved, 0);  // (RFC791-12)
  EXPECT_EQ(s.send(100, kFar, {.ttl = 0}).error(), Errno::kInvalid);
  EXPECT_TRUE(s.out.empty());
  Script low({.default_ttl = 33});
  ASSERT_TRUE(low.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
  EXPECT_EQ(wire::ipv4::parse(Bytes(low.device.sent.front()).subspan(14, 28)).value().header.ttl, 33);
}

// (RFC791-08, RFC1191-10, RFC6864-02, RFC1122-FRAG-07, -10): DF is set on whatever fits; what does not is refused or
// fragmented, as the transport wants, by the interface's own MTU.
TEST(IpService, DontFragment) {
  Script s;
  EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1500u);
  ASSERT_TRUE(s.send(1480, kFar, {.path_mtu = ip::PathMtuUse::kWant}).has_value());
  EXPECT_TRUE(s.out.at(0).dont_fragment);
  EXPECT_EQ(s.out.at(0).identification, 0);
  EXPECT_EQ(s.send(1481, kFar, {.path_mtu = ip::PathMtuUse::kDo}).error(), Errno::kMessageSize);
  EXPECT_TRUE(s.out.empty());
  ASSERT_TRUE(s.send(1481, kFar, {.path_mtu = ip::PathMtuUse::kWant}).has_value());
  ASSERT_EQ(s.out.size(), 2u);
  EXPECT_FALSE(s.out[0].dont_fragment);
  EXPECT_TRUE(s.out[0].more_fragments);
  EXPECT_EQ(s.out[0].identification, s.out[1].identification);
  EXPECT_EQ(s.out[1].fragment_offset, 1480);
  Script off({.path_mtu_discovery = ip::IpConfig::Discovery::kOff});
  ASSERT_TRUE(off.send(100, kFar, {.path_mtu = ip::PathMtuUse::kWant}).has_value());
  EXPECT_FALSE(off.out.at(0).dont_fragment);
  IpScript small({.mac = kOurMac, .mtu = 700});
  EXPECT_EQ(small.stack->ip().route(kPeer)->mtu, 700u);
}

// (RFC4821-09): what each value of IP_MTU_DISCOVER makes of a path MTU of 1000 on a link of 1500.
TEST(IpService, PathMtuUse) {
  using enum ip::PathMtuUse;
  struct Row {
    const char* name;
    ip::PathMtuUse use;
    bool has_df;
    std::size_t above_path, above_link;  // packets; 0: refused
  };
  for (const Row& row :
       {Row{"dont", kDont, false, 2, 2}, Row{"want", kWant, true, 2, 2}, Row{"do", kDo, true, 0, 0},
        Row{"probe", kProbe, true, 1, 0}, Row{"interface", kInterface, false, 1, 0}, Row{"omit", kOmit, false, 1, 2}}) {
    SCOPED_TRACE(row.name);
    Script s;
    s.stack->ip().accept_path_mtu(kFar, 1000);
    ASSERT_TRUE(s.send(980, kFar, {.path_mtu = row.use}).has_value());
    EXPECT_EQ(s.out.at(0).dont_fragment, row.has_df);
    for (const std::size_t size : {1480u, 1481u}) {
      const std::size_t packets = size == 1480 ? row.above_path : row.above_link;
      const Status sent = s.send(size, kFar, {.path_mtu = row.use});
      ASSERT_EQ(sent.has_value(), packets > 0);
      ASSERT_EQ(s.out.size(), packets);
      if (packets == 0) {
        EXPECT_EQ(sent.error(), Errno::kMessageSize);
        continue;
      }
      EXPECT_EQ(s.out[0].dont_fragment, packets == 1 && row.has_df);
      EXPECT_EQ(s.out[0].more_fragments, packets > 1);
      if (packets == 1) continue;
      EXPECT_EQ(s.out[0].total_length, row.use == kOmit ? 1500 : 996);
    }
  }
}

// Where routers have to cut our packets DF is set by nobody but who probes.
TEST(IpService, PathMtuUseBelowTheFloor) {
  for (int use = 0; use < ip::kPathMtuUses; ++use) {
    Script s;
    s.stack->ip().accept_path_mtu(kFar, 300);
    ASSERT_TRUE(s.send(100, kFar, {.path_mtu = static_cast<ip::PathMtuUse>(use)}).has_value());
    EXPECT_EQ(s.out.at(0).dont_fragment, static_cast<ip::PathMtuUse>(use) == ip::PathMtuUse::kProbe);
  }
}

// (RFC1122-FRAG-03, -04): what can be received does not depend on the link; the memory for it is configurable.
TEST(IpService, LargestMessage) {
  Script s;
  EXPECT_EQ(s.stack->ip().max_receive_size(), 65515u);
  Octets whole(65512);
  wire::icmp::emit(whole, {8, 0, 0x12340001, Bytes(whole).subspan(8)});
  const auto feed = [&whole](IpScript& script) {
    for (std::size_t at = 0; at < whole.size(); at += 1480) {
      const std::size_t size = std::min<std::size_t>(1480, whole.size() - at);
      Octets f = packet(1, Octets(whole.begin() + static_cast<std::ptrdiff_t>(at),
                                  whole.begin() + static_cast<std::ptrdiff_t>(at + size)));
      const wire::ipv4::Header h{.total_length = static_cast<std::uint16_t>(20 + size),
                                 .identification = 5,
                                 .more_fragments = at + size < whole.size(),
                                 .fragment_offset = static_cast<std::uint16_t>(at),
                                 .ttl = 64,
                                 .protocol = 1,
                                 .source = kPeer,
                                 .destination = kUs};
      wire::ipv4::emit(MutableBytes(f).subspan(14), h);
      script.rx(f);
    }
    return script.device.sent.size();
  };
  EXPECT_EQ(feed(s), 45u);
  Script poor({.reassembly_max_bytes = 30'000});
  EXPECT_EQ(feed(poor), 0u);
  EXPECT_GT(poor.dropped(Drop::kFragLimit), 0u);
}

// Two addresses in one network: the network stays as long as one of them does.
TEST(IpService, RemoveAddress) {
  Script s;
  ip::Ip& ip = s.stack->ip();
  ASSERT_TRUE(ip.add_address(s.id, {Ipv4Address::of(192, 0, 2, 20), 24}).has_value());
  ASSERT_TRUE(ip.remove_address(s.id, kUs).has_value());
  EXPECT_EQ(ip.route(kPeer)->source, wire::Address(Ipv4Address::of(192, 0, 2, 20)));
  ASSERT_TRUE(ip.remove_address(s.id, Ipv4Address::of(192, 0, 2, 20)).has_value());
  EXPECT_EQ(ip.route(kPeer).error(), Errno::kNetworkUnreachable);
}

// --- path MTU

struct MtuRow {
  const char* name;
  std::uint32_t accepted, then;  // 0: no second message
  std::uint32_t want;
  bool want_df;
};

// (RFC1191-01, -03, -04; RFC1191-02) S30
TEST(PathMtu, Estimate) {
  const MtuRow rows[] = {{"lower", 1400, 0, 1400, true},
                         {"not above the link's", 9000, 0, 1500, true},
                         {"never up", 1000, 1400, 1000, true},
                         {"further down", 1400, 1000, 1000, true},
                         {"at the floor", 576, 0, 576, true},
                         {"below the floor", 575, 0, 576, false},
                         {"68", 68, 0, 576, false},
                         {"0", 0, 0, 576, false},
                         {"first floor, then below", 576, 300, 576, false}};
  for (const MtuRow& row : rows) {
    Script s;
    s.stack->ip().accept_path_mtu(kFar, row.accepted);
    if (row.then != 0) s.stack->ip().accept_path_mtu(kFar, row.then);
    EXPECT_EQ(s.stack->ip().route(kFar)->mtu, row.want) << row.name;
    ASSERT_TRUE(s.send(500).has_value());
    EXPECT_EQ(s.out.at(0).dont_fragment, row.want_df) << row.name;
    EXPECT_EQ(s.stack->ip().route(kPeer)->mtu, 1500u) << row.name;
  }
}

struct ReportRow {
  std::uint32_t next_hop_mtu;
  std::uint32_t want;
};

// (RFC1191-03, -05): what is said, or the plateau below the quoted length of 1000; nothing is believed before the
// transport agrees.
TEST(PathMtu, Report) {
  for (const ReportRow& row : {ReportRow{900, 900}, ReportRow{68, 68}, ReportRow{28, 68}, ReportRow{0, 508}}) {
    Script s;
    s.error(3, 4, row.next_hop_mtu);
    EXPECT_EQ(s.fake.mtu, row.want);
    EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1500u);
  }
}

// (RFC1191-06): an estimate ages after ten minutes, and cached routes are looked up again then.
TEST(PathMtu, Ages) {
  Script s;
  s.stack->ip().accept_path_mtu(kFar, 1000);
  const std::uint32_t generation = s.stack->ip().route_generation();
  s.after(590_s);
  EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1000u);
  EXPECT_EQ(s.stack->ip().route_generation(), generation);
  s.after(11_s);
  EXPECT_NE(s.stack->ip().route_generation(), generation);
  EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1500u);
}

TEST(PathMtu, EachAgesByItself) {
  Script s;
  const Ipv4Address other = Ipv4Address::of(198, 51, 100, 8);
  s.stack->ip().accept_path_mtu(kFar, 1000);
  s.after(300_s);
  s.stack->ip().accept_path_mtu(other, 1000);
  std::uint32_t generation = s.stack->ip().route_generation();
  s.stack->ip().accept_path_mtu(other, 1000);  // nothing new
  EXPECT_EQ(s.stack->ip().route_generation(), generation);
  for (const std::uint32_t left : {1000u, 1500u}) {
    s.after(301_s);
    EXPECT_NE(s.stack->ip().route_generation(), generation);
    generation = s.stack->ip().route_generation();
    EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1500u);
    EXPECT_EQ(s.stack->ip().route(other)->mtu, left);
  }
}

TEST(PathMtu, NothingIsBelievedWithoutDiscovery) {
  Script s({.path_mtu_discovery = ip::IpConfig::Discovery::kOff});
  s.stack->ip().accept_path_mtu(kFar, 1000);
  EXPECT_EQ(s.stack->ip().route(kFar)->mtu, 1500u);
}

// The plateau below, not the one it is on.
TEST(PathMtu, ReportAboutAPlateau) {
  Script s;
  s.error(3, 4, 0, [](wire::ipv4::Header& h) { h.total_length = 1006; });
  EXPECT_EQ(s.fake.mtu, 508u);
}

// What the link carries bounds it, and is no new estimate.
TEST(PathMtu, OnASmallerLink) {
  Script s;
  s.stack->ip().accept_path_mtu(kFar, 1400);
  for (const std::uint32_t mtu : {1300u, 1500u}) {
    ASSERT_TRUE(s.stack->ip().set_mtu(s.id, mtu).has_value());
    EXPECT_EQ(s.stack->ip().route(kFar)->mtu, std::min(mtu, 1400u));
  }
}

// S30: 100 000 destinations leave the cache in its bounds and the latest estimates in force.
TEST(PathMtu, CacheIsBounded) {
  Script s;
  for (std::uint32_t i = 0; i < 100'000; ++i) s.stack->ip().accept_path_mtu(Ipv4Address{0x0a000000 + i}, 1000);
  EXPECT_EQ(s.stack->ip().route(Ipv4Address{0x0a000000 + 99'999})->mtu, 1000u);
  int estimates = 0;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    estimates += s.stack->ip().route(Ipv4Address{0x0a000000 + i})->mtu == 1000 ? 1 : 0;
  }
  EXPECT_LE(estimates, 512);
  EXPECT_GE(estimates, 256);
}

// --- echo

class Pinger final : public ip::IcmpUser {
 public:
  void on_echo_reply(const ip::Address& from, std::uint8_t ttl, Bytes message) override {
    EXPECT_EQ(from, ip::Address(kPeer));
    EXPECT_EQ(ttl, 64);
    replies.emplace_back(message.begin(), message.end());
  }
  void on_icmp_error(const ip::IcmpError& e) override { errors.push_back(e.kind); }
  std::vector<Octets> replies;
  std::vector<ip::ErrorKind> errors;
};

// (RFC1122-ICMP-23, -27): requests go out, replies and errors come back to whoever has the identifier.
TEST(Echo, User) {
  Script s;
  ip::Ip& ip = s.stack->ip();
  Pinger a, b;
  EXPECT_EQ(ip.register_icmp_user(a, 77).value(), 77);
  EXPECT_EQ(ip.register_icmp_user(b, 77).error(), Errno::kAddressInUse);
  const std::uint16_t other = ip.register_icmp_user(b, 0).value();
  EXPECT_NE(other, 77);
  const Octets data(20, 'p');
  ASSERT_TRUE(ip.send_echo(kPeer, {}, 0, 77, 3, data).has_value());
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo request id 77 seq 3 length 28");
  Octets reply(s.last.begin() + 34, s.last.end());
  wire::icmp::emit(reply, {0, 0, 77u << 16 | 3, Bytes(reply).subspan(8)});
  s.rx(packet(1, reply));
  ASSERT_EQ(a.replies.size(), 1u);
  EXPECT_EQ(a.replies[0], reply);
  EXPECT_TRUE(b.replies.empty());
  Octets error(8 + s.last.size() - 14);
  std::copy(s.last.begin() + 14, s.last.end(), error.begin() + 8);
  wire::icmp::emit(error, {11, 0, 0, Bytes(error).subspan(8)});
  s.rx(packet(1, error));
  EXPECT_EQ(a.errors, std::vector<ip::ErrorKind>{ip::ErrorKind::kTimeExceeded});
  ip.unregister_icmp_user(77);
  s.rx(packet(1, reply));
  EXPECT_EQ(a.replies.size(), 1u);
  EXPECT_EQ(s.dropped(Drop::kIcmpIgnored), 1u);
}

// S26: the reply has the request's size, data and DSCP, and none of its ECN bits.
TEST(Echo, ReplyMirrorsTheRequest) {
  for (std::size_t size = 0; size <= 1472; size += 92) {
    Script s;
    const Octets request = packet(1, echo_request(size), [](wire::ipv4::Header& h) { h.tos = 0xbb; });
    s.rx(request);
    ASSERT_EQ(s.device.sent.size(), 1u);
    const Octets reply = s.device.sent[0];
    EXPECT_EQ(reply.size(), std::max<std::size_t>(60, request.size()));
    EXPECT_TRUE(std::equal(request.begin() + 38, request.end(), reply.begin() + 38));
    EXPECT_EQ(reply[15], 0xb8);
  }
}

}  // namespace
}  // namespace sluice::test
