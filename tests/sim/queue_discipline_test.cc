// What each queue discipline keeps, drops, marks and sends next, against the numbers of its RFC; no network, no TCP.
#include <gtest/gtest.h>

#include <map>

#include "drivers/sim/codel.h"
#include "drivers/sim/drop_tail.h"
#include "drivers/sim/fq_codel.h"
#include "drivers/sim/histogram.h"
#include "tests/support/datagram.h"

namespace sluice::test {
namespace {

using sim::Packet;
using wire::ipv4::Ecn;

constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

// A UDP packet; `flow` is its source port.
Packet packet(std::uint16_t flow = 1, std::size_t size = 1500, Ecn ecn = Ecn::kNotCapable) {
  return {buf::Buffer::copy_of(datagram({.source_port = flow, .size = size, .ecn = ecn})), flow, {}};
}

// Packets that were dropped or marked, by their flow.
struct Fates final : sim::QueueObserver {
  void on_drop(const Packet& p) override { dropped.push_back(p.pair); }
  void on_mark(const Packet& p) override {
    marked.push_back(p.pair);
    EXPECT_EQ(wire::ipv4::ecn_of(p.buffer.bytes()), Ecn::kCongestion);
    EXPECT_TRUE(wire::ipv4::parse(p.buffer.bytes()).has_value());  // with a checksum that is right
  }
  std::vector<std::uint32_t> dropped, marked;
};

std::vector<std::uint32_t> drain(sim::QueueDiscipline& queue, Instant now) {
  std::vector<std::uint32_t> flows;
  while (const auto p = queue.dequeue(now)) flows.push_back(p->pair);
  return flows;
}

using Flows = std::vector<std::uint32_t>;

TEST(DropTail, KeepsWhatFitsInOrder) {
  Fates fates;
  sim::DropTail queue(3000, fates);
  queue.enqueue(kStart, packet(1, 1500));
  queue.enqueue(kStart, packet(2, 1000));
  queue.enqueue(kStart, packet(3, 501));
  queue.enqueue(kStart, packet(4, 500));
  EXPECT_EQ(fates.dropped, Flows{3});
  EXPECT_EQ(queue.bytes(), 3000u);
  EXPECT_EQ(queue.packets(), 3u);
  EXPECT_EQ(drain(queue, kStart), (Flows{1, 2, 4}));
  EXPECT_EQ(queue.bytes(), 0u);
}

// RFC 8289 §5.2: the interval over the square root of the count.
TEST(Codel, ControlLaw) {
  const std::map<std::uint32_t, Duration> rows = {
      {1, 100_ms}, {2, 70'710'678_ns}, {3, 57'735'026_ns}, {4, 50_ms}, {100, 10_ms}};
  for (const auto& [count, want] : rows) {
    EXPECT_EQ(sim::Codel::next_drop(kStart, 100_ms, count) - kStart, want) << count;
  }
}

// A packet a millisecond comes and goes, each after the same wait; when drops or marks happened, ms since the first.
class SteadyQueue {
 public:
  SteadyQueue(Duration wait, Ecn ecn, std::size_t size = 1500) : ecn_(ecn), size_(size), now_(kStart) {
    for (; now_ < kStart + wait; now_ = now_ + 1_ms) queue_.enqueue(now_, packet(1, size_, ecn_));
    began_ = now_;
  }
  void run(Duration time) {
    for (const Instant end = now_ + time; now_ < end; now_ = now_ + 1_ms) {
      const std::size_t before = fates_.dropped.size() + fates_.marked.size();
      queue_.enqueue(now_, packet(1, size_, ecn_));
      const auto sent = queue_.dequeue(now_);
      for (std::size_t n = before; n < fates_.dropped.size() + fates_.marked.size(); ++n) {
        times_.push_back((now_ - began_).to_millis());
        queue_.enqueue(now_, packet(1, size_, ecn_));  // keeps the length, and roughly the wait
      }
    }
  }
  void empty() { (void)drain(queue_, now_); }
  void refill(Duration wait) {
    for (const Instant end = now_ + wait; now_ < end; now_ = now_ + 1_ms) queue_.enqueue(now_, packet(1, size_, ecn_));
  }
  [[nodiscard]] const std::vector<std::int64_t>& times() const { return times_; }
  [[nodiscard]] const Fates& fates() const { return fates_; }

 private:
  Ecn ecn_;
  std::size_t size_;
  Fates fates_;
  sim::CodelQueue queue_{1 << 20, {}, fates_};
  Instant now_, began_;
  std::vector<std::int64_t> times_;
};

// RFC 8289 §5: the first drop when the wait has been too long for an interval, then 100, 70.7, 57.7, 50, 44.7 ms later.
TEST(Codel, DropsFasterWhileTheWaitIsLong) {
  SteadyQueue queue(20_ms, Ecn::kNotCapable);
  queue.run(450_ms);
  EXPECT_EQ(queue.times(), (std::vector<std::int64_t>{100, 200, 271, 329, 379, 424}));
  EXPECT_EQ(queue.fates().dropped.size(), 6u);
  EXPECT_TRUE(queue.fates().marked.empty());
}

TEST(Codel, MarksInsteadWhereTheSenderUnderstands) {
  for (const Ecn ecn : {Ecn::kCapable0, Ecn::kCapable1}) {
    SteadyQueue queue(20_ms, ecn);
    queue.run(450_ms);
    EXPECT_EQ(queue.times(), (std::vector<std::int64_t>{100, 200, 271, 329, 379, 424}));
    EXPECT_EQ(queue.fates().marked.size(), 6u);
    EXPECT_TRUE(queue.fates().dropped.empty());
  }
}

TEST(Codel, LeavesAShortQueueAlone) {
  SteadyQueue below_target(4_ms, Ecn::kNotCapable);
  below_target.run(1_s);
  EXPECT_TRUE(below_target.times().empty());
  SteadyQueue one_packet_of_bytes(20_ms, Ecn::kNotCapable, 70);  // long, but of no more bytes than one full packet
  one_packet_of_bytes.run(1_s);
  EXPECT_TRUE(one_packet_of_bytes.times().empty());
}

// RFC 8289 §5.5: soon after the last time it goes on with the rate it had; later it begins anew.
TEST(Codel, RemembersItsRateForAWhile) {
  for (const bool soon : {true, false}) {
    SteadyQueue queue(20_ms, Ecn::kNotCapable);
    queue.run(450_ms);  // six drops
    queue.empty();
    queue.run(soon ? 10_ms : 2_s);
    queue.refill(20_ms);
    const std::size_t before = queue.times().size();
    queue.run(220_ms);
    ASSERT_GE(queue.times().size(), before + 2) << soon;
    const std::int64_t gap = queue.times()[before + 1] - queue.times()[before];
    EXPECT_EQ(gap, soon ? 45 : 100);  // 100 / sqrt(5): five since it began
  }
}

class FqCodel : public testing::Test {
 protected:
  void enqueue(std::initializer_list<std::uint16_t> flows, std::size_t size = 1500) {
    for (const std::uint16_t flow : flows) queue_.enqueue(kStart, packet(flow, size));
  }
  Fates fates_;
  sim::FqCodel queue_{20'000, {}, SipKey{}, fates_};
};

// RFC 8290 §4.2: a flow that becomes active goes before those that have had their turn.
TEST_F(FqCodel, TurnsAndNewFlowsFirst) {
  enqueue({1, 1, 1, 1, 2, 2});
  EXPECT_EQ(queue_.dequeue(kStart)->pair, 1u);  // a quantum of 1514 leaves 14 bytes of credit: one packet more
  EXPECT_EQ(queue_.dequeue(kStart)->pair, 1u);
  EXPECT_EQ(queue_.dequeue(kStart)->pair, 2u);
  enqueue({3}, 100);
  EXPECT_EQ(drain(queue_, kStart), (Flows{2, 3, 1, 1}));
  EXPECT_EQ(queue_.packets(), 0u);
  EXPECT_EQ(queue_.bytes(), 0u);
}

// In bytes, not packets.
TEST_F(FqCodel, SharesAreEqualInBytes) {
  for (int i = 0; i < 9; ++i) enqueue({1}, 1000);
  for (int i = 0; i < 40; ++i) enqueue({2}, 250);
  std::map<std::uint32_t, std::size_t> bytes;
  for (int i = 0; i < 20; ++i) {
    const auto p = queue_.dequeue(kStart);
    bytes[p->pair] += p->size();
  }
  EXPECT_NEAR(static_cast<double>(bytes[1]), static_cast<double>(bytes[2]), 1514);
}

// RFC 8290 §4.2: or a flow that sends a packet whenever it has none would always be new, and have a quantum for each.
TEST_F(FqCodel, AnEmptyNewFlowWaitsItsTurn) {
  for (int i = 0; i < 50; ++i) enqueue({1}, 100);
  (void)queue_.dequeue(kStart);
  std::size_t of_second = 0;
  for (int i = 0; i < 10; ++i) {
    enqueue({2}, 1500);
    for (int n = 0; n < 2; ++n) of_second += queue_.dequeue(kStart)->pair == 2;
  }
  EXPECT_GE(of_second, 1u);
  EXPECT_LE(of_second, 3u);  // about as many bytes as the other
}

// RFC 8290 §4.1: at the limit the longest queue gives its oldest packet, whoever came last.
TEST_F(FqCodel, OverflowIsTheLongestQueuesLoss) {
  for (int i = 0; i < 13; ++i) enqueue({1});
  EXPECT_TRUE(fates_.dropped.empty());
  enqueue({2});
  EXPECT_EQ(fates_.dropped, Flows{1});
  EXPECT_EQ(queue_.packets(), 13u);
  EXPECT_EQ(queue_.bytes(), 19'500u);
}

TEST_F(FqCodel, EachFlowHasItsOwnCodel) {
  sim::FqCodel queue(1 << 20, {}, SipKey{}, fates_);
  Instant now = kStart;
  for (int i = 0; i < 60; ++i) queue.enqueue(now, packet(1));
  for (; now < kStart + 250_ms; now = now + 5_ms) {  // flow 1 waits ever longer, flow 2 never
    queue.enqueue(now, packet(1));
    queue.enqueue(now, packet(2, 100));
    (void)queue.dequeue(now);
    (void)queue.dequeue(now);
  }
  EXPECT_GE(fates_.dropped.size(), 2u);
  for (const std::uint32_t flow : fates_.dropped) EXPECT_EQ(flow, 1u);
}

TEST(Histogram, MeanAndQuantiles) {
  sim::Histogram h;
  EXPECT_EQ(h.mean(), Duration());
  EXPECT_EQ(h.quantile(0.99), Duration());
  for (int i = 1; i <= 1000; ++i) h.add(Duration::micros(i));
  EXPECT_EQ(h.count(), 1000u);
  EXPECT_EQ(h.mean(), 500'500_ns);
  EXPECT_EQ(h.max(), 1_ms);
  EXPECT_EQ(h.quantile(1), 1_ms);
  for (const double part : {0.01, 0.5, 0.9, 0.99}) {
    const double want = part * 1e6;
    EXPECT_GE(static_cast<double>(h.quantile(part).to_nanos()), want) << part;
    EXPECT_LE(static_cast<double>(h.quantile(part).to_nanos()), want * 1.01) << part;
  }
  sim::Histogram small;
  for (int i = 0; i < 100; ++i) small.add(Duration::nanos(i));
  EXPECT_EQ(small.quantile(0.5), 49_ns);
}

}  // namespace
}  // namespace sluice::test
