// Many connections at a time, in virtual time: every one opens, carries a request and its response, and closes; nothing
// is left behind.
#include "tests/scale/two_stacks.h"

namespace sluice::scale_test {
namespace {

constexpr std::size_t kCrowd = 20'000;
constexpr std::size_t kAtOnce = 500;  // handshakes under way

using Crowd = TwoStacks;

struct Request {
  std::uint32_t number;
  std::uint32_t check;
};
Bytes bytes_of(const Request& r) {
  return {reinterpret_cast<const std::uint8_t*>(&r), sizeof r};
}

TEST_F(Crowd, TwentyThousandConnectionsOpenTalkAndClose) {
  const socket::Handle listener = server_.listen(kPort);
  std::vector<socket::Handle> clients, servers;
  while (clients.size() < kCrowd) {
    for (std::size_t i = 0; i < kAtOnce; ++i) clients.push_back(client_.connect(server_, kPort));
    settle();
    for (socket::Handle h = server_.accept(listener); h >= 0; h = server_.accept(listener)) servers.push_back(h);
  }
  ASSERT_EQ(servers.size(), kCrowd);
  EXPECT_EQ(client_.count(tcp::State::kEstablished), kCrowd);
  EXPECT_EQ(server_.count(tcp::State::kEstablished), kCrowd);

  const auto number = [](std::size_t i) { return static_cast<std::uint32_t>(i); };
  Request r{};
  const MutableBytes room(reinterpret_cast<std::uint8_t*>(&r), sizeof r);
  for (std::size_t i = 0; i < kCrowd; ++i) {
    EXPECT_EQ(client_.send(clients[i], bytes_of({number(i), ~number(i)})), sizeof r);
    if (i % kAtOnce == kAtOnce - 1) settle();
  }
  for (std::size_t i = 0; i < kCrowd; ++i) {  // each answers with its own order of arrival
    ASSERT_EQ(server_.receive(servers[i], room), sizeof r);
    EXPECT_EQ(r.check, ~r.number);
    EXPECT_EQ(server_.send(servers[i], bytes_of({r.number, r.number ^ 0x5a5a5a5a})), sizeof r);
    if (i % kAtOnce == kAtOnce - 1) settle();
  }
  for (std::size_t i = 0; i < kCrowd; ++i) {
    ASSERT_EQ(client_.receive(clients[i], room), sizeof r);
    EXPECT_EQ(r.number, number(i));
    EXPECT_EQ(r.check, r.number ^ 0x5a5a5a5a);
  }

  for (std::size_t i = 0; i < kCrowd; ++i) {
    EXPECT_TRUE(client_.sockets().close(clients[i]));
    if (i % kAtOnce == kAtOnce - 1) settle();
  }
  EXPECT_EQ(server_.count(tcp::State::kCloseWait), kCrowd);
  for (std::size_t i = 0; i < kCrowd; ++i) {
    EXPECT_TRUE(server_.sockets().close(servers[i]));
    if (i % kAtOnce == kAtOnce - 1) settle();
  }
  EXPECT_EQ(client_.count(tcp::State::kTimeWait), kCrowd);
  pass(61_s);
  EXPECT_EQ(client_.count(tcp::State::kTimeWait), 0u);
  EXPECT_EQ(server_.count(tcp::State::kLastAck), 0u);
  EXPECT_EQ(client_.stack->pool().in_use(), 0u);
  EXPECT_EQ(server_.stack->pool().in_use(), 0u);
}

// All close within one batch, which is where a list of those to be freed is long.
TEST_F(Crowd, ClosesAllAtOnce) {
  const socket::Handle listener = server_.listen(kPort);
  std::vector<socket::Handle> clients;
  while (clients.size() < kCrowd) {
    for (std::size_t i = 0; i < kAtOnce; ++i) clients.push_back(client_.connect(server_, kPort));
    settle();
    for (socket::Handle h = server_.accept(listener); h >= 0; h = server_.accept(listener)) {
      EXPECT_TRUE(server_.sockets().set_option(h, socket::Option::kLinger, 0));
    }
  }
  server_.stack.reset();
  for (const socket::Handle h : clients) {
    EXPECT_TRUE(client_.sockets().set_option(h, socket::Option::kLinger, 0));
    EXPECT_TRUE(client_.sockets().close(h));
  }
  while (client_.stack->poll(now_)) {
  }
  EXPECT_EQ(client_.count(tcp::State::kEstablished), 0u);
}

}  // namespace
}  // namespace sluice::scale_test
