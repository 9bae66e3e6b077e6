// UDP by packet scripts: RFC 768, RFC 1122 §4.1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

constexpr Ipv4Address kSecond = Ipv4Address::of(192, 0, 2, 20);

// A UDP datagram of the peer's with a right checksum to `to`.
Octets datagram(std::uint16_t port, const Octets& data, Ipv4Address to = kUs) {
  Octets l4(8 + data.size());
  std::copy(data.begin(), data.end(), l4.begin() + 8);
  const wire::udp::Header h{1000, port, static_cast<std::uint16_t>(l4.size())};
  wire::udp::emit(l4, h, 0);
  wire::udp::emit(l4, h, wire::udp::checksum_field(wire::Checksum::pseudo_header(kPeer, to, 17, l4.size()).add(l4)));
  Octets frame = packet(17, l4);
  wire::ipv4::emit(MutableBytes(frame).subspan(14), {.total_length = static_cast<std::uint16_t>(20 + l4.size()),
                                                     .ttl = 64,
                                                     .protocol = 17,
                                                     .source = kPeer,
                                                     .destination = to});
  return frame;
}

struct UdpScript : IpScript {
  UdpScript() {
    EXPECT_TRUE(stack->ip().add_address(id, {kSecond, 24}).has_value());
    learn_peer();
  }
  socket::Handle open() { return stack->sockets().open(ip::Family::kV4, socket::Type::kDatagram).value(); }
  Status send(socket::Handle h, const ip::Endpoint& to) {
    const Octets data(5, 'x');
    const Bytes piece(data);
    const auto sent = stack->sockets().send(h, std::span(&piece, 1), &to);
    return sent ? Status() : fail(sent.error());
  }
  std::optional<socket::Received> receive(socket::Handle h) {
    Octets room(2000);
    const MutableBytes piece(room);
    const auto got = stack->sockets().receive(h, std::span(&piece, 1));
    return got ? std::optional(*got) : std::nullopt;
  }
  // The IPv4 packet sent last, with what UDP made of it.
  struct Sent {
    wire::ipv4::Header ip;
    wire::udp::Datagram udp;
  };
  Sent last_sent() {
    last = device.sent.back();
    const auto ip = wire::ipv4::parse(Bytes(last).subspan(14)).value();
    const auto udp = wire::udp::parse(ip.payload, ip.header.source, ip.header.destination,
                                      wire::ChecksumPolicy::kVerify, wire::udp::ZeroChecksum::kRefused);
    EXPECT_TRUE(udp.has_value()) << "checksum";
    return {ip.header, udp.value()};
  }
};

// (RFC1122-UDP-04, RFC1122-UDP-05): made for what is sent, also in fragments; checked where it is there: else the
// datagram vanishes, counted (RFC1122-IP-04), with no error to the sender.
TEST(UdpPort, Checksum) {
  UdpScript s;
  const auto h = s.open();
  ASSERT_TRUE(s.stack->sockets().bind(h, {Ipv4Address::any(), 99}).has_value());
  ASSERT_TRUE(s.send(h, {kPeer, 9}).has_value());
  EXPECT_EQ(s.last_sent().udp.payload.size(), 5u);
  s.device.sent.clear();
  Octets frame = datagram(99, Octets(9, 'y'));
  s.rx(frame);
  EXPECT_TRUE(s.receive(h).has_value());
  frame.back() ^= 1;
  s.rx(frame);
  EXPECT_FALSE(s.receive(h).has_value());
  EXPECT_EQ(s.dropped(Drop::kUdpChecksum), 1u);
  EXPECT_EQ(s.sent(), "");
  EXPECT_EQ(s.stack->sockets().get_option(h, socket::Option::kError).value(), 0);
  s.rx(packet(17, udp(99)));  // no checksum at all
  EXPECT_TRUE(s.receive(h).has_value());
}

// (RFC4821-09): a program that probes for itself; for a datagram as for a raw socket. Others are kept to what is known.
TEST(UdpPort, ProbesThePath) {
  for (const socket::Type type : {socket::Type::kDatagram, socket::Type::kRaw}) {
    UdpScript s;
    socket::Sockets& sockets = s.stack->sockets();
    const auto h = sockets.open(ip::Family::kV4, type, 17).value();
    EXPECT_EQ(sockets.get_option(h, socket::Option::kIpMtuDiscover).value(), 1);
    for (const std::int64_t none : {-1, 6}) {
      EXPECT_EQ(sockets.set_option(h, socket::Option::kIpMtuDiscover, none).error(), Errno::kInvalid);
    }
    s.stack->ip().accept_path_mtu(kPeer, 1000);
    const Octets data(type == socket::Type::kRaw ? 1480 : 1472);
    const Bytes piece(data);
    const ip::Endpoint to{kPeer, 9};
    for (const std::int64_t use : {2, 3}) {
      ASSERT_TRUE(sockets.set_option(h, socket::Option::kIpMtuDiscover, use).has_value());
      EXPECT_EQ(sockets.get_option(h, socket::Option::kIpMtuDiscover).value(), use);
      const auto sent = sockets.send(h, std::span(&piece, 1), &to);
      EXPECT_EQ(sent.has_value(), use == 3);
    }
    ASSERT_EQ(s.device.sent.size(), 1u);
    const auto ip = wire::ipv4::parse(Bytes(s.device.sent.front()).subspan(14)).value();
    EXPECT_EQ(ip.header.total_length, 1500);
    EXPECT_TRUE(ip.header.dont_fragment);
  }
}

// The same of datagrams that one call sends, and of what is told about one that was too large.
TEST(UdpPort, ProbesThePathWithSegments) {
  for (const std::int64_t use : {2, 3}) {
    UdpScript s;
    socket::Sockets& sockets = s.stack->sockets();
    const auto h = s.open();
    s.stack->ip().accept_path_mtu(kPeer, 1000);
    ASSERT_TRUE(sockets.set_option(h, socket::Option::kIpMtuDiscover, use).has_value());
    ASSERT_TRUE(sockets.set_option(h, socket::Option::kIpReceiveErrors, 1).has_value());
    const Octets data(2800);
    const Bytes piece(data);
    const ip::Endpoint to{kPeer, 9};
    EXPECT_EQ(sockets.send(h, std::span(&piece, 1), &to).error(), Errno::kMessageSize);
    EXPECT_EQ(sockets.take_error(h)->mtu, use == 3 ? 1500u : 1000u);
    ASSERT_TRUE(sockets.set_option(h, socket::Option::kUdpSegment, 1400).has_value());
    EXPECT_EQ(sockets.send(h, std::span(&piece, 1), &to).has_value(), use == 3);
    EXPECT_EQ(s.device.sent.size(), use == 3 ? 2u : 0u);
  }
}

// (RFC768-05): receive ports that one asks for; data with its source; sending with all addresses.
TEST(UdpPort, Interface) {
  UdpScript s;
  const auto a = s.open();
  const auto b = s.open();
  ASSERT_TRUE(s.stack->sockets().bind(a, {Ipv4Address::any(), 99}).has_value());
  ASSERT_TRUE(s.stack->sockets().bind(b, {kSecond, 98}).has_value());
  EXPECT_EQ(s.stack->sockets().bind(s.open(), {Ipv4Address::any(), 99}).error(), Errno::kAddressInUse);
  s.rx(datagram(99, Octets(3)));
  s.rx(datagram(98, Octets(4), kSecond));
  const auto got = s.receive(a);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->size, 3u);
  EXPECT_EQ(got->source, (ip::Endpoint{kPeer, 1000}));
  EXPECT_EQ(got->destination, (ip::Endpoint{kUs, 99}));
  EXPECT_FALSE(s.receive(a).has_value());
  EXPECT_EQ(s.receive(b)->size, 4u);
  s.rx(datagram(98, Octets(4), kUs));  // the port is open on the other address only
  EXPECT_FALSE(s.receive(b).has_value());
  ASSERT_TRUE(s.send(b, {kPeer, 7}).has_value());
  const auto sent = s.last_sent();
  EXPECT_EQ(sent.ip.source, kSecond);
  EXPECT_EQ(sent.ip.destination, kPeer);
  EXPECT_EQ(sent.udp.header.src_port, 98);
  EXPECT_EQ(sent.udp.header.dst_port, 7);
}

// (RFC1122-UDP-10, -13): the local address may be left open or given, as long as it is ours.
TEST(UdpPort, LocalAddress) {
  UdpScript s;
  const auto open = s.open();
  ASSERT_TRUE(s.send(open, {kPeer, 7}).has_value());
  EXPECT_EQ(s.last_sent().ip.source, kUs);
  const auto given = s.open();
  ASSERT_TRUE(s.stack->sockets().bind(given, {kSecond, 0}).has_value());
  ASSERT_TRUE(s.send(given, {kPeer, 7}).has_value());
  EXPECT_EQ(s.last_sent().ip.source, kSecond);
  const auto foreign = s.open();
  EXPECT_EQ(s.stack->sockets().bind(foreign, {Ipv4Address::of(192, 0, 2, 77), 5}).error(), Errno::kAddressNotAvailable);
  const auto all = s.open();  // a broadcast address can be received on, but is never a source
  ASSERT_TRUE(s.stack->sockets().bind(all, {Ipv4Address::of(192, 0, 2, 255), 5}).has_value());
  ASSERT_TRUE(s.send(all, {kPeer, 7}).has_value());
  EXPECT_EQ(s.last_sent().ip.source, kUs);
  ASSERT_TRUE(s.stack->ip().remove_address(s.id, kSecond).has_value());  // not ours any more
  s.device.sent.clear();
  EXPECT_EQ(s.send(given, {kPeer, 7}).error(), Errno::kAddressNotAvailable);
  EXPECT_TRUE(s.device.sent.empty());
}

// (RFC6056-05): no pattern from one to the next.
TEST(UdpPort, EphemeralPortsAreRandom) {
  UdpScript s;
  int small_steps = 0;
  int before = 0;
  for (int i = 0; i < 300; ++i) {
    const auto h = s.open();
    ASSERT_TRUE(s.stack->sockets().bind(h, {Ipv4Address::any(), 0}).has_value());
    const int port = s.stack->sockets().local_name(h)->port;
    small_steps += std::abs(port - before) < 32 ? 1 : 0;
    before = port;
  }
  EXPECT_LT(small_steps, 8);  // one is to be expected
}

}  // namespace
}  // namespace sluice::test
