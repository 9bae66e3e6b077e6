// No allocation for a segment or a datagram in steady state: after a warm-up, in which queues and pools get their size,
// data flows through both stacks without a single call of operator new.
#include "tests/scale/heap_count.h"
#include "tests/scale/two_stacks.h"

namespace sluice::scale_test {
namespace {

class Allocation : public TwoStacks {
 protected:
  // Buffers of one size: a buffer that grows takes memory, and has found its size only after a while.
  Pair connected_with_fixed_buffers() {
    const Pair pair = connected(server_.listen(kPort));
    for (const auto option : {socket::Option::kSendBuffer, socket::Option::kReceiveBuffer}) {
      EXPECT_TRUE(client_.sockets().set_option(pair.client, option, 256 << 10));
      EXPECT_TRUE(server_.sockets().set_option(pair.server, option, 256 << 10));
    }
    return pair;
  }
  // Sends `bytes` on one socket and reads them from another.
  void transfer(Side& from, socket::Handle out, Side& to, socket::Handle in, std::size_t bytes) {
    std::size_t sent = 0, received = 0;
    while (received < bytes) {
      if (sent < bytes) sent += from.send(out, Bytes(data_).first(std::min(data_.size(), bytes - sent)));
      step();
      received += to.receive(in, room_);
    }
    EXPECT_EQ(received, bytes);
  }
  // Both ends a round, and to the next timer when neither has anything to do.
  void step() {
    const bool client_busy = client_.stack->poll(now_);
    const bool server_busy = server_.stack->poll(now_);
    const Instant next = std::min(client_.stack->next_deadline(), server_.stack->next_deadline());
    if (!client_busy && !server_busy && next > now_) now_ = std::min(next, now_ + 1_ms);
  }

  template <typename Work>
  std::size_t allocations_of(Work&& work) {
    const std::size_t before = heap_count().allocations;
    work();
    return heap_count().allocations - before;
  }

  std::array<std::uint8_t, 65536> data_{};
  std::array<std::uint8_t, 65536> room_{};
};

constexpr std::size_t kMiB = 1 << 20;

TEST_F(Allocation, ThisExecutableCountsThem) {
  EXPECT_GE(allocations_of([] { delete new Rng(Rng::seed_from(1)); }), 1u);
}

TEST_F(Allocation, NoneForBulkDataInEitherDirection) {
  const Pair pair = connected_with_fixed_buffers();
  const auto both_ways = [&](std::size_t bytes) {
    transfer(client_, pair.client, server_, pair.server, bytes);
    transfer(server_, pair.server, client_, pair.client, bytes);
  };
  both_ways(8 * kMiB);
  EXPECT_EQ(allocations_of([&] { both_ways(8 * kMiB); }), 0u);
}

TEST_F(Allocation, NoneForBulkDataInBothDirectionsAtOnce) {
  const Pair pair = connected_with_fixed_buffers();
  const auto exchange = [&](std::size_t bytes) {
    std::size_t to_server = 0, to_client = 0;
    while (to_server < bytes || to_client < bytes) {
      if (to_server < bytes) (void)client_.send(pair.client, data_);
      if (to_client < bytes) (void)server_.send(pair.server, data_);
      step();
      to_server += server_.receive(pair.server, room_);
      to_client += client_.receive(pair.client, room_);
    }
  };
  exchange(8 * kMiB);
  EXPECT_EQ(allocations_of([&] { exchange(8 * kMiB); }), 0u);
}

TEST_F(Allocation, NoneForRequestAndResponse) {
  const socket::Handle listener = server_.listen(kPort);
  std::vector<Pair> pairs;
  for (int i = 0; i < 32; ++i) pairs.push_back(connected(listener));
  const auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i) {
      for (const Pair& pair : pairs) EXPECT_EQ(client_.send(pair.client, Bytes(data_).first(100)), 100u);
      settle();
      for (const Pair& pair : pairs) {
        EXPECT_EQ(server_.receive(pair.server, room_), 100u);
        EXPECT_EQ(server_.send(pair.server, Bytes(data_).first(1000)), 1000u);
      }
      settle();
      for (const Pair& pair : pairs) EXPECT_EQ(client_.receive(pair.client, room_), 1000u);
      pass(1_ms);
    }
  };
  rounds(20);
  EXPECT_EQ(allocations_of([&] { rounds(100); }), 0u);
}

TEST_F(Allocation, NoneForAnEchoOfDatagrams) {
  const socket::Handle client = client_.open(socket::Type::kDatagram);
  const socket::Handle server = server_.open(socket::Type::kDatagram);
  const ip::Endpoint service{server_.address, 7};
  ASSERT_TRUE(server_.sockets().bind(server, service));
  const auto rounds = [&](int n, int at_once) {
    for (int i = 0; i < n; ++i) {
      for (int k = 0; k < at_once; ++k) EXPECT_EQ(client_.send(client, Bytes(data_).first(64), &service), 64u);
      settle();
      for (int k = 0; k < at_once; ++k) {
        ip::Endpoint from;
        EXPECT_EQ(server_.receive(server, room_, &from), 64u);
        EXPECT_EQ(server_.send(server, Bytes(room_).first(64), &from), 64u);
      }
      settle();
      for (int k = 0; k < at_once; ++k) EXPECT_EQ(client_.receive(client, room_), 64u);
    }
  };
  for (const int at_once : {1, 32}) {
    SCOPED_TRACE(at_once);
    rounds(10, at_once);
    EXPECT_EQ(allocations_of([&] { rounds(100, at_once); }), 0u);
  }
}

TEST_F(Allocation, NoneForADatagramThatIsCut) {
  const socket::Handle client = client_.open(socket::Type::kDatagram);
  const socket::Handle server = server_.open(socket::Type::kDatagram);
  const ip::Endpoint service{server_.address, 7};
  ASSERT_TRUE(server_.sockets().bind(server, service));
  ASSERT_TRUE(client_.sockets().set_option(client, socket::Option::kUdpSegment, 100));
  const std::array<Bytes, 3> pieces{Bytes(data_).first(250), Bytes(data_).first(600), Bytes(data_).first(150)};
  const auto rounds = [&](int n) {
    for (int i = 0; i < n; ++i) {
      EXPECT_EQ(client_.sockets().send(client, pieces, &service, {}).value_or(0), 1000u);
      settle();
      for (int k = 0; k < 10; ++k) EXPECT_EQ(server_.receive(server, room_), 100u);
    }
  };
  rounds(10);
  EXPECT_EQ(allocations_of([&] { rounds(100); }), 0u);
}

}  // namespace
}  // namespace sluice::scale_test
