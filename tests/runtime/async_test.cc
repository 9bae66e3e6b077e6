// Coroutines over the event loop. The runtime of the loop has no lock; its peer is a runtime with threads.
#include "sluice/async.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <numeric>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

class Async : public TwoRuntimes {
 protected:
  Async() {
    server_.reset();
    Options options;
    options.addresses = {"10.0.0.1/24"};
    options.threads = Options::Threads::kEventLoop;
    server_ = std::move(*Runtime::open(options, link_.end(0)));
    sl_use(server_->c_handle());
    loop_.emplace(*server_);
    scope_.emplace();
  }
  ~Async() override {
    scope_.reset();
    loop_.reset();
  }
  template <typename Condition>
  void run_until(Condition&& condition) {
    while (!condition()) (void)loop_->run_once(5_ms);
  }
  static wire::Endpoint at(std::uint16_t port) { return {wire::Ipv4Address::any(), port}; }

  std::optional<EventLoop> loop_;
  std::optional<async::Scope> scope_;
};

async::Task<> echo(async::TcpStream stream) {
  std::array<std::uint8_t, 1000> buffer;
  for (auto n = co_await stream.read(buffer); n && *n > 0; n = co_await stream.read(buffer)) {
    if (!co_await stream.write({buffer.data(), *n})) break;
  }
}

async::Task<> serve(async::Scope& scope, async::TcpListener listener) {
  while (auto stream = co_await listener.accept()) scope.start(echo(std::move(*stream)));
}

TEST_F(Async, EchoesToManyBlockingClients) {
  scope_->start(serve(*scope_, std::move(*async::TcpListener::bind(*loop_, at(kPort)))));
  std::vector<std::unique_ptr<Background>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<Background>([&] {
      const int fd = connect_to_server();
      std::string got(100'000, ' ');
      std::string sent(got.size(), ' ');
      std::iota(sent.begin(), sent.end(), '\0');
      std::thread sender([&] {
        (void)sl_send(fd, sent.data(), sent.size(), 0);
        (void)sl_shutdown(fd, SHUT_WR);
      });
      const bool whole = sl_recv(fd, got.data(), got.size(), MSG_WAITALL) == 100'000 && got == sent;
      sender.join();
      const bool ended = sl_recv(fd, got.data(), 1, 0) == 0;
      return whole && ended ? sl_close(fd) : 1;
    }));
  }
  run_until([&] { return std::all_of(clients.begin(), clients.end(), [](const auto& c) { return c->done(); }); });
  for (const auto& client : clients) EXPECT_EQ(client->get(), (Outcome{0}));
}

async::Task<> fetch(EventLoop& loop, wire::Endpoint peer, Result<std::string>* out, bool* done) {
  auto stream = co_await async::TcpStream::connect(loop, peer);
  if (!stream) {
    *out = fail(stream.error());
  } else {
    std::string all;
    std::array<std::uint8_t, 7> buffer;
    for (auto n = co_await stream->read(buffer); n && *n > 0; n = co_await stream->read(buffer)) {
      all.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
    }
    *out = all;
  }
  *done = true;
}

TEST_F(Async, Connects) {
  const int listening = socket_of(*client_, SOCK_STREAM);
  const sockaddr_in a = address(kClientHost, kPort);
  ASSERT_EQ(sl_bind(listening, generic(a), sizeof a), 0);
  ASSERT_EQ(sl_listen(listening, 1), 0);
  sl_use(server_->c_handle());
  Background peer([&] {
    const int fd = sl_accept(listening, nullptr, nullptr);
    (void)sl_send(fd, "good morning", 12, 0);
    return sl_close(fd);
  });
  Result<std::string> got = std::string();
  Result<std::string> refused = std::string();
  bool got_done = false;
  bool refused_done = false;
  const wire::Ipv4Address host{0x0a000002};
  scope_->start(fetch(*loop_, {host, kPort}, &got, &got_done));
  scope_->start(fetch(*loop_, {host, kDeafPort}, &refused, &refused_done));
  run_until([&] { return got_done && refused_done; });
  EXPECT_EQ(*got, "good morning");
  EXPECT_EQ(refused.error(), Errno::kConnectionRefused);
  EXPECT_EQ(peer.get(), (Outcome{0}));
  EXPECT_EQ(sl_close(listening), 0);
}

async::Task<> echo_datagrams(async::UdpSocket socket) {
  std::array<std::uint8_t, 100> buffer;
  while (auto datagram = co_await socket.receive(buffer)) {
    (void)co_await socket.send({buffer.data(), datagram->size}, datagram->from);
  }
}

TEST_F(Async, Datagrams) {
  scope_->start(echo_datagrams(std::move(*async::UdpSocket::bind(*loop_, at(kPort)))));
  Background client([&] {
    const int fd = socket_of(*client_, SOCK_DGRAM);
    const sockaddr_in a = address(kServerHost, kPort);
    char got[10];
    (void)sl_connect(fd, generic(a), sizeof a);
    for (int i = 0; i < 3; ++i) {
      if (sl_send(fd, "abc", 3, 0) != 3 || sl_recv(fd, got, sizeof got, 0) != 3) return 1;
    }
    return sl_close(fd);
  });
  run_until([&] { return client.done(); });
  EXPECT_EQ(client.get(), (Outcome{0}));
}

async::Task<int> later(EventLoop& loop, int value) {
  co_await async::sleep(loop, 1_ms);
  co_return value;
}
async::Task<> add(EventLoop& loop, int* sum) {
  *sum = co_await later(loop, 1);
  *sum += co_await later(loop, 2);
}

TEST_F(Async, TasksAwaitTasks) {
  int sum = 0;
  scope_->start(add(*loop_, &sum));
  EXPECT_FALSE(scope_->empty());
  EXPECT_EQ(sum, 0);
  run_until([&] { return scope_->empty(); });
  EXPECT_EQ(sum, 3);
}

// One coroutine reads and another one writes; both go on although the descriptor is always ready for both.
async::Task<> count_reads(async::Readiness& ready, int fd, int* count) {
  for (;;) {
    co_await ready.readable();
    if (++*count == 100) {
      std::uint64_t value = 0;
      (void)!::read(fd, &value, sizeof value);
      co_return;
    }
  }
}
async::Task<> count_writes(async::Readiness& ready, int* count) {
  for (; *count < 100; ++*count) co_await ready.writable();
}

TEST_F(Async, ReaderAndWriterTakeTurns) {
  const int fd = ::eventfd(1, EFD_NONBLOCK);
  async::Readiness ready(*loop_, fd);
  int reads = 0;
  int writes = 0;
  scope_->start(count_reads(ready, fd, &reads));
  scope_->start(count_writes(ready, &writes));
  run_until([&] { return reads + writes >= 100; });
  EXPECT_NEAR(reads, writes, 2);
  run_until([&] { return scope_->empty(); });
  EXPECT_EQ(reads, 100);
  EXPECT_EQ(writes, 100);
  ::close(fd);
}

// The end of a scope ends what waits in it, wherever that is, and closes what it owns.
TEST_F(Async, AScopeEndsItsCoroutines) {
  scope_->start(serve(*scope_, std::move(*async::TcpListener::bind(*loop_, at(kPort)))));
  int sum = 0;
  scope_->start(add(*loop_, &sum));
  Background client([&] { return connect_to_server(); });
  run_until([&] { return client.done(); });
  const int fd = static_cast<int>(client.get().value);
  char byte = 0;
  Background asking([&] { return sl_send(fd, "x", 1, 0) + sl_recv(fd, &byte, 1, 0); });
  run_until([&] { return asking.done() && sum == 3; });
  EXPECT_EQ(asking.get(), (Outcome{2}));
  scope_.reset();
  Background reading([&] { return sl_recv(fd, &byte, 1, 0); });
  run_until([&] { return reading.done(); });
  EXPECT_EQ(reading.get(), (Outcome{0}));  // the end
  EXPECT_EQ(sl_close(fd), 0);
  scope_.emplace();
}

}  // namespace
}  // namespace sluice::runtime_test
