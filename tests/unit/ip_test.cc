// Link and IP by packet scripts.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>

#include "stack/ip/impl.h"
#include "stack/wire/arp.h"
#include "stack/wire/crc32.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

// --- Ethernet
// --------------------------------------------------------------------------------------------------------------

// (RFC826-02, -03, -04; IEEE802.3-01, RFC894-02): the known request draws the known reply, padded with zeros.
TEST(Link, ArpRequestIsAnswered) {
  IpScript s;
  s.rx(known("arp-request"));
  s.sent();
  EXPECT_EQ(s.last, known("arp-reply"));
}

// (IEEE802.3-02, IEEE802.3-03, IEEE802.3-04): with FCS on the link.
TEST(Link, Fcs) {
  IpScript s(link::Fcs::kPresent);
  Octets frame = known("arp-request");
  Octets fcs(4);
  wire::ethernet::emit_fcs(fcs, wire::crc32(frame));
  frame.insert(frame.end(), fcs.begin(), fcs.end());
  s.rx(frame);
  s.sent();
  Octets want = known("arp-reply");
  const Octets want_fcs = from_hex("b835d96a");
  want.insert(want.end(), want_fcs.begin(), want_fcs.end());
  EXPECT_EQ(s.last, want);
  frame[20] ^= 1;
  s.rx(frame);
  EXPECT_EQ(s.dropped(Drop::kEthFcs), 1u);
  s.rx(Octets(63));
  EXPECT_EQ(s.dropped(Drop::kEthRunt), 1u);
}

struct FilterRow {
  const char* name;
  MacAddress to, from;
  Drop want;
};

// (IEEE802.3-08, IEEE802.3-09) S08
TEST(Link, Filter) {
  const FilterRow rows[] = {{"another station", {{2, 0, 0, 0, 0, 9}}, kPeerMac, Drop::kEthNotForUs},
                            {"a group not joined", {{1, 0, 0x5e, 1, 1, 1}}, kPeerMac, Drop::kEthNotForUs},
                            {"from a group", kOurMac, {{3, 0, 0, 0, 0, 1}}, Drop::kEthSource},
                            {"from ourselves", kOurMac, kOurMac, Drop::kEthSource}};
  for (const FilterRow& row : rows) {
    IpScript s;
    Octets frame = packet(1, echo_request());
    row.to.store(frame.data());
    row.from.store(frame.data() + 6);
    s.rx(frame);
    EXPECT_EQ(s.sent(), "") << row.name;
    EXPECT_EQ(s.dropped(row.want), 1u) << row.name;
  }
}

// (IEEE802.3-07), S01, S07
TEST(Link, GiantsTagsAndCutFrames) {
  IpScript s;
  s.rx(packet(1, echo_request(1500)));
  EXPECT_EQ(s.dropped(Drop::kEthGiant), 1u);
  s.rx(known("vlan-arp"));  // tagged, and we are not
  EXPECT_EQ(s.dropped(Drop::kEthVlan), 1u);
  s.device.cut_off = 10;
  s.rx(packet(1, echo_request()));
  EXPECT_EQ(s.dropped(Drop::kDeviceTruncated), 1u);
  EXPECT_EQ(s.sent(), "");
}

// S02: what a device claims is compared with the frame.
TEST(Link, OffloadIsValidated) {
  using buf::ChecksumState;
  using buf::GsoType;
  EXPECT_TRUE(link::offload_valid({}, 60));
  EXPECT_TRUE(
      link::offload_valid({.checksum = ChecksumState::kPartial, .checksum_start = 34, .checksum_offset = 16}, 60));
  EXPECT_FALSE(
      link::offload_valid({.checksum = ChecksumState::kPartial, .checksum_start = 45, .checksum_offset = 16}, 60));
  EXPECT_FALSE(link::offload_valid({.gso = GsoType::kTcp4, .gso_size = 0, .header_length = 54}, 1000));
  EXPECT_FALSE(link::offload_valid({.gso = GsoType::kTcp4, .gso_size = 500, .header_length = 1000}, 1000));
  EXPECT_FALSE(link::offload_valid({.gso_size = 500}, 1000));
}

// --- ARP
// -------------------------------------------------------------------------------------------------------------------

// (RFC826-05, RFC1122-LNK-03, RFC1122-LNK-05, RFC1122-LNK-10, RFC1122-LNK-13): asked once a second, three times; the
// packet waits, and its sender hears of the failure only then.
TEST(Arp, Resolution) {
  IpScript s;
  ASSERT_TRUE(s.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
  EXPECT_EQ(s.sent(), "ARP who has 192.0.2.1? tell 192.0.2.2");
  EXPECT_TRUE(MacAddress::load(s.last.data()).is_broadcast());
  EXPECT_EQ(s.sent(), "");
  s.rx(
      from_hex("0200000000020200000000010806000108000604000202000000000"
               "1c00002010200000000"
               "02c0000202"));
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo request id 7 seq 1 length 8");
  IpScript silent;
  ASSERT_TRUE(silent.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
  silent.after(10_s);
  int requests = 0;
  while (!silent.sent().empty()) ++requests;
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(silent.dropped(Drop::kArpUnresolved), 1u);
}

// (RFC826-07), S10: no entry from replies nobody asked for, nor for impossible senders.
TEST(Arp, UnsolicitedMakesNoEntry) {
  IpScript s;
  Octets reply = known("arp-reply");
  kPeer.store(reply.data() + 14 + 14);
  s.rx(reply);
  int rows = 0;
  s.stack->ip().visit_neighbors([](void* n, const ip::NeighborEntry&) { ++*static_cast<int*>(n); }, &rows);
  EXPECT_EQ(rows, 0);
  Octets request = known("arp-request");
  for (const Ipv4Address bad :
       {Ipv4Address{0xffffffff}, Ipv4Address::of(224, 0, 0, 1), Ipv4Address::of(127, 0, 0, 1)}) {
    bad.store(request.data() + 14 + 14);
    s.rx(request);
  }
  EXPECT_EQ(s.dropped(Drop::kArpSender), 3u);
  EXPECT_EQ(s.sent(), "");
}

// (RFC1122-LNK-02, RFC1122-LNK-04): an entry grows stale, is asked by unicast when used, and goes when nobody answers.
TEST(Arp, EntriesAge) {
  IpScript s;
  s.learn_peer();
  s.after(70_s);
  ASSERT_TRUE(s.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
  EXPECT_EQ(s.sent(), "ARP who has 192.0.2.1? tell 192.0.2.2");
  EXPECT_EQ(MacAddress::load(s.last.data()), kPeerMac);
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo request id 7 seq 1 length 8");
  s.after(10_s);
  int rows = 0;
  s.stack->ip().visit_neighbors([](void* n, const ip::NeighborEntry&) { ++*static_cast<int*>(n); }, &rows);
  EXPECT_EQ(rows, 0);
}

// S11: 100 000 stations that ask for us: the cache keeps its bound, and the peer in use stays.
TEST(Arp, CacheIsBounded) {
  IpScript s;
  s.learn_peer();
  Octets request = known("arp-request");
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    Ipv4Address{0x0a000000 + i}.store(request.data() + 14 + 14);
    s.rx(request);
    s.device.sent.clear();
    if (i % 100 == 0) {
      ASSERT_TRUE(s.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
      s.now = s.now + 10_ms;
    }
  }
  s.device.sent.clear();
  ASSERT_TRUE(s.stack->ip().send_echo(kPeer, {}, 0, 7, 1, {}).has_value());
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo request id 7 seq 1 length 8");
}

// (RFC5227-09, -10): probe, announce, defend once in ten seconds.
TEST(Arp, ConflictDetection) {
  IpScript s(link::Fcs::kNone, IpScript::Check::kProbe);
  EXPECT_FALSE(s.stack->ip().is_local(kUs));
  s.after(15_s);
  EXPECT_TRUE(s.stack->ip().is_local(kUs));
  std::vector<std::string> lines;
  for (std::string line = s.sent(); !line.empty(); line = s.sent()) lines.push_back(line);
  const std::string probe = "ARP who has 192.0.2.2? tell 0.0.0.0";
  const std::string announce = "ARP announcement of 192.0.2.2";
  EXPECT_EQ(lines, (std::vector<std::string>{probe, probe, probe, announce, announce}));
  Octets claim = known("arp-announce");
  kUs.store(claim.data() + 14 + 14);
  kUs.store(claim.data() + 14 + 24);
  for (int i = 0; i < 5; ++i) s.rx(claim);
  EXPECT_EQ(s.sent(), announce);
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.stack->counters().get(Counter::kArpConflicts), 5u);
}

// --- IPv4
// ------------------------------------------------------------------------------------------------------------------

struct MartianRow {
  const char* name;
  void (*edit)(wire::ipv4::Header&);
  Drop want;
};

// (RFC1122-IP-09, -10, -13; RFC1122-UDP-12, RFC9293-MUST-63) S16
TEST(Ipv4Input, Martians) {
  const MartianRow rows[] = {
      {"from a group", [](wire::ipv4::Header& h) { h.source = Ipv4Address::of(224, 0, 0, 5); }, Drop::kIpSource},
      {"from the broadcast", [](wire::ipv4::Header& h) { h.source = Ipv4Address::broadcast(); }, Drop::kIpSource},
      {"from the subnet's broadcast", [](wire::ipv4::Header& h) { h.source = Ipv4Address::of(192, 0, 2, 255); },
       Drop::kIpSource},
      {"from class E", [](wire::ipv4::Header& h) { h.source = Ipv4Address::of(250, 0, 0, 1); }, Drop::kIpSource},
      {"from nobody", [](wire::ipv4::Header& h) { h.source = Ipv4Address::any(); }, Drop::kIpSource},
      {"from loopback", [](wire::ipv4::Header& h) { h.source = Ipv4Address::loopback(); }, Drop::kIpSource},
      {"from ourselves", [](wire::ipv4::Header& h) { h.source = kUs; }, Drop::kIpSource},
      {"to loopback", [](wire::ipv4::Header& h) { h.destination = Ipv4Address::loopback(); }, Drop::kIpDestination},
      {"to another", [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(192, 0, 2, 77); }, Drop::kIpNotForUs},
      {"to a group", [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(224, 9, 9, 9); }, Drop::kIpNotForUs},
  };
  for (const MartianRow& row : rows) {
    IpScript s;
    s.learn_peer();
    s.rx(packet(1, echo_request(), row.edit));
    EXPECT_EQ(s.sent(), "") << row.name;
    EXPECT_EQ(s.dropped(row.want), 1u) << row.name;
  }
}

// (RFC791-02, IEEE802.3-10, RFC1122-IP-01, -18, RFC1122-ICMP-22, -25, -26; RFC792-01, -02): TTL 1 does not matter;
// padding is cut off.
TEST(Ipv4Input, EchoIsAnswered) {
  IpScript s;
  s.learn_peer();
  Octets frame = packet(1, echo_request(4), [](wire::ipv4::Header& h) { h.ttl = 1; });
  frame.resize(60, 0xee);
  s.rx(frame);
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo reply id 4660 seq 1 length 12");
  EXPECT_EQ(s.last.size(), 60u);
  EXPECT_TRUE(
      std::all_of(s.last.begin() + 46, s.last.end(), [](std::uint8_t b) { return b == 0; }));  // EtherLeak (S05)
  Octets bad = packet(1, echo_request());
  bad.back() ^= 1;
  s.rx(bad);
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.dropped(Drop::kIcmpChecksum), 1u);
}

// (RFC1122-BC-01, -03, -04; RFC1122-LNK-11): link-layer and IP broadcasts must fit together.
TEST(Ipv4Input, Broadcasts) {
  IpScript s;
  s.learn_peer();
  s.rx(packet(1, echo_request(), nullptr, MacAddress::broadcast()));
  EXPECT_EQ(s.dropped(Drop::kIpLinkCast), 1u);
  const auto port = s.stack->sockets().open(ip::Family::kV4, socket::Type::kDatagram).value();
  ASSERT_TRUE(s.stack->sockets().bind(port, {Ipv4Address::any(), 99}).has_value());
  s.rx(packet(
      17, udp(99), [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(192, 0, 2, 255); },
      MacAddress::broadcast()));
  s.rx(packet(
      17, udp(99), [](wire::ipv4::Header& h) { h.destination = Ipv4Address::broadcast(); }, MacAddress::broadcast()));
  Octets data(100);
  const MutableBytes piece(data);
  EXPECT_TRUE(s.stack->sockets().receive(port, std::span(&piece, 1)).has_value());
  EXPECT_TRUE(s.stack->sockets().receive(port, std::span(&piece, 1)).has_value());
}

// --- ICMP errors
// -----------------------------------------------------------------------------------------------------------

struct ForbiddenRow {
  const char* name;
  std::uint8_t protocol;
  Octets l4;
  void (*edit)(wire::ipv4::Header&);
  MacAddress to;
};

// (RFC1122-ICMP-05 to -09): (RFC1122-ICMP-05, -06, -07, -08, -09; RFC1122-ICMP-01, -24; RFC6633-02) S25, S27
TEST(Icmp, NoErrorNoAnswer) {
  Octets error = echo_request();
  error[0] = 3;
  const Octets unknown = udp(9999);
  const auto broadcast = [](wire::ipv4::Header& h) { h.destination = Ipv4Address::of(192, 0, 2, 255); };
  const ForbiddenRow rows[] = {
      {"about an error", 1, error, nullptr, kOurMac},
      {"to a broadcast", 17, unknown, broadcast, kOurMac},
      {"in a link-layer broadcast", 17, unknown, broadcast, MacAddress::broadcast()},
      {"about a later fragment", 200, unknown, [](wire::ipv4::Header& h) { h.fragment_offset = 800; }, kOurMac},
      {"to a broadcast source", 17, unknown, [](wire::ipv4::Header& h) { h.source = Ipv4Address::of(192, 0, 2, 255); },
       kOurMac},
      {"echo to a broadcast", 1, echo_request(), broadcast, MacAddress::broadcast()},
      {"timestamp request", 1, Octets{13, 0, 0xf2, 0xff, 0, 0, 0, 0}, nullptr, kOurMac},
      {"source quench", 1, Octets{4, 0, 0xfb, 0xff, 0, 0, 0, 0}, nullptr, kOurMac},
      {"redirect", 1, Octets{5, 1, 0xfa, 0xfe, 0, 0, 0, 0}, nullptr, kOurMac},
      {"unknown type", 1, Octets{77, 0, 0xb2, 0xff, 0, 0, 0, 0}, nullptr, kOurMac},
  };
  for (const ForbiddenRow& row : rows) {
    IpScript s;
    s.learn_peer();
    s.rx(packet(row.protocol, row.l4, row.edit, row.to));
    EXPECT_EQ(s.sent(), "") << row.name;
  }
}

// (RFC1122-ICMP-02, -11, -12; RFC1122-UDP-01, RFC792-03): the closed port and the unknown protocol, quoted byte for
// byte.
TEST(Icmp, Unreachable) {
  IpScript s;
  s.learn_peer();
  const Octets request = packet(17, udp(9999));
  s.rx(request);
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP destination unreachable type 3 code 3");
  EXPECT_TRUE(std::equal(request.begin() + 14, request.end(), s.last.begin() + 14 + 20 + 8));
  EXPECT_EQ(std::accumulate(s.last.begin() + 38, s.last.begin() + 42, 0), 0);  // the unused word
  s.rx(packet(200, udp(9999)));
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP destination unreachable type 3 code 2");
}

// Errors to one host are few (RFC1812-01, S28).
TEST(Icmp, ErrorsAreLimited) {
  IpScript s;
  s.learn_peer();
  int errors = 0;
  for (int i = 0; i < 1000; ++i) {
    s.rx(packet(17, udp(9999)));
    while (!s.sent().empty()) ++errors;
  }
  EXPECT_GE(errors, 1);
  EXPECT_LE(errors, 10);
  EXPECT_GT(s.dropped(Drop::kIcmpRateLimited), 900u);
}

// (RFC1122-UDP-03, RFC1122-ICMP-03, -13, -37; RFC1122-IF-04): an error reaches the socket whose datagram it quotes.
TEST(Icmp, ErrorReachesUdpSocket) {
  IpScript s;
  s.learn_peer();
  auto& sockets = s.stack->sockets();
  const auto h = sockets.open(ip::Family::kV4, socket::Type::kDatagram).value();
  ASSERT_TRUE(sockets.connect(h, {kPeer, 9}).has_value());
  const Octets data(4, 'x');
  const Bytes piece(data);
  ASSERT_TRUE(sockets.send(h, std::span(&piece, 1), nullptr).has_value());
  ASSERT_NE(s.sent(), "");
  Octets l4(8 + s.last.size() - 14);
  std::copy(s.last.begin() + 14, s.last.end(), l4.begin() + 8);
  wire::icmp::emit(l4, {3, 3, 0, Bytes(l4).subspan(8)});
  s.rx(packet(1, l4));
  const auto refused = sockets.send(h, std::span(&piece, 1), nullptr);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), Errno::kConnectionRefused);
  EXPECT_TRUE(sockets.send(h, std::span(&piece, 1), nullptr).has_value());  // told once
}

// A device that coalesces hands over a row of datagrams as one: the socket gets each by itself, and a group's members
// get their copies of each.
TEST(Udp, DatagramsThatTheDeviceJoinedArriveOneByOne) {
  struct Row {
    const char* name;
    std::size_t payload;
    std::uint16_t size;
    std::vector<std::size_t> want;
  };
  const Row rows[] = {{"three and a rest", 3500, 1000, {1000, 1000, 1000, 500}},
                      {"exactly two", 2000, 1000, {1000, 1000}},
                      {"one, smaller than the size said", 600, 1000, {600}},
                      {"one of exactly the size", 1000, 1000, {1000}}};
  for (const Row& row : rows) {
    IpScript s;
    s.learn_peer();
    auto& sockets = s.stack->sockets();
    const auto h = sockets.open(ip::Family::kV4, socket::Type::kDatagram).value();
    ASSERT_TRUE(sockets.bind(h, {kUs, 7000}).has_value());
    s.device.offload = {.checksum = buf::ChecksumState::kPartial, .gso = buf::GsoType::kUdp};
    s.device.offload.checksum_start = 34;
    s.device.offload.checksum_offset = 6;
    s.device.offload.gso_size = row.size;
    s.device.offload.header_length = 34;
    Octets l4 = udp(7000, row.payload);
    for (std::size_t i = 0; i < row.payload; ++i) l4[8 + i] = static_cast<std::uint8_t>(i / row.size);
    s.rx(packet(17, l4));
    for (std::size_t i = 0; i < row.want.size(); ++i) {
      Octets got(4000);
      MutableBytes room(got);
      const auto received = sockets.receive(h, std::span(&room, 1), {});
      ASSERT_TRUE(received.has_value()) << row.name;
      EXPECT_EQ(received->size, row.want[i]) << row.name;
      EXPECT_EQ(got[0], i) << row.name;
    }
    EXPECT_EQ(s.stack->counters().get(Counter::kUdpReceived), row.want.size()) << row.name;
  }
}

// --- fragments
// ---------------------------------------------------------------------------------------------------------------

Octets fragment(const Octets& whole, std::size_t begin, std::size_t end, std::uint16_t id = 1) {
  const Octets part(whole.begin() + static_cast<std::ptrdiff_t>(begin),
                    whole.begin() + static_cast<std::ptrdiff_t>(end));
  Octets frame = packet(1, part);
  const wire::ipv4::Header h{.total_length = static_cast<std::uint16_t>(20 + part.size()),
                             .identification = id,
                             .more_fragments = end < whole.size(),
                             .fragment_offset = static_cast<std::uint16_t>(begin),
                             .ttl = 64,
                             .protocol = 1,
                             .source = kPeer,
                             .destination = kUs};
  wire::ipv4::emit(MutableBytes(frame).subspan(14), h);
  return frame;
}

// (RFC791-04, -05, -07; RFC815-01, RFC1122-FRAG-01): 48 bytes in six fragments, in each of the 720 orders, one of them
// twice.
TEST(Fragments, EveryOrder) {
  const Octets whole = echo_request(40);
  std::vector<std::size_t> order = {0, 8, 16, 24, 32, 40};
  do {
    IpScript s;
    s.learn_peer();
    for (const std::size_t at : order) {
      s.rx(fragment(whole, at, at + 8));
      if (at == 16 && at != order.back()) s.rx(fragment(whole, at, at + 8));
    }
    ASSERT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo reply id 4660 seq 1 length 48");
  } while (std::next_permutation(order.begin(), order.end()));
}

// (RFC5722-04, RFC791-06) S19, S20, S21
TEST(Fragments, Hostile) {
  const Octets whole = echo_request(40);
  IpScript s;
  s.learn_peer();
  s.rx(fragment(whole, 0, 24));
  s.rx(fragment(whole, 16, 48));  // overlaps
  s.rx(fragment(whole, 24, 48));
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.dropped(Drop::kFragOverlap), 2u);
  Octets other = whole;
  other[10] ^= 1;
  s.rx(fragment(whole, 0, 24, 2));
  s.rx(fragment(other, 0, 24, 2));  // the same place, other bytes
  s.rx(fragment(whole, 24, 48, 2));
  EXPECT_EQ(s.sent(), "");
  Octets far(100);
  Octets beyond = fragment(far, 0, 96, 3);
  const wire::ipv4::Header h{.total_length = 116,
                             .identification = 3,
                             .fragment_offset = 65528,
                             .ttl = 64,
                             .protocol = 1,
                             .source = kPeer,
                             .destination = kUs};
  wire::ipv4::emit(MutableBytes(beyond).subspan(14), h);
  s.rx(beyond);
  EXPECT_EQ(s.dropped(Drop::kFragMalformed), 1u);
}

// (RFC1122-FRAG-05, -06; RFC6274-02) S22: time exceeded if the first fragment came; memory stays bounded.
TEST(Fragments, TimeoutAndBounds) {
  const Octets whole = echo_request(40);
  IpScript s;
  s.learn_peer();
  s.rx(fragment(whole, 0, 24));
  s.rx(fragment(whole, 24, 32, 2));  // of another datagram, without its first fragment
  s.after(31_s);
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP time exceeded type 11 code 1");
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.dropped(Drop::kFragTimeout), 2u);
  for (std::uint32_t i = 0; i < 20'000; ++i) s.rx(fragment(whole, 0, 8, static_cast<std::uint16_t>(i)));
  EXPECT_LT(s.stack->pool().heap_bytes(), 1u << 20);
  s.rx(fragment(whole, 0, 24, 30000));
  s.rx(fragment(whole, 24, 48, 30000));
  EXPECT_EQ(s.sent(), "IP 192.0.2.2 > 192.0.2.1: ICMP echo reply id 4660 seq 1 length 48");
}

// (RFC1122-FRAG-08, RFC791-03, RFC1122-FRAG-02): every size out and, looped back by the peer, in again.
TEST(Fragments, EverySizeBothWays) {
  IpScript s;
  s.learn_peer();
  auto& sockets = s.stack->sockets();
  const auto h = sockets.open(ip::Family::kV4, socket::Type::kDatagram).value();
  ASSERT_TRUE(sockets.bind(h, {kUs, 5000}).has_value());
  for (std::size_t size = 1400; size < 6100; size += 37) {
    Octets data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 7);
    const Bytes piece(data);
    const ip::Endpoint to{kPeer, 5000};
    ASSERT_TRUE(sockets.send(h, std::span(&piece, 1), &to).has_value());
    std::deque<Octets> frames;
    std::swap(frames, s.device.sent);
    EXPECT_EQ(frames.size(), size + 8 <= 1480 ? 1 : (size + 8 + 1479) / 1480);
    for (Octets& f : frames) {  // turned round: addresses swapped, checksum unchanged by that
      std::swap_ranges(f.begin(), f.begin() + 6, f.begin() + 6);
      std::swap_ranges(f.begin() + 26, f.begin() + 30, f.begin() + 30);
      s.rx(f);
    }
    Octets back(7000);
    const MutableBytes room(back);
    const auto got = sockets.receive(h, std::span(&room, 1));
    ASSERT_TRUE(got.has_value()) << size;
    back.resize(got->size);
    EXPECT_EQ(back, data);
  }
}

// --- routes
// ------------------------------------------------------------------------------------------------------------------

// (RFC1122-RT-01, -02, -10; RFC1122-IP-07, -08, -11, -12; RFC1122-MH-02, RFC1122-ICMP-33)
TEST(Routes, LongestPrefix) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  EXPECT_FALSE(ip.route(Ipv4Address::of(8, 8, 8, 8)).has_value());
  ASSERT_TRUE(ip.add_route({{Ipv4Address::any(), 0}, kPeer, s.id, 0}).has_value());
  ASSERT_TRUE(ip.add_route({{Ipv4Address::of(10, 0, 0, 0), 8}, Ipv4Address::of(192, 0, 2, 9), s.id, 0}).has_value());
  EXPECT_EQ(ip.route(Ipv4Address::of(8, 8, 8, 8))->next_hop, wire::Address(kPeer));
  EXPECT_EQ(ip.route(Ipv4Address::of(10, 1, 2, 3))->next_hop, wire::Address(Ipv4Address::of(192, 0, 2, 9)));
  EXPECT_EQ(ip.route(Ipv4Address::of(192, 0, 2, 50))->next_hop, wire::Address(Ipv4Address::of(192, 0, 2, 50)));
  EXPECT_EQ(ip.route(Ipv4Address::of(192, 0, 2, 50))->source, wire::Address(kUs));
  EXPECT_EQ(ip.route(Ipv4Address::of(192, 0, 2, 255))->cast, ip::Cast::kBroadcast);
  EXPECT_EQ(ip.route(Ipv4Address::of(8, 8, 8, 8), Ipv4Address::of(1, 2, 3, 4)).error(), Errno::kAddressNotAvailable);
  EXPECT_EQ(ip.route(Ipv4Address::any()).error(), Errno::kInvalid);
  EXPECT_EQ(ip.add_route({{Ipv4Address::any(), 0}, Ipv4Address::of(8, 8, 8, 8), s.id, 5}).error(),
            Errno::kNetworkUnreachable);
  EXPECT_EQ(ip.add_address(s.id, {Ipv4Address::of(192, 0, 2, 255), 24}).error(), Errno::kInvalid);
}

// An address that is removed is neither answered for nor sent from; its network's route goes with its last address.
TEST(Routes, AnAddressIsRemoved) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  const auto second = Ipv4Address::of(192, 0, 2, 3);
  ASSERT_TRUE(ip.add_address(s.id, {second, 24}).has_value());
  s.learn_peer();
  const std::uint32_t before = ip.route_generation();
  ASSERT_TRUE(ip.remove_address(s.id, kUs).has_value());
  EXPECT_NE(ip.route_generation(), before);
  EXPECT_FALSE(ip.is_local(kUs));
  s.rx(packet(1, echo_request()));
  s.rx(known("arp-request"));
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.dropped(Drop::kIpNotForUs), 1u);
  EXPECT_EQ(ip.route(kPeer)->source, wire::Address(second));
  EXPECT_EQ(ip.route(kPeer, kUs).error(), Errno::kAddressNotAvailable);
  EXPECT_EQ(ip.remove_address(s.id, kUs).error(), Errno::kAddressNotAvailable);
  ASSERT_TRUE(ip.remove_address(s.id, second).has_value());
  EXPECT_TRUE(ip.routes().empty());
  EXPECT_EQ(ip.route(kPeer).error(), Errno::kNetworkUnreachable);
}

TEST(Routes, ARouteIsRemoved) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  const ip::RouteEntry all{{Ipv4Address::any(), 0}, kPeer, s.id, 0};
  ASSERT_TRUE(ip.add_route(all).has_value());
  ASSERT_TRUE(ip.route(Ipv4Address::of(8, 8, 8, 8)).has_value());
  ASSERT_TRUE(ip.remove_route(all).has_value());
  EXPECT_EQ(ip.route(Ipv4Address::of(8, 8, 8, 8)).error(), Errno::kNetworkUnreachable);
  EXPECT_EQ(ip.remove_route(all).error(), Errno::kNetworkUnreachable);
}

// Over a link that is down leads no route, not even a cached one; and it is there again when the link is.
TEST(Routes, NotOverALinkThatIsDown) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  ASSERT_TRUE(ip.set_link_state(s.id, link::LinkState::kDown).has_value());
  EXPECT_EQ(ip.route(kPeer).error(), Errno::kNetworkUnreachable);
  EXPECT_EQ(ip.route(Ipv4Address::of(224, 0, 0, 5)).error(), Errno::kNetworkUnreachable);
  EXPECT_TRUE(ip.is_local(kUs));
  ASSERT_TRUE(ip.set_link_state(s.id, link::LinkState::kUp).has_value());
  EXPECT_TRUE(ip.route(kPeer).has_value());
  EXPECT_EQ(ip.set_link_state(7, link::LinkState::kUp).error(), Errno::kInvalid);
}

TEST(Routes, AnotherMtu) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  const auto before = ip.route(kPeer);
  ASSERT_TRUE(ip.set_mtu(s.id, 600).has_value());
  EXPECT_NE(ip.route_generation(), before->generation);
  EXPECT_EQ(ip.route(kPeer)->mtu, 600u);
  for (const std::uint32_t mtu : {0u, 67u, 65536u}) EXPECT_EQ(ip.set_mtu(s.id, mtu).error(), Errno::kInvalid) << mtu;
}

struct NeighborRow {
  const char* name;
  Ipv4Address address;
  MacAddress mac;
  ip::Ip::Known known;
  Errno want;
};

TEST(Routes, NeighborsSetByHand) {
  using Known = ip::Ip::Known;
  const MacAddress group{{1, 0, 0, 0, 0, 1}};
  const NeighborRow rows[] = {{"a new one", Ipv4Address::of(192, 0, 2, 9), kPeerMac, Known::kKeep, Errno::kOk},
                              {"one that was learned", kPeer, kPeerMac, Known::kKeep, Errno::kExist},
                              {"in its place", kPeer, kPeerMac, Known::kReplace, Errno::kOk},
                              {"at a group", kPeer, group, Known::kReplace, Errno::kInvalid},
                              {"nowhere", kPeer, {}, Known::kReplace, Errno::kInvalid},
                              {"a group", Ipv4Address::of(224, 0, 0, 9), kPeerMac, Known::kKeep, Errno::kInvalid}};
  for (const NeighborRow& row : rows) {
    IpScript s;
    s.learn_peer();
    const Status set = s.stack->ip().set_neighbor(s.id, row.address, row.mac, row.known);
    EXPECT_EQ(set ? Errno::kOk : set.error(), row.want) << row.name;
  }
}

// An entry's MTU counts where it is smaller than the interface's.
TEST(Routes, HaveAnMtuOfTheirOwn) {
  IpScript s;
  ip::Ip& ip = s.stack->ip();
  const auto add = [&](std::uint8_t third, std::uint32_t mtu) {
    return ip.add_route({{Ipv4Address::of(10, 0, third, 0), 24}, kPeer, s.id, 0, mtu});
  };
  ASSERT_TRUE(add(1, 1400).has_value());
  ASSERT_TRUE(add(2, 9000).has_value());
  ASSERT_TRUE(add(3, 0).has_value());
  EXPECT_EQ(add(4, 67).error(), Errno::kInvalid);
  struct Row {
    std::uint8_t third;
    std::uint32_t mtu;
    bool own;
  };
  for (const Row& r : {Row{1, 1400, true}, Row{2, 1500, true}, Row{3, 1500, false}}) {
    const auto route = ip.route(Ipv4Address::of(10, 0, r.third, 1));
    ASSERT_TRUE(route.has_value());
    EXPECT_EQ(route->mtu, r.mtu);
    EXPECT_EQ(route->link_mtu, r.mtu);
    EXPECT_EQ(route->own_mtu, r.own);
  }
  ip.accept_path_mtu(Ipv4Address::of(10, 0, 1, 1), 1300);
  EXPECT_EQ(ip.route(Ipv4Address::of(10, 0, 1, 1))->mtu, 1300u);
  EXPECT_EQ(ip.route(Ipv4Address::of(10, 0, 1, 1))->link_mtu, 1400u);
}

// Identification numbers to one host say nothing about those to another, and do not count by one (RFC6274-01, S24).
TEST(Routes, IdentificationIsNotACounter) {
  Context context(Rng::seed_from(3));
  ip::Identification ids(context);
  int small_steps = 0;
  std::uint16_t before = ids.next(kUs, Ipv4Address{1}, 17);
  for (std::uint32_t i = 2; i < 1000; ++i) {
    const std::uint16_t id = ids.next(kUs, Ipv4Address{i}, 17);
    small_steps += static_cast<std::uint16_t>(id - before) < 8 ? 1 : 0;
    before = id;
  }
  EXPECT_LT(small_steps, 10);
}

}  // namespace
}  // namespace sluice::test
