// What an idle connection and a TIME-WAIT record cost, as budgets: the heap, allocator's overhead included, divided by
// the connections.
#include "tests/scale/heap_count.h"
#include "tests/scale/two_stacks.h"

namespace sluice::scale_test {
namespace {

constexpr std::size_t kConnections = 1000;      // just below a power of two, where the tables are not half empty
constexpr std::size_t kConnectionBudget = 912;  // of 1024: a descriptor and its place in an event loop take the rest
constexpr std::size_t kTimeWaitBudget = 128;

class Memory : public TwoStacks {
 protected:
  std::vector<Pair> open(std::size_t n) {
    std::vector<Pair> pairs;
    pairs.reserve(n);
    while (pairs.size() < n) {
      pairs.push_back(connected(listener_));
      pass(1_ms);
    }
    return pairs;
  }
  socket::Handle listener_ = server_.listen(kPort);
};

TEST_F(Memory, AnIdleConnectionFitsItsBudget) {
  (void)open(8);  // buffers and queues get their size
  const std::size_t before = heap_count().live_bytes;
  const std::vector<Pair> pairs = open(kConnections);
  const std::size_t own = pairs.capacity() * sizeof(Pair);
  const std::size_t each = (heap_count().live_bytes - before - own) / (2 * kConnections);
  RecordProperty("bytes", static_cast<int>(each));
  EXPECT_EQ(server_.count(tcp::State::kEstablished), kConnections + 8);
  EXPECT_LE(each, kConnectionBudget);
}

TEST_F(Memory, ATimeWaitRecordFitsItsBudget) {
  std::vector<Pair> pairs = open(kConnections);
  const std::size_t open_bytes = heap_count().live_bytes;
  for (const Pair& pair : pairs) {  // the client closes first: TIME-WAIT is its
    EXPECT_TRUE(client_.sockets().close(pair.client));
    settle();
    EXPECT_TRUE(server_.sockets().close(pair.server));
    settle();
  }
  ASSERT_EQ(client_.count(tcp::State::kTimeWait), kConnections);
  const std::size_t waiting = heap_count().live_bytes;
  EXPECT_LT(waiting, open_bytes);
  pass(61_s);
  ASSERT_EQ(client_.count(tcp::State::kTimeWait), 0u);
  const std::size_t each = (waiting - heap_count().live_bytes) / kConnections;
  RecordProperty("bytes", static_cast<int>(each));
  EXPECT_GT(each, 0u);
  EXPECT_LE(each, kTimeWaitBudget);
}

}  // namespace
}  // namespace sluice::scale_test
