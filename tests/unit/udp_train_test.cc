// Datagrams that leave in one frame, which the device cuts.
#include <gtest/gtest.h>

#include <numeric>

#include "stack/wire/checksum.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

constexpr Ipv4Address kOther = Ipv4Address::of(192, 0, 2, 3);

struct TrainScript : IpScript {
  TrainScript() {
    device.cut_udp();
    learn_peer();
    device.left_to_do.clear();
    port = stack->sockets().open(ip::Family::kV4, socket::Type::kDatagram).value();
  }
  // A datagram of bytes that count on from the last one.
  void send(std::size_t size, Ipv4Address to = kPeer) {
    Octets data(size);
    std::iota(data.begin(), data.end(), next);
    next = static_cast<std::uint8_t>(next + size);
    const Bytes piece(data);
    const ip::Endpoint destination{to, 9};
    EXPECT_EQ(stack->sockets().send(port, std::span(&piece, 1), &destination).value_or(SIZE_MAX), size);
  }
  // Payload size of each frame, and into what it is to be cut: "15/5 5".
  std::string frames() {
    std::string text;
    for (std::size_t i = 0; i < device.sent.size(); ++i) {
      const auto ip = wire::ipv4::parse(Bytes(device.sent[i]).subspan(14)).value();
      if (ip.header.protocol != 17) continue;
      if (!text.empty()) text += ' ';
      text += std::to_string(ip.payload.size() - 8);
      if (device.left_to_do[i].gso == buf::GsoType::kUdp) text += '/' + std::to_string(device.left_to_do[i].gso_size);
    }
    return text;
  }
  socket::Handle port = -1;
  std::uint8_t next = 0;
};

struct TrainRow {
  const char* what;
  std::vector<std::size_t> sizes;
  const char* frames;
};

TEST(UdpTrain, IsOfOneSizeButForTheLast) {
  const TrainRow rows[] = {
      {"one alone", {5}, "5"},
      {"alike", {5, 5, 5}, "15/5"},
      {"a shorter one ends it", {5, 5, 3, 5, 5}, "13/5 10/5"},
      {"a longer one begins another", {5, 5, 6, 6}, "10/5 12/6"},
      {"empty ones go alone", {5, 5, 0, 5}, "10/5 0 5"},
      {"as many as Linux takes", std::vector<std::size_t>(65, 5), "320/5 5"},
      {"as much as a packet holds", std::vector<std::size_t>(45, 1472), "64768/1472 1472"},
  };
  for (const TrainRow& row : rows) {
    SCOPED_TRACE(row.what);
    TrainScript s;
    {
      const udp::Hold hold(s.stack->udp());
      for (const std::size_t size : row.sizes) s.send(size);
    }
    EXPECT_EQ(s.frames(), row.frames);
  }
}

TEST(UdpTrain, IsNotOfFragments) {
  TrainScript s;
  {
    const udp::Hold hold(s.stack->udp());
    s.send(1473), s.send(1473);
  }
  EXPECT_EQ(s.device.sent.size(), 4u);
  EXPECT_EQ(s.stack->counters().get(Counter::kFragmentsSent), 4u);
}

TEST(UdpTrain, HoldsTheBytesInTheirOrder) {
  TrainScript s;
  {
    const udp::Hold hold(s.stack->udp());
    for (int i = 0; i < 3; ++i) s.send(5);
    EXPECT_TRUE(s.device.sent.empty());
  }
  ASSERT_EQ(s.device.sent.size(), 1u);
  const Octets& frame = s.device.sent[0];
  ASSERT_EQ(frame.size(), 14u + 20 + 8 + 15);
  for (std::uint8_t i = 0; i < 15; ++i) EXPECT_EQ(frame[42u + i], i);
  EXPECT_EQ(load_be16(frame.data() + 38), 8 + 15);  // UDP length: of the whole, as Linux wants it
  const buf::Offload& o = s.device.left_to_do[0];
  EXPECT_EQ(o.checksum, buf::ChecksumState::kPartial);
  EXPECT_EQ(o.checksum_start, 34);
  EXPECT_EQ(o.checksum_offset, 6);
  EXPECT_EQ(o.header_length, 42);
  EXPECT_EQ(s.stack->counters().get(Counter::kUdpSent), 3u);
  EXPECT_EQ(s.stack->counters().get(Counter::kUdpSentTogether), 3u);
}

TEST(UdpTrain, EndsWithAnotherDestination) {
  TrainScript s;
  Octets other = known("arp-request");
  other[11] = other[27] = 3;  // its sender is 192.0.2.3 at ...:03
  other[31] = 3;
  s.rx(other);
  s.device.sent.clear();
  s.device.left_to_do.clear();
  {
    const udp::Hold hold(s.stack->udp());
    s.send(5), s.send(5), s.send(5, kOther), s.send(5);
  }
  EXPECT_EQ(s.frames(), "10/5 5 5");
}

TEST(UdpTrain, GoesAtOnceWhenNobodyHolds) {
  TrainScript s;
  s.send(5), s.send(5);
  EXPECT_EQ(s.frames(), "5 5");
}

TEST(UdpTrain, GoesWithTheLastHoldOrThePoll) {
  TrainScript s;
  const udp::Hold outer(s.stack->udp());
  {
    const udp::Hold inner(s.stack->udp());
    s.send(5), s.send(5);
  }
  EXPECT_EQ(s.frames(), "");
  s.run();
  EXPECT_EQ(s.frames(), "10/5");
}

TEST(UdpTrain, OutlivesItsSocket) {
  TrainScript s;
  {
    const udp::Hold hold(s.stack->udp());
    s.send(5), s.send(5);
    ASSERT_TRUE(s.stack->sockets().close(s.port).has_value());
  }
  EXPECT_EQ(s.frames(), "10/5");
}

// Cut by the stack, as what waits for an address is kept as it will go.
TEST(UdpTrain, WaitsForTheNextHopInPieces) {
  TrainScript s;
  {
    const udp::Hold hold(s.stack->udp());
    s.send(5, kOther), s.send(5, kOther), s.send(3, kOther);
  }
  s.device.sent.clear();
  Octets answer = known("arp-request");
  answer[11] = answer[27] = 3;
  answer[31] = 3;
  s.rx(answer);
  std::vector<std::size_t> sizes;
  std::uint8_t expected = 0;
  for (const Octets& frame : s.device.sent) {
    const auto ip = wire::ipv4::parse(Bytes(frame).subspan(14));
    if (!ip || ip->header.protocol != 17) continue;
    const auto udp = wire::udp::parse(ip->payload, ip->header.source, ip->header.destination,
                                      wire::ChecksumPolicy::kVerify, wire::udp::ZeroChecksum::kRefused);
    ASSERT_TRUE(udp.has_value()) << "checksum";
    sizes.push_back(udp->payload.size());
    for (const std::uint8_t byte : udp->payload) EXPECT_EQ(byte, expected++);
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{5, 5, 3}));
}

}  // namespace
}  // namespace sluice::test
