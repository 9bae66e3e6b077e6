// The rules of raw sockets one by one, by packet scripts: what they take, what they send, and what they are told.
#include <gtest/gtest.h>

#include <optional>

#include "stack/base/byte_order.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

using socket::Handle;
using socket::Option;

constexpr std::uint8_t kProtocol = 89;
constexpr Ipv4Address kSecond = Ipv4Address::of(192, 0, 2, 20);
constexpr Ipv4Address kOther = Ipv4Address::of(192, 0, 2, 9);
constexpr Ipv4Address kBroadcast = Ipv4Address::of(192, 0, 2, 255);
constexpr Ipv4Address kGroup = Ipv4Address::of(239, 1, 2, 3);

class RawRules : public testing::Test, protected IpScript {
 protected:
  RawRules() {
    EXPECT_TRUE(stack->ip().add_address(id, {kSecond, 24}).has_value());
    learn_peer();
    raw_ = open(kProtocol);
  }
  socket::Sockets& sockets() { return stack->sockets(); }
  Handle open(std::uint8_t protocol) { return sockets().open(ip::Family::kV4, socket::Type::kRaw, protocol).value(); }
  void set(Option option, std::int64_t value) { ASSERT_TRUE(sockets().set_option(raw_, option, value).has_value()); }
  Result<std::size_t> send(Ipv4Address to, std::size_t size = 20, const ip::Choices& choices = {}) {
    const Octets data(size, 'r');
    const Bytes piece(data);
    const ip::Endpoint destination{to, 0};
    const auto sent = sockets().send(raw_, std::span(&piece, 1), &destination, {.choices = &choices});
    run();
    return sent;
  }
  // The last packet of our protocol that went to the device.
  std::optional<wire::ipv4::Header> last_sent() {
    std::optional<wire::ipv4::Header> found;
    for (const Octets& frame : device.sent) {
      const auto p = wire::ipv4::parse(Bytes(frame).subspan(14));
      if (p && p->header.protocol == kProtocol) found = p->header;
    }
    device.sent.clear();
    return found;
  }
  void arrive(Ipv4Address from, Ipv4Address to, std::uint8_t protocol = kProtocol, const Octets& l4 = Octets(20, 'a')) {
    const MacAddress mac = to.is_multicast() ? wire::multicast_mac(to) : kOurMac;
    Octets frame = packet(protocol, l4, nullptr, mac);
    wire::ipv4::emit(MutableBytes(frame).subspan(14), {.total_length = static_cast<std::uint16_t>(20 + l4.size()),
                                                       .ttl = 64,
                                                       .protocol = protocol,
                                                       .source = from,
                                                       .destination = to});
    rx(frame);
  }
  bool receives() {
    Octets room(2000);
    const MutableBytes piece(room);
    return sockets().receive(raw_, std::span(&piece, 1)).has_value();
  }
  Errno receive_error() {
    Octets room(2000);
    const MutableBytes piece(room);
    const auto got = sockets().receive(raw_, std::span(&piece, 1));
    return got ? Errno::kOk : got.error();
  }
  // About a packet of ours from `from` to `to`.
  void error(std::uint8_t type, std::uint8_t code, Ipv4Address to = kPeer, Ipv4Address from = kUs) {
    Octets quoted(20 + 8);
    wire::ipv4::emit(quoted, {.total_length = 28, .ttl = 9, .protocol = kProtocol, .source = from, .destination = to});
    Octets l4(8 + quoted.size());
    std::copy(quoted.begin(), quoted.end(), l4.begin() + 8);
    wire::icmp::emit(l4, {type, code, 0, quoted});
    rx(packet(1, l4));
  }
  void connect(Ipv4Address to) { ASSERT_TRUE(sockets().connect(raw_, {to, 0}).has_value()); }
  void bind(Ipv4Address to) { ASSERT_TRUE(sockets().bind(raw_, {to, 0}).has_value()); }

  Handle raw_ = -1;
};

// --- what it takes ---------------------------------------------------------------------------------------------------

TEST_F(RawRules, BoundToAnAddress) {
  bind(kSecond);
  arrive(kPeer, kUs);
  EXPECT_FALSE(receives());
  arrive(kPeer, kSecond);
  EXPECT_TRUE(receives());
  EXPECT_EQ(sockets().bind(raw_, {kPeer, 0}).error(), Errno::kAddressNotAvailable);
  bind(kBroadcast);
  bind(kGroup);
  bind(Ipv4Address::any());
}

TEST_F(RawRules, Connected) {
  connect(kPeer);
  EXPECT_EQ(sockets().local_name(raw_)->address, ip::Address(kUs));
  arrive(kOther, kUs);
  EXPECT_FALSE(receives());
  arrive(kPeer, kUs);
  EXPECT_TRUE(receives());
  ASSERT_TRUE(sockets().disconnect(raw_).has_value());
  arrive(kOther, kUs);
  EXPECT_TRUE(receives());
}

TEST_F(RawRules, Groups) {
  ASSERT_TRUE(stack->ip().join_group(id, kGroup).has_value());  // somebody else has joined
  arrive(kPeer, kGroup);
  EXPECT_TRUE(receives());
  set(Option::kIpMulticastAll, 0);
  arrive(kPeer, kGroup);
  EXPECT_FALSE(receives());
  arrive(kPeer, kUs);
  EXPECT_TRUE(receives());
  ASSERT_TRUE(sockets().join_group(raw_, {kGroup, id}).has_value());
  arrive(kPeer, kGroup);
  EXPECT_TRUE(receives());
  ASSERT_TRUE(sockets().leave_group(raw_, {kGroup, id}).has_value());
  arrive(kPeer, kGroup);
  EXPECT_FALSE(receives());
}

TEST_F(RawRules, OnlyTypesBelow32AreFiltered) {
  raw_ = open(1);
  set(Option::kIcmpFilter, 0xffffffff);
  const auto message = [](std::uint8_t type) {
    Octets l4(16);
    wire::icmp::emit(l4, {type, 0, 0, Bytes(l4).subspan(8)});
    return l4;
  };
  arrive(kPeer, kUs, 1, message(13));
  EXPECT_FALSE(receives());
  arrive(kPeer, kUs, 1, message(40));
  EXPECT_TRUE(receives());
  raw_ = open(kProtocol);
  EXPECT_EQ(sockets().set_option(raw_, Option::kIcmpFilter, 1).error(), Errno::kNotSupported);
  EXPECT_EQ(sockets().get_option(raw_, Option::kIcmpFilter).error(), Errno::kNotSupported);
}

TEST_F(RawRules, RoomComesBackWithReading) {
  set(Option::kReceiveBuffer, 4096);
  for (int i = 0; i < 50; ++i) {
    arrive(kPeer, kUs, kProtocol, Octets(1000, 'x'));
    EXPECT_TRUE(receives());
  }
  EXPECT_EQ(dropped(Drop::kRawQueueFull), 0u);
  for (int i = 0; i < 20; ++i) arrive(kPeer, kUs, kProtocol, Octets(1000, 'x'));
  EXPECT_TRUE(device.sent.empty());  // what has no room was wanted all the same: nobody is told "unreachable"
}

TEST_F(RawRules, PartsOfAPacket) {
  EXPECT_FALSE(socket::any(sockets().ready(raw_) & socket::Ready::kIn));
  arrive(kPeer, kUs);
  EXPECT_TRUE(socket::any(sockets().ready(raw_) & socket::Ready::kIn));
  EXPECT_EQ(sockets().readable_bytes(raw_).value(), 40u);
  Octets room(30);
  const MutableBytes piece(room);
  const auto peeked = sockets().receive(raw_, std::span(&piece, 1), {.peek = true});
  EXPECT_EQ(peeked->size, 30u);
  EXPECT_TRUE(peeked->truncated);
  EXPECT_EQ(peeked->at, now);
  EXPECT_EQ(peeked->destination.address, ip::Address(kUs));
  EXPECT_EQ(sockets().receive(raw_, std::span(&piece, 1), {.trunc = true})->size, 40u);
  EXPECT_EQ(sockets().readable_bytes(raw_).value(), 0u);
}

TEST_F(RawRules, NewsIsTold) {
  struct Observer : socket::ReadyObserver {
    void on_ready(Handle) override { ++times; }
    int times = 0;
  } observer;
  ASSERT_TRUE(sockets().set_observer(raw_, &observer).has_value());
  arrive(kPeer, kUs);
  EXPECT_EQ(observer.times, 1);
  set(Option::kIpReceiveErrors, 1);
  error(3, 2);
  EXPECT_EQ(observer.times, 2);
  ASSERT_TRUE(sockets().set_observer(raw_, nullptr).has_value());
}

// --- what it sends ---------------------------------------------------------------------------------------------------

TEST_F(RawRules, FromTheAddressItIsBoundTo) {
  bind(kSecond);
  ASSERT_TRUE(send(kPeer).has_value());
  EXPECT_EQ(last_sent()->source, kSecond);
  ASSERT_TRUE(send(kPeer, 20, {.source = kUs}).has_value());
  EXPECT_EQ(last_sent()->source, kUs);
  bind(kBroadcast);  // which is no source
  ASSERT_TRUE(send(kPeer).has_value());
  EXPECT_EQ(last_sent()->source, kUs);
}

TEST_F(RawRules, HeaderFields) {
  set(Option::kIpTos, 0x20);
  ASSERT_TRUE(send(kPeer).has_value());
  const auto usual = last_sent();
  EXPECT_EQ(usual->tos, 0x20);
  EXPECT_EQ(usual->ttl, 64);
  ASSERT_TRUE(send(kPeer, 20, {.ttl = 9, .tos = 0x10}).has_value());
  const auto chosen = last_sent();
  EXPECT_EQ(chosen->tos, 0x10);
  EXPECT_EQ(chosen->ttl, 9);
  set(Option::kIpTtl, 5);
  set(Option::kIpTtl, -1);  // the default again
  ASSERT_TRUE(send(kPeer).has_value());
  EXPECT_EQ(last_sent()->ttl, 64);
}

TEST_F(RawRules, ToAGroup) {
  set(Option::kIpMulticastInterface, id);
  ASSERT_TRUE(sockets().join_group(raw_, {kGroup, id}).has_value());
  device.sent.clear();
  set(Option::kIpTtl, 33);  // of unicasts
  ASSERT_TRUE(send(kGroup).has_value());
  EXPECT_EQ(last_sent()->ttl, 1);
  EXPECT_TRUE(receives());
  set(Option::kIpMulticastTtl, 7);
  set(Option::kIpMulticastLoop, 0);
  ASSERT_TRUE(send(kGroup).has_value());
  EXPECT_EQ(last_sent()->ttl, 7);
  EXPECT_FALSE(receives());
  set(Option::kIpMulticastInterface, ip::kLoopback);
  ASSERT_TRUE(send(kGroup).has_value());
  EXPECT_FALSE(last_sent().has_value());
  ASSERT_TRUE(send(kGroup, 20, {.interface = id}).has_value());
  EXPECT_TRUE(last_sent().has_value());
  set(Option::kIpMulticastTtl, -1);
  EXPECT_EQ(sockets().get_option(raw_, Option::kIpMulticastTtl).value(), 1);
}

TEST_F(RawRules, WhatCannotBeSent) {
  const Octets data(65'536, 'r');
  const Bytes piece(data), one = piece.first(1);
  EXPECT_EQ(sockets().send(raw_, std::span(&one, 1), nullptr, {}).error(), Errno::kDestinationRequired);
  EXPECT_EQ(send(kPeer, data.size()).error(), Errno::kMessageSize);
  EXPECT_EQ(sockets().peer_name(raw_).error(), Errno::kNotConnected);
  connect(kPeer);
  EXPECT_EQ(sockets().peer_name(raw_).error(), Errno::kNotConnected);  // without a port, as on Linux
}

TEST_F(RawRules, ToNoAddressIsThisHost) {
  ASSERT_TRUE(send(Ipv4Address::any()).has_value());
  EXPECT_TRUE(receives());
  bind(kSecond);  // which it then means
  ASSERT_TRUE(send(Ipv4Address::any()).has_value());
  EXPECT_TRUE(receives());
  EXPECT_FALSE(last_sent().has_value());
}

TEST_F(RawRules, ToABroadcastOnlyWhenAllowed) {
  EXPECT_EQ(send(kBroadcast).error(), Errno::kAccess);
  set(Option::kBroadcast, 1);
  ASSERT_TRUE(send(kBroadcast).has_value());
  EXPECT_EQ(last_sent()->destination, kBroadcast);
}

TEST_F(RawRules, WhatMayNotBeCut) {
  ASSERT_TRUE(send(kPeer, 1481).has_value());
  EXPECT_EQ(device.sent.size(), 2u);
  set(Option::kIpMtuDiscover, 2);
  EXPECT_EQ(send(kPeer, 1481).error(), Errno::kMessageSize);
  EXPECT_EQ(sockets().take_error(raw_).error(), Errno::kAgain);
  set(Option::kIpReceiveErrors, 1);
  EXPECT_EQ(send(kPeer, 1481).error(), Errno::kMessageSize);
  const auto kept = sockets().take_error(raw_);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->origin, socket::ReceivedError::Origin::kLocal);
  EXPECT_EQ(kept->mtu, 1500u);
  EXPECT_EQ(kept->destination.address, ip::Address(kPeer));
}

TEST_F(RawRules, AHeaderOfItsOwnStays) {
  raw_ = open(255);
  Octets bytes(40, 0x77);
  wire::ipv4::emit(bytes, {.total_length = 40,
                           .identification = 0x1234,
                           .ttl = 3,
                           .protocol = kProtocol,
                           .source = kOther,
                           .destination = kPeer});
  const ip::Endpoint to{kPeer, 0};
  const Bytes piece(bytes);
  ASSERT_TRUE(sockets().send(raw_, std::span(&piece, 1), &to, {}).has_value());
  const auto sent = last_sent();
  EXPECT_EQ(sent->source, kOther);  // as it is, though it is not ours
  EXPECT_EQ(sent->identification, 0x1234);
  bytes[0] = 0x4b;  // a header of 44 bytes
  EXPECT_EQ(sockets().send(raw_, std::span(&piece, 1), &to, {}).error(), Errno::kInvalid);
  bytes[0] = 0x44;  // of 16
  EXPECT_EQ(sockets().send(raw_, std::span(&piece, 1), &to, {}).error(), Errno::kInvalid);
}

// --- what it is told -------------------------------------------------------------------------------------------------

TEST_F(RawRules, ErrorsAreForWhoIsConnected) {
  error(3, 2);
  EXPECT_EQ(receive_error(), Errno::kAgain);
  connect(kPeer);
  error(3, 2, kOther);
  EXPECT_EQ(receive_error(), Errno::kAgain);
  error(3, 2, kPeer, kSecond);  // about what another has sent
  EXPECT_EQ(receive_error(), Errno::kAgain);
  error(11, 0);
  EXPECT_EQ(receive_error(), Errno::kAgain);
  error(3, 2);
  EXPECT_TRUE(socket::any(sockets().ready(raw_) & socket::Ready::kError));
  EXPECT_EQ(receive_error(), Errno::kNoProtocolOption);
  EXPECT_EQ(receive_error(), Errno::kAgain);  // once
  error(3, 2);
  EXPECT_EQ(send(kPeer).error(), Errno::kNoProtocolOption);
  EXPECT_TRUE(send(kPeer).has_value());
  error(3, 2);
  EXPECT_NE(sockets().get_option(raw_, Option::kError).value(), 0);
  EXPECT_EQ(sockets().get_option(raw_, Option::kError).value(), 0);
}

TEST_F(RawRules, KeptErrors) {
  set(Option::kIpReceiveErrors, 1);
  error(11, 0);
  set(Option::kIpReceiveErrors, 1);  // keeps what there is
  EXPECT_EQ(sockets().get_option(raw_, Option::kIpReceiveErrors).value(), 1);
  EXPECT_NE(sockets().get_option(raw_, Option::kError).value(), 0);
  EXPECT_TRUE(socket::any(sockets().ready(raw_) & socket::Ready::kError));
  EXPECT_TRUE(sockets().take_error(raw_).has_value());
  error(11, 0);
  set(Option::kIpReceiveErrors, 0);
  EXPECT_EQ(sockets().take_error(raw_).error(), Errno::kAgain);
}

// --- options ---------------------------------------------------------------------------------------------------------

TEST_F(RawRules, OptionsHaveTheirRange) {
  struct Row {
    Option option;
    std::int64_t value;
    std::optional<std::int64_t> reads;  // none: refused
  };
  const Row rows[] = {
      {Option::kIpTtl, 0, {}},
      {Option::kIpTtl, -2, {}},
      {Option::kIpTtl, 256, {}},
      {Option::kIpTtl, 255, 255},
      {Option::kIpTtl, -1, 64},
      {Option::kIpTos, 256, {}},
      {Option::kIpTos, -1, {}},
      {Option::kIpTos, 0x14, 0x14},
      {Option::kIpMulticastTtl, 256, {}},
      {Option::kIpMulticastTtl, -2, {}},
      {Option::kIpMulticastTtl, 0, 0},
      {Option::kIpMulticastAll, 2, {}},
      {Option::kIpMulticastAll, 0, 0},
      {Option::kIpMulticastLoop, 0, 0},
      {Option::kIpMulticastLoop, 5, 1},
      {Option::kIpMulticastInterface, 1, 1},
      {Option::kIpMtuDiscover, 1, 1},
      {Option::kIpMtuDiscover, 0, 0},
      {Option::kBroadcast, 1, 1},
      {Option::kIpHeaderIncluded, 1, 1},
      {Option::kReceiveBuffer, 1, 2304},
      {Option::kReceiveBuffer, 10'000, 10'000},
      {Option::kReceiveBuffer, 1 << 30, 64 << 20},
      {Option::kIpReceiveErrors, 1, 1},
      {Option::kTcpNoDelay, 1, {}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(static_cast<int>(row.option));
    SCOPED_TRACE(row.value);
    EXPECT_EQ(sockets().set_option(raw_, row.option, row.value).has_value(), row.reads.has_value());
    if (!row.reads) continue;
    EXPECT_EQ(sockets().get_option(raw_, row.option).value(), *row.reads);
  }
  EXPECT_EQ(sockets().get_option(raw_, Option::kProtocol).value(), kProtocol);
  EXPECT_EQ(sockets().get_option(raw_, Option::kAcceptConnection).value(), 0);
}

}  // namespace
}  // namespace sluice::test
