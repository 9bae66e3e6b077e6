// The simulated link itself, without TCP: rate, delay, queue, marks, faults, and when each packet arrives.
#include <gtest/gtest.h>

#include "drivers/sim/drop_tail.h"
#include "drivers/sim/dumbbell.h"
#include "tests/support/datagram.h"

namespace sluice::test {
namespace {

using sim::Dumbbell;
using wire::ipv4::Ecn;

constexpr Instant kStart = Instant::from_nanos(0);
constexpr std::uint64_t kPacketAMillisecond = 12'000'000;  // bit/s: 1500 bytes take 1 ms

// Takes what arrives at a port, with the time.
class Catcher {
 public:
  Catcher(sim::Scheduler& scheduler, Dumbbell::Port& port)
      : scheduler_(scheduler), port_(port), alarm_([](void* self) { static_cast<Catcher*>(self)->take(); }, this) {
    port.set_alarm(alarm_);
  }
  struct Arrival {
    Instant at;
    std::uint16_t number;  // the source port
    Ecn ecn;
    bool operator==(const Arrival&) const = default;
  };
  std::vector<Arrival> arrivals;

 private:
  void take() {
    std::array<buf::RxFrame, 8> frames;
    const std::size_t n = port_.rx(scheduler_.now(), pool_, frames);
    EXPECT_GE(n, 1u);
    for (std::size_t i = 0; i < n; ++i) {
      const Bytes bytes = frames[i].buffer.bytes();
      EXPECT_TRUE(wire::ipv4::parse(bytes).has_value());  // checksum and all
      EXPECT_EQ(frames[i].wire_length, bytes.size());
      arrivals.push_back({scheduler_.now(), load_be16(bytes.data() + 20), wire::ipv4::ecn_of(bytes)});
    }
    scheduler_.schedule(alarm_, port_.next_deadline());
  }
  sim::Scheduler& scheduler_;
  Dumbbell::Port& port_;
  buf::Pool pool_;
  Timer alarm_;
};

class Network : public testing::Test {
 protected:
  static Dumbbell::Direction direction(std::size_t queue = 1 << 20) {
    return {{kPacketAMillisecond, 0}, {}, [queue](sim::QueueObserver& observer) {
              return std::make_unique<sim::DropTail>(queue, observer);
            }};
  }
  void build(const Dumbbell::Direction& to_right, Duration round_trip, std::uint64_t seed = 1) {
    network_ = std::make_unique<Dumbbell>(scheduler_, to_right, direction(), 1500, seed);
    pair_ = &network_->add_pair(round_trip);
    right_ = std::make_unique<Catcher>(scheduler_, *pair_->right);
    left_ = std::make_unique<Catcher>(scheduler_, *pair_->left);
  }
  void send(Dumbbell::Port& port, std::uint16_t number, std::size_t size = 1500, Ecn ecn = Ecn::kNotCapable) {
    const auto bytes = datagram({.source_port = number, .size = size, .ecn = ecn});
    const buf::TxFrame frame{bytes, {}, {}};
    EXPECT_EQ(port.tx(scheduler_.now(), {&frame, 1}), 1u);
  }

  sim::Scheduler scheduler_;
  std::unique_ptr<Dumbbell> network_;
  Dumbbell::Pair* pair_ = nullptr;
  std::unique_ptr<Catcher> right_, left_;
};

TEST_F(Network, EachPacketTakesItsTimeAndTheDelay) {
  build(direction(), 40_ms);
  for (std::uint16_t i = 0; i < 3; ++i) send(*pair_->left, i);
  send(*pair_->left, 3, 750);
  send(*pair_->right, 9);
  scheduler_.run_until(kStart + 1_s);
  using A = Catcher::Arrival;
  EXPECT_EQ(right_->arrivals, (std::vector<A>{{kStart + 21_ms, 0, Ecn::kNotCapable},
                                              {kStart + 22_ms, 1, Ecn::kNotCapable},
                                              {kStart + 23_ms, 2, Ecn::kNotCapable},
                                              {kStart + 23'500_us, 3, Ecn::kNotCapable}}));
  EXPECT_EQ(left_->arrivals, (std::vector<A>{{kStart + 21_ms, 9, Ecn::kNotCapable}}));
  EXPECT_EQ(scheduler_.now(), kStart + 1_s);
}

TEST_F(Network, PairsHaveTheirOwnDelayAndShareTheRate) {
  build(direction(), 40_ms);
  Dumbbell::Pair& near = network_->add_pair(10_ms);
  Catcher catcher(scheduler_, *near.right);
  send(*pair_->left, 1);
  send(*near.left, 2);
  scheduler_.run_until(kStart + 1_s);
  ASSERT_EQ(catcher.arrivals.size(), 1u);
  EXPECT_EQ(catcher.arrivals[0].at, kStart + 7_ms);  // behind the other's packet
  ASSERT_EQ(right_->arrivals.size(), 1u);
  EXPECT_EQ(right_->arrivals[0].at, kStart + 21_ms);
  EXPECT_EQ(network_->to_right().of_pair(0).packets, 1u);
  EXPECT_EQ(network_->to_right().of_pair(1).bytes, 1500u);
}

// The queue does not hold the packet that is being sent.
TEST_F(Network, QueueDelayAndOverflow) {
  build(direction(10 * 1500), 0_ms);
  for (std::uint16_t i = 0; i < 15; ++i) send(*pair_->left, i);
  EXPECT_EQ(network_->to_right().queue().packets(), 10u);
  scheduler_.run_until(kStart + 1_s);
  EXPECT_EQ(right_->arrivals.size(), 11u);
  EXPECT_EQ(right_->arrivals.back().number, 10u);
  EXPECT_EQ(right_->arrivals.back().at, kStart + 11_ms);
  EXPECT_EQ(network_->to_right().total().dropped, 4u);
  EXPECT_EQ(network_->to_right().total().packets, 11u);
  EXPECT_EQ(network_->to_right().waits().mean(), 5_ms);  // 0, 1 ... 10 ms
  EXPECT_EQ(network_->to_right().waits().max(), 10_ms);
  EXPECT_EQ(pair_->left->lost(), 0u);  // that is what the faults take
}

// RFC 8257 §3.1: what makes the queue longer than the threshold, and understands it.
TEST_F(Network, MarksAboveTheThreshold) {
  Dumbbell::Direction way = direction();
  way.link.ecn_threshold = 3 * 1500;
  build(way, 0_ms);
  for (std::uint16_t i = 0; i < 7; ++i) send(*pair_->left, i, 1500, i == 5 ? Ecn::kNotCapable : Ecn::kCapable0);
  scheduler_.run_until(kStart + 1_s);
  ASSERT_EQ(right_->arrivals.size(), 7u);
  const Ecn want[] = {Ecn::kCapable0,   Ecn::kCapable0,   Ecn::kCapable0,  Ecn::kCapable0,
                      Ecn::kCongestion, Ecn::kNotCapable, Ecn::kCongestion};
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(right_->arrivals[i].ecn, want[i]) << i;
  EXPECT_EQ(network_->to_right().total().marked, 2u);
}

TEST_F(Network, ShareOfLossAndOfPacketsHeldBack) {
  Dumbbell::Direction way = direction(100 << 20);
  way.faults.loss = 0.1;
  way.faults.reorder = 0.05;
  way.faults.reorder_delay = 10_ms;
  build(way, 20_ms);
  constexpr std::uint16_t kPackets = 10'000;
  for (std::uint16_t i = 0; i < kPackets; ++i) send(*pair_->left, i);
  scheduler_.run_until(kStart + 20_s);
  EXPECT_NEAR(static_cast<double>(pair_->left->lost()), 1000, 100);
  EXPECT_EQ(right_->arrivals.size() + pair_->left->lost(), kPackets);
  EXPECT_EQ(network_->to_right().total().packets, kPackets);  // lost behind the queue: it has taken its time
  std::size_t late = 0;
  for (const Catcher::Arrival& a : right_->arrivals) {
    const Duration after = a.at - (kStart + 11_ms + 1_ms * a.number);
    EXPECT_TRUE(after == 0_ms || after == 10_ms) << a.number;
    late += after == 10_ms;
  }
  EXPECT_NEAR(static_cast<double>(late), 450, 70);
}

TEST_F(Network, BurstsAreAsLongAsDescribed) {
  Dumbbell::Direction way = direction(100 << 20);
  way.faults.burst_enter = 0.01;
  way.faults.burst_leave = 0.2;
  build(way, 0_ms);
  for (std::uint16_t i = 0; i < 20'000; ++i) send(*pair_->left, i);
  scheduler_.run_until(kStart + 60_s);
  std::size_t bursts = 0;
  for (std::size_t i = 1; i < right_->arrivals.size(); ++i)
    bursts += right_->arrivals[i].number != right_->arrivals[i - 1].number + 1;
  // 1 % of the packets in the good state begin one, which lasts 5 packets on average.
  EXPECT_NEAR(static_cast<double>(bursts), 190, 40);
  EXPECT_NEAR(static_cast<double>(pair_->left->lost()) / static_cast<double>(bursts), 5, 1);
}

TEST_F(Network, JitterKeepsTheOrder) {
  Dumbbell::Direction way = direction(100 << 20);
  way.faults.jitter = 5_ms;
  build(way, 0_ms);
  for (std::uint16_t i = 0; i < 1000; ++i) send(*pair_->left, i);
  scheduler_.run_until(kStart + 5_s);
  ASSERT_EQ(right_->arrivals.size(), 1000u);
  bool moved = false;
  for (std::uint16_t i = 0; i < 1000; ++i) {
    const Duration added = right_->arrivals[i].at - (kStart + 1_ms * (i + 1));
    EXPECT_EQ(right_->arrivals[i].number, i);
    EXPECT_GE(added, 0_ms);
    EXPECT_LE(added, 5_ms);
    moved |= added > 1_ms;
  }
  EXPECT_TRUE(moved);
}

TEST_F(Network, AFilterTakesPacketsBeforeTheQueue) {
  build(direction(), 0_ms);
  pair_->left->set_filter([](Bytes packet) { return load_be16(packet.data() + 20) == 1; });
  for (std::uint16_t i = 0; i < 3; ++i) send(*pair_->left, i);
  scheduler_.run_until(kStart + 1_s);
  ASSERT_EQ(right_->arrivals.size(), 2u);
  EXPECT_EQ(right_->arrivals[1].at, kStart + 2_ms);
  EXPECT_EQ(pair_->left->lost(), 1u);
}

}  // namespace
}  // namespace sluice::test
