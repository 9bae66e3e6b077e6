// Raw sockets, the errors that sockets keep, and datagrams cut from and joined to larger ones, by packet scripts.
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "stack/base/byte_order.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

using socket::Handle;
using socket::Option;
using socket::ReceivedError;
using socket::Type;

constexpr std::uint8_t kProtocol = 89;

struct Script : IpScript {
  Script() { learn_peer(); }
  socket::Sockets& sockets() { return stack->sockets(); }
  Handle open(Type type, std::uint8_t protocol = 0) { return sockets().open(ip::Family::kV4, type, protocol).value(); }
  Handle datagram(std::uint16_t port) {
    const Handle h = open(Type::kDatagram);
    EXPECT_TRUE(sockets().bind(h, {kUs, port}).has_value());
    return h;
  }
  Result<std::size_t> send(Handle h, const Octets& data, const ip::Endpoint& to = {kPeer, 7},
                           const ip::Choices* choices = nullptr) {
    const Bytes piece(data);
    return sockets().send(h, std::span(&piece, 1), &to, {.choices = choices});
  }
  struct Got {
    Octets bytes;
    socket::Received facts;
  };
  std::optional<Got> receive(Handle h) {
    Octets room(65536);
    const MutableBytes piece(room);
    const auto got = sockets().receive(h, std::span(&piece, 1));
    if (!got) return std::nullopt;
    room.resize(got->size);
    return Got{room, *got};
  }
  // From the peer, about the packet that was sent last.
  void error_about_last(std::uint8_t type, std::uint8_t code, std::uint32_t rest = 0) {
    const Bytes quoted = Bytes(device.sent.back()).subspan(14);
    Octets l4(8 + quoted.size());
    std::copy(quoted.begin(), quoted.end(), l4.begin() + 8);
    wire::icmp::emit(l4, {type, code, rest, quoted});
    rx(packet(1, l4, [](wire::ipv4::Header& h) { h.ttl = 77; }));
  }
  std::vector<wire::ipv4::Packet> sent_packets() {
    kept.assign(device.sent.begin(), device.sent.end());
    device.sent.clear();
    std::vector<wire::ipv4::Packet> all;
    for (const Octets& frame : kept) all.push_back(wire::ipv4::parse(Bytes(frame).subspan(14)).value());
    return all;
  }
  std::vector<Octets> kept;
};

Octets counting(std::size_t size) {
  Octets data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i % 251);
  return data;
}

// --- errors that are kept --------------------------------------------------------------------------------------------

TEST(KeptErrors, OfAPortWithoutAPeer) {
  Script s;
  const Handle h = s.datagram(5000);
  ASSERT_TRUE(s.send(h, counting(9)).has_value());
  s.error_about_last(3, 3);
  EXPECT_EQ(s.sockets().get_option(h, Option::kError).value(), 0);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kIpReceiveErrors, 1).has_value());
  struct Row {
    std::uint8_t type, code;
    std::uint32_t rest;
    Errno want;
    std::uint32_t mtu;
  };
  const Row rows[] = {{3, 3, 0, Errno::kConnectionRefused, 0},
                      {11, 0, 0, Errno::kHostUnreachable, 0},
                      {3, 4, 1300, Errno::kMessageSize, 1300},
                      {3, 13, 0, Errno::kHostUnreachable, 0}};
  for (const Row& row : rows) {
    ASSERT_TRUE(s.send(h, counting(9)).has_value());
    s.error_about_last(row.type, row.code, row.rest);
    EXPECT_TRUE(socket::any(s.sockets().ready(h) & socket::Ready::kError));
    const auto e = s.sockets().take_error(h);
    ASSERT_TRUE(e.has_value());
    EXPECT_EQ(e->origin, ReceivedError::Origin::kIcmp);
    EXPECT_EQ(e->error, row.want);
    EXPECT_EQ(e->type, row.type);
    EXPECT_EQ(e->code, row.code);
    EXPECT_EQ(e->mtu, row.mtu);
    EXPECT_EQ(e->ttl, 77);
    EXPECT_EQ(e->interface, s.id);
    EXPECT_EQ(e->reporter, ip::Address(kPeer));
    EXPECT_EQ(e->destination, (ip::Endpoint{kPeer, 7}));
    EXPECT_EQ(e->payload, counting(9));
    EXPECT_EQ(s.sockets().get_option(h, Option::kError).value(), 0);
    EXPECT_EQ(s.sockets().take_error(h).error(), Errno::kAgain);
  }
}

TEST(KeptErrors, OfADatagramThatIsTooBig) {
  Script s;
  const Handle h = s.datagram(5000);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kIpReceiveErrors, 1).has_value());
  ASSERT_TRUE(s.sockets().set_option(h, Option::kIpMtuDiscover, 2).has_value());
  EXPECT_EQ(s.send(h, counting(1473)).error(), Errno::kMessageSize);
  const auto e = s.sockets().take_error(h);
  ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->origin, ReceivedError::Origin::kLocal);
  EXPECT_EQ(e->error, Errno::kMessageSize);
  EXPECT_EQ(e->mtu, 1500u);
  EXPECT_EQ(e->destination.address, ip::Address(kPeer));
  EXPECT_EQ(s.sockets().get_option(h, Option::kIpMtu).error(), Errno::kNotConnected);
  ASSERT_TRUE(s.sockets().connect(h, {kPeer, 7}).has_value());
  EXPECT_EQ(s.sockets().get_option(h, Option::kIpMtu).value(), 1500);
}

TEST(KeptErrors, AreBounded) {
  Script s;
  const Handle h = s.datagram(5000);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kIpReceiveErrors, 1).has_value());
  for (std::size_t i = 0; i < ip::ErrorQueue::kMost + 5; ++i) {
    ASSERT_TRUE(s.send(h, counting(9)).has_value());
    s.error_about_last(3, 3);
    EXPECT_NE(s.sockets().get_option(h, Option::kError).value(), 0);
  }
  std::size_t kept = 0;
  while (s.sockets().take_error(h)) ++kept;
  EXPECT_EQ(kept, ip::ErrorQueue::kMost);
}

// --- raw sockets -----------------------------------------------------------------------------------------------------

TEST(RawSocket, TakesAWholePacketInsteadOfATransport) {
  Script s;
  s.rx(packet(kProtocol, counting(30)));
  EXPECT_EQ(s.device.sent.size(), 1u);  // protocol unreachable
  s.device.sent.clear();
  const Handle h = s.open(Type::kRaw, kProtocol);
  const Octets frame = packet(kProtocol, counting(30), [](wire::ipv4::Header& p) { p.ttl = 9, p.tos = 0x20; });
  s.rx(frame);
  EXPECT_TRUE(s.device.sent.empty());
  const auto got = s.receive(h);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, Octets(frame.begin() + 14, frame.end()));
  EXPECT_EQ(got->facts.source, (ip::Endpoint{kPeer, 0}));
  EXPECT_EQ(got->facts.interface, s.id);
  EXPECT_EQ(got->facts.ttl, 9);
  EXPECT_EQ(got->facts.tos, 0x20);
  ASSERT_TRUE(s.sockets().connect(h, {Ipv4Address::of(192, 0, 2, 9), 0}).has_value());
  s.rx(frame);  // not from its peer: nobody wants it
  EXPECT_FALSE(s.receive(h).has_value());
  EXPECT_EQ(s.dropped(Drop::kIpProtocol), 2u);
}

TEST(RawSocket, HearsBesideTheTransport) {
  Script s;
  const Handle raw = s.open(Type::kRaw, 17), udp_socket = s.datagram(5000);
  s.rx(packet(17, udp(5000)));
  EXPECT_EQ(s.receive(raw)->bytes.size(), 36u);
  EXPECT_EQ(s.receive(udp_socket)->bytes.size(), 8u);
  const Handle icmp = s.open(Type::kRaw, 1);
  ASSERT_TRUE(s.sockets().set_option(icmp, Option::kIcmpFilter, 1 << 0).has_value());
  s.rx(packet(1, echo_request()));
  EXPECT_EQ(s.device.sent.size(), 1u);  // is answered
  EXPECT_TRUE(s.receive(icmp).has_value());
  s.rx(packet(1, from_hex("0000ffff00000000")));  // a reply: filtered
  EXPECT_FALSE(s.receive(icmp).has_value());
}

TEST(RawSocket, IsBounded) {
  Script s;
  const Handle h = s.open(Type::kRaw, kProtocol);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kReceiveBuffer, 4096).has_value());
  for (int i = 0; i < 20; ++i) s.rx(packet(kProtocol, counting(1000)));
  int kept = 0;
  while (s.receive(h)) ++kept;
  EXPECT_LT(kept, 6);
  EXPECT_EQ(s.dropped(Drop::kRawQueueFull), static_cast<std::uint64_t>(20 - kept));
  s.rx(packet(kProtocol, counting(1000)));
  EXPECT_EQ(s.receive(h)->facts.dropped, static_cast<std::uint32_t>(20 - kept));
}

TEST(RawSocket, SendsWithAHeader) {
  Script s;
  const Handle h = s.open(Type::kRaw, kProtocol);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kIpTtl, 5).has_value());
  ASSERT_TRUE(s.send(h, counting(20)).has_value());
  auto sent = s.sent_packets();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.protocol, kProtocol);
  EXPECT_EQ(sent[0].header.ttl, 5);
  EXPECT_EQ(sent[0].header.source, kUs);
  EXPECT_EQ(Octets(sent[0].payload.begin(), sent[0].payload.end()), counting(20));
  ASSERT_TRUE(s.send(h, counting(3000)).has_value());
  EXPECT_EQ(s.sent_packets().size(), 3u);  // in fragments
  EXPECT_EQ(s.send(h, counting(20), {Ipv4Address::of(192, 0, 2, 255), 0}).error(), Errno::kAccess);
}

TEST(RawSocket, SendsWithTheCallersHeader) {
  Script s;
  const Handle h = s.open(Type::kRaw, 255);
  Octets bytes(40, 0x77);
  wire::ipv4::emit(bytes, {.total_length = 9999, .ttl = 3, .protocol = kProtocol, .source = {}, .destination = kPeer});
  ASSERT_TRUE(s.send(h, bytes).has_value());
  const auto sent = s.sent_packets();
  ASSERT_EQ(sent.size(), 1u);  // with a good checksum, or it would not have been parsed
  EXPECT_EQ(sent[0].header.total_length, 40);
  EXPECT_EQ(sent[0].header.source, kUs);
  EXPECT_NE(sent[0].header.identification, 0);
  EXPECT_EQ(sent[0].header.ttl, 3);
  bytes.resize(1501);
  EXPECT_EQ(s.send(h, bytes).error(), Errno::kMessageSize);
  bytes.resize(19);
  EXPECT_EQ(s.send(h, bytes).error(), Errno::kInvalid);
}

TEST(RawSocket, HearsOfErrors) {
  Script s;
  const Handle h = s.open(Type::kRaw, kProtocol), other = s.open(Type::kRaw, kProtocol + 1);
  for (const Handle each : {h, other}) {
    ASSERT_TRUE(s.sockets().set_option(each, Option::kIpReceiveErrors, 1).has_value());
  }
  ASSERT_TRUE(s.send(h, counting(20)).has_value());
  s.error_about_last(3, 2);
  const auto e = s.sockets().take_error(h);
  ASSERT_TRUE(e.has_value());
  EXPECT_EQ(e->error, Errno::kNoProtocolOption);
  EXPECT_EQ(e->payload, counting(20));
  EXPECT_FALSE(s.sockets().take_error(other).has_value());
}

// --- UDP_SEGMENT and UDP_GRO -----------------------------------------------------------------------------------------

TEST(UdpSegments, OneCallSendsMany) {
  Script s;
  const Handle h = s.datagram(5000);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kUdpSegment, 1000).has_value());
  const Octets data = counting(2500);
  const std::array<Bytes, 3> pieces{Bytes(data).first(700), Bytes(data).subspan(700, 800), Bytes(data).subspan(1500)};
  const ip::Endpoint to{kPeer, 7};
  ASSERT_EQ(s.sockets().send(h, pieces, &to, {}).value(), 2500u);
  const auto sent = s.sent_packets();
  ASSERT_EQ(sent.size(), 3u);
  Octets all;
  for (const auto& p : sent) {
    const auto d = wire::udp::parse(p.payload, p.header.source, p.header.destination, wire::ChecksumPolicy::kVerify,
                                    wire::udp::ZeroChecksum::kRefused);
    ASSERT_TRUE(d.has_value());
    all.insert(all.end(), d->payload.begin(), d->payload.end());
  }
  EXPECT_EQ(all, data);
  EXPECT_EQ(sent[0].payload.size(), 1008u);
  EXPECT_EQ(sent[2].payload.size(), 508u);

  ip::Choices choices{.segment = 100};  // for this one only
  ASSERT_TRUE(s.send(h, counting(350), to, &choices).has_value());
  EXPECT_EQ(s.sent_packets().size(), 4u);
  choices.segment = 0;
  ASSERT_TRUE(s.send(h, counting(1400), to, &choices).has_value());
  EXPECT_EQ(s.sent_packets().size(), 1u);
  choices.segment = 10;
  ASSERT_TRUE(s.send(h, counting(1280), to, &choices).has_value());
  EXPECT_EQ(s.sent_packets().size(), 128u);
  EXPECT_EQ(s.send(h, counting(1281), to, &choices).error(), Errno::kInvalid);  // too many
  choices.segment = 1473;
  EXPECT_EQ(s.send(h, counting(2000), to, &choices).error(), Errno::kInvalid);  // each too large
  ASSERT_TRUE(s.send(h, counting(1473), to, &choices).has_value());             // nothing to cut
}

TEST(UdpSegments, JoinedOnesAsOne) {
  Script s;
  const Handle h = s.datagram(5000);
  ASSERT_TRUE(s.sockets().set_option(h, Option::kUdpJoined, 1).has_value());
  s.rx(packet(17, udp(5000, 30)));
  EXPECT_EQ(s.receive(h)->facts.segment, 0);
  s.device.offload = {.checksum = buf::ChecksumState::kPartial,
                      .gso = buf::GsoType::kUdp,
                      .checksum_start = 34,
                      .checksum_offset = 6,
                      .gso_size = 100,
                      .header_length = 34};
  s.rx(packet(17, udp(5000, 350)));
  const auto got = s.receive(h);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes.size(), 350u);
  EXPECT_EQ(got->facts.segment, 100);
  EXPECT_FALSE(s.receive(h).has_value());
}

}  // namespace
}  // namespace sluice::test
