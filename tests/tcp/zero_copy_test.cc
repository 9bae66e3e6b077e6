// The calls that move blocks instead of copying: ownership, the window, order, and what is counted as copied.
#include "stack/buf/buffer.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

constexpr std::size_t kLeast = tcp::ConnectionHandle::kLeastOwnBlock;

std::string text(const buf::Buffer& block) {
  const Bytes bytes = block.bytes();
  return {bytes.begin(), bytes.end()};
}

class ZeroCopy : public testing::Test {
 protected:
  void begin(const ScriptOptions& options = {}) {
    script = std::make_unique<Script>(options);
    script->establish({.flags = "S", .seq = 0, .ack = 0, .win = 65535, .mss = 1460, .scale = 7});
  }
  Result<socket::Lent> lend() { return script->stack().sockets().lend(script->handle()); }
  void give_back(std::size_t bytes) { script->stack().sockets().give_back(script->handle(), bytes); }
  buf::Buffer block_of(const std::string& bytes) {
    buf::Buffer block = script->stack().pool().allocate(buf::Pool::kLarge);
    block.append({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    return block;
  }
  Errno commit(buf::Buffer& block) {
    const Status sent = script->stack().sockets().send(script->handle(), block, {});
    return sent ? Errno::kOk : sent.error();
  }
  std::uint64_t copied() { return script->counters().get(Counter::kTcpBytesCopied); }

  std::unique_ptr<Script> script;
};

TEST_F(ZeroCopy, LendsWhatWasReceivedInOrder) {
  begin();
  const std::string first(1460, 'a'), second(1460, 'b');
  script->rx({.seq = 1, .ack = 1, .payload = first});
  script->rx({.seq = 1461, .ack = 1, .payload = second});
  EXPECT_EQ(script->read(10), first.substr(10, 10));  // copied
  const auto one = lend(), two = lend();
  ASSERT_TRUE(one && two);
  EXPECT_EQ(text(one->block), first.substr(10));
  EXPECT_EQ(text(two->block), second);
  EXPECT_EQ(lend().error(), Errno::kAgain);
  EXPECT_EQ(copied(), 10u);
}

TEST_F(ZeroCopy, LendTellsTheEndAndErrors) {
  begin();
  script->rx({.seq = 1, .ack = 1, .payload = "abc"});
  script->rx({.flags = "FA", .seq = 4, .ack = 1});
  EXPECT_EQ(text(lend()->block), "abc");
  EXPECT_TRUE(lend()->block.empty());
  EXPECT_TRUE(lend()->block.empty());
  begin();
  script->rx({.flags = "R", .seq = 1, .ack = 0});
  EXPECT_EQ(lend().error(), Errno::kConnectionReset);
  EXPECT_TRUE(lend()->block.empty());
}

// Reading alone would open it.
TEST_F(ZeroCopy, WindowOpensWhenBytesAreGivenBack) {
  ScriptOptions o;
  o.tcp.receive_buffer = 2920;
  o.tcp.window_scaling = tcp::Switch::kOff;
  begin(o);
  script->rx({.seq = 1, .ack = 1, .payload = std::string(1460, 'a')});
  script->rx({.seq = 1461, .ack = 1, .payload = std::string(1460, 'b')});
  script->discard_tx();
  ASSERT_EQ(script->info().rcv_wnd, 0u);
  auto one = lend(), two = lend();
  script->expect_nothing();
  EXPECT_EQ(script->info().rcv_wnd, 0u);
  one->block = {};
  two->block = {};
  give_back(1460);
  script->expect_tx({.flags = "A", .ack = 2921, .win = 1460});
  give_back(1460);
  script->expect_tx({.flags = "A", .ack = 2921, .win = 2920});
}

// (RFC9293-SHLD-3): lent bytes are read bytes.
TEST_F(ZeroCopy, CloseWhileLentIsNoReset) {
  begin();
  script->rx({.seq = 1, .ack = 1, .payload = "abc"});
  script->discard_tx();
  const auto lent = lend();
  script->close();
  script->expect_tx({.flags = "FA", .ack = 4});
  give_back(3);  // the handle is not open: nothing happens
  EXPECT_EQ(text(lent->block), "abc");
}

TEST_F(ZeroCopy, BufferOutlivesTheStack) {
  begin();
  script->rx({.seq = 1, .ack = 1, .payload = std::string(1000, 'z')});
  auto lent = lend();
  script.reset();
  EXPECT_EQ(text(lent->block), std::string(1000, 'z'));
}

TEST_F(ZeroCopy, CommittedBlockIsSentAndFreed) {
  begin();
  const std::size_t before = script->stack().pool().in_use();
  std::string all(kLeast, 'x');
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>('a' + i / 1460);
  buf::Buffer block = block_of(all);
  EXPECT_EQ(commit(block), Errno::kOk);
  EXPECT_FALSE(block);
  std::string got;
  while (got.size() < all.size()) {
    const Segment s = script->expect_tx({.seq = static_cast<std::uint32_t>(1 + got.size())});
    ASSERT_FALSE(s.payload.empty());
    got += s.payload;
    script->rx({.seq = 1, .ack = static_cast<std::uint32_t>(1 + got.size())});
  }
  EXPECT_EQ(got, all);
  EXPECT_EQ(copied(), 0u);
  EXPECT_EQ(script->stack().pool().in_use(), before);
}

// Between bytes that were copied, too, and in the order of the calls.
TEST_F(ZeroCopy, OrderWithCopiedBytes) {
  begin();
  EXPECT_EQ(script->write("ab"), Errno::kOk);
  script->expect_tx({.payload = "ab"});
  buf::Buffer block = block_of("cd");
  EXPECT_EQ(commit(block), Errno::kOk);
  EXPECT_EQ(script->write("ef"), Errno::kOk);
  script->rx({.seq = 1, .ack = 3});
  script->expect_tx({.seq = 3, .payload = "cdef"});
}

// A segment has room for few spans: small blocks are joined. As many as a window of 64 KiB holds, and all come out.
TEST_F(ZeroCopy, ManySmallBlocksAreJoined) {
  begin();
  script->set(socket::Option::kTcpCork, 1);
  std::string all;
  while (all.size() < 60'000) {
    const std::string piece(50, static_cast<char>('a' + all.size() % 26));
    buf::Buffer block = block_of(piece);
    ASSERT_EQ(commit(block), Errno::kOk);
    all += piece;
  }
  std::string got;
  script->set(socket::Option::kTcpCork, 0);
  while (got.size() < all.size()) {
    const Segment s = script->expect_tx({.seq = static_cast<std::uint32_t>(1 + got.size())});
    ASSERT_FALSE(s.payload.empty());
    got += s.payload;
    script->rx({.seq = 1, .ack = static_cast<std::uint32_t>(1 + got.size())});
  }
  EXPECT_EQ(got, all);
}

TEST_F(ZeroCopy, FailedCommitLeavesTheBlock) {
  ScriptOptions o;
  o.tcp.send_buffer = 2 * kLeast;
  begin(o);
  const std::string piece(kLeast, 'x');
  buf::Buffer block;
  int taken = 0;
  for (block = block_of(piece); commit(block) == Errno::kOk; block = block_of(piece)) ++taken;
  EXPECT_EQ(taken, 2);
  EXPECT_EQ(commit(block), Errno::kAgain);
  EXPECT_EQ(text(block), piece);
  script->shutdown_write();
  EXPECT_EQ(commit(block), Errno::kPipe);
  EXPECT_EQ(text(block), piece);
  script->rx({.flags = "R", .seq = 1, .ack = 0});
  EXPECT_EQ(commit(block), Errno::kConnectionReset);
  EXPECT_EQ(text(block), piece);
}

}  // namespace
}  // namespace sluice::test
