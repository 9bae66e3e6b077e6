// Many threads at once: on one stack with a socket each, and on one socket.
#include <sys/ioctl.h>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using Threads = TwoRuntimes;

// Sleeps at once whenever there is nothing to do.
class SleepyThreads : public TwoRuntimes {
 protected:
  SleepyThreads() : TwoRuntimes(Duration()) {}
};

constexpr int kThreads = 6;
constexpr std::size_t kBytesEach = 256 << 10;

std::vector<std::uint8_t> pattern(int seed) {
  std::vector<std::uint8_t> data(kBytesEach);
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<std::uint8_t>(i * 31 + i / 257 + static_cast<std::size_t>(seed) * 77);
  return data;
}

// Sends everything back until the end of the stream.
long echo(int fd) {
  std::vector<std::uint8_t> buffer(16 << 10);
  for (;;) {
    const ssize_t n = sl_recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) return sl_close(fd) + n;
    if (sl_send(fd, buffer.data(), static_cast<std::size_t>(n), 0) != n) return -1;
  }
}

// A thread runs the stack for itself, and nothing ever comes for it: what comes for another wakes that one before the
// first sleeps again. Nothing else would: the bytes are acknowledged, no frame and no timer follows.
TEST_F(SleepyThreads, TheWorkerTellsTheOthersBeforeItSleeps) {
  const Pair idle = connected();
  const Pair busy = connected();
  char nothing = 0;
  Background waits([&] { return sl_recv(idle.server, &nothing, 1, 0); });
  wait_for_blocked(*server_, 1);
  for (int i = 0; i < 20; ++i) {
    char byte = 0;
    Background reads([&] { return sl_recv(busy.server, &byte, 1, 0); });
    wait_for_blocked(*server_, 2);
    ASSERT_EQ(sl_send(busy.client, "x", 1, 0), 1);
    EXPECT_EQ(reads.get(), (Outcome{1, 0}));
  }
  EXPECT_EQ(sl_close(idle.client), 0);
  EXPECT_EQ(waits.get(), (Outcome{0, 0}));
}

TEST_F(Threads, OneSocketEach) {
  const int listening = listener();
  Background server([&] {
    std::vector<std::unique_ptr<Background>> echoes;
    for (int i = 0; i < kThreads; ++i) {
      const int fd = sl_accept(listening, nullptr, nullptr);
      if (fd < 0) return -1L;
      echoes.push_back(std::make_unique<Background>([fd] { return echo(fd); }));
    }
    long failures = 0;
    for (auto& e : echoes) failures += e->get().value;
    return failures;
  });
  std::vector<std::unique_ptr<Background>> clients;
  for (int i = 0; i < kThreads; ++i) {
    clients.push_back(std::make_unique<Background>([&, i] {
      const int fd = connect_to_server();
      const std::vector<std::uint8_t> sent = pattern(i);
      Background sending([&] { return sl_send(fd, sent.data(), sent.size(), 0); });
      std::vector<std::uint8_t> got(sent.size());
      const ssize_t n = sl_recv(fd, got.data(), got.size(), MSG_WAITALL);
      const bool all =
          sending.get() == Outcome{static_cast<long>(sent.size())} && n == static_cast<ssize_t>(sent.size());
      return sl_close(fd) + (all && got == sent ? 0 : -1);
    }));
  }
  for (auto& client : clients) EXPECT_EQ(client->get(), (Outcome{0}));
  EXPECT_EQ(server.get(), (Outcome{0}));
}

TEST_F(Threads, ManyReadOneDatagramSocket) {
  const int receiver = socket_of(*server_, SOCK_DGRAM);
  const sockaddr_in a = address(kServerHost, kPort);
  ASSERT_EQ(sl_bind(receiver, generic(a), sizeof a), 0);
  const int sender = socket_of(*client_, SOCK_DGRAM);
  constexpr int kDatagrams = 60;
  std::atomic<int> sum{0};
  std::vector<std::unique_ptr<Background>> readers;
  for (int i = 0; i < kThreads; ++i) {
    readers.push_back(std::make_unique<Background>([&] {
      for (int n = 0; n < kDatagrams / kThreads; ++n) {
        int value = 0;
        if (sl_recv(receiver, &value, sizeof value, 0) != sizeof value) return -1;
        sum += value;
      }
      return 0;
    }));
  }
  wait_for_blocked(*server_, kThreads);
  for (int value = 1; value <= kDatagrams; ++value) {
    ASSERT_EQ(sl_sendto(sender, &value, sizeof value, 0, generic(a), sizeof a), static_cast<ssize_t>(sizeof value));
  }
  for (auto& reader : readers) EXPECT_EQ(reader->get(), (Outcome{0}));
  EXPECT_EQ(sum, kDatagrams * (kDatagrams + 1) / 2);
}

// Each byte arrives once, and those of one thread in their order.
TEST_F(Threads, ManyWriteOneStream) {
  const Pair pair = connected();
  std::vector<std::unique_ptr<Background>> writers;
  for (int i = 0; i < kThreads; ++i) {
    writers.push_back(std::make_unique<Background>([&, i] {
      for (int n = 0; n < 1000; ++n) {
        const std::uint8_t record[] = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(n)};
        if (sl_send(pair.client, record, sizeof record, 0) != sizeof record) return -1;
      }
      return 0;
    }));
  }
  std::vector<std::uint8_t> got(2 * 1000 * kThreads);
  EXPECT_EQ(sl_recv(pair.server, got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
  for (auto& writer : writers) EXPECT_EQ(writer->get(), (Outcome{0}));
  int next[kThreads] = {};
  for (std::size_t i = 0; i < got.size(); i += 2) {
    ASSERT_LT(got[i], kThreads);
    EXPECT_EQ(got[i + 1], static_cast<std::uint8_t>(next[got[i]]++));
  }
}

TEST_F(Threads, ManyAcceptFromOneListener) {
  const int listening = listener();
  std::vector<std::unique_ptr<Background>> accepting;
  for (int i = 0; i < kThreads; ++i) {
    accepting.push_back(std::make_unique<Background>([&] { return sl_close(sl_accept(listening, nullptr, nullptr)); }));
  }
  wait_for_blocked(*server_, kThreads);
  for (int i = 0; i < kThreads; ++i) (void)connect_to_server();
  for (auto& a : accepting) EXPECT_EQ(a->get(), (Outcome{0}));
}

// The thread that runs the stack leaves with what it waited for; another takes its part.
TEST_F(Threads, TheNextWaiterTakesThePart) {
  const Pair one = connected(), two = connected();
  char byte = 0, another = 0;
  Background worker([&] { return sl_recv(one.server, &byte, 1, 0); });
  wait_for_blocked(*server_, 1);
  Background sleeper([&] { return sl_recv(two.server, &another, 1, 0); });
  wait_for_blocked(*server_, 2);
  ASSERT_EQ(sl_send(one.client, "x", 1, 0), 1);
  EXPECT_EQ(worker.get(), (Outcome{1}));
  ASSERT_EQ(sl_send(two.client, "x", 1, 0), 1);
  EXPECT_EQ(sleeper.get(), (Outcome{1}));
}

// Nobody waits on the server's side: the helper takes the data in.
TEST_F(Threads, TheHelperWorksWhileNobodyWaits) {
  const Pair pair = connected();
  ASSERT_EQ(sl_send(pair.client, "hello", 5, 0), 5);
  int bytes = 0;
  wait_until([&] { return sl_ioctl(pair.server, FIONREAD, &bytes) == 0 && bytes == 5; });
}

TEST_F(Threads, EachChoosesItsRuntime) {
  const auto bind_to = [](Runtime& runtime, const char* host) {
    sl_use(runtime.c_handle());
    const int fd = sl_socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in a = address(host, kPort);
    return sl_bind(fd, generic(a), sizeof a);
  };
  Background server([&] { return bind_to(*server_, kServerHost); });
  Background client([&] { return bind_to(*client_, kClientHost); });
  EXPECT_EQ(server.get(), (Outcome{0}));
  EXPECT_EQ(client.get(), (Outcome{0}));
  EXPECT_EQ(bind_to(*client_, kServerHost), -1);
  sl_use(nullptr);
}

}  // namespace
}  // namespace sluice::runtime_test
