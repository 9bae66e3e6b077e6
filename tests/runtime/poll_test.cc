// sl_poll(): several descriptors, ours and the kernel's, its timeouts and its revents.
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using Poll = TwoRuntimes;
using std::chrono::milliseconds;

struct KernelEvent {
  KernelEvent() : fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~KernelEvent() { ::close(fd); }
  void raise() const {
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }
  int fd;
};

TEST_F(Poll, ReportsEachDescriptorAndCountsThem) {
  const Pair one = connected(), two = connected();
  const int fresh = socket_of(*server_, SOCK_STREAM);
  const int datagram = socket_of(*server_, SOCK_DGRAM);
  const int closed = socket_of(*server_, SOCK_STREAM);
  ASSERT_EQ(sl_close(closed), 0);
  ASSERT_EQ(sl_send(one.client, "x", 1, 0), 1);
  ASSERT_EQ(sl_shutdown(two.client, SHUT_WR), 0);
  wait_for_events(one.server, POLLIN);
  wait_for_events(two.server, POLLRDHUP);
  const KernelEvent raised, quiet;
  raised.raise();
  constexpr short kAll = POLLIN | POLLOUT | POLLRDHUP;
  struct Row {
    const char* name;
    int fd;
    short events, want;
  };
  const Row rows[] = {
      {"data", one.server, kAll, POLLIN | POLLOUT},
      {"data, not asked for", one.server, 0, 0},
      {"end of stream", two.server, kAll, POLLIN | POLLOUT | POLLRDHUP},
      {"only space", two.client, POLLIN | POLLOUT, POLLNVAL},  // of the other runtime
      {"never connected", fresh, kAll, POLLOUT | POLLHUP},
      {"hang-up needs no asking", fresh, 0, POLLHUP},
      {"datagram", datagram, kAll, POLLOUT},
      {"closed", closed, kAll, POLLNVAL},
      {"negative", -1, kAll, 0},
      {"kernel's, ready", raised.fd, POLLIN, POLLIN},
      {"kernel's, not ready", quiet.fd, POLLIN, 0},
      {"kernel's, not open", 1 << 19, POLLIN, POLLNVAL},
  };
  std::vector<pollfd> fds;
  long ready = 0;
  for (const Row& row : rows) {
    fds.push_back({row.fd, row.events, 0x7f});
    if (row.want != 0) ++ready;
  }
  EXPECT_EQ(sl_poll(fds.data(), fds.size(), 0), ready);
  for (std::size_t i = 0; i < fds.size(); ++i) EXPECT_EQ(fds[i].revents, rows[i].want) << rows[i].name;
}

TEST_F(Poll, TimeoutIsZeroReady) {
  const Pair pair = connected();
  const KernelEvent event;
  pollfd fds[] = {{pair.server, POLLIN, 0}, {event.fd, POLLIN, 0}};
  for (const nfds_t count : {nfds_t{1}, nfds_t{2}}) {
    for (const int timeout : {0, 20}) {
      const auto before = std::chrono::steady_clock::now();
      EXPECT_EQ(sl_poll(fds, count, timeout), 0);
      EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(timeout));
    }
  }
}

TEST_F(Poll, WaitsForEverForOneOfSeveral) {
  const Pair one = connected(), two = connected();
  for (const int timeout : {-1, 1 << 30}) {
    pollfd fds[] = {{one.server, POLLIN, 0}, {two.server, POLLIN, 0}};
    Background polling([&] { return sl_poll(fds, 2, timeout); });
    wait_for_blocked(*server_, 1);
    ASSERT_EQ(sl_send(two.client, "x", 1, 0), 1);
    EXPECT_EQ(polling.get(), (Outcome{1}));
    EXPECT_EQ(fds[0].revents, 0);
    EXPECT_EQ(fds[1].revents, POLLIN);
    char byte = 0;
    ASSERT_EQ(sl_recv(two.server, &byte, 1, 0), 1);
  }
}

TEST_F(Poll, KernelDescriptorWakesTheWorkerAndTheSleeper) {
  const Pair one = connected(), two = connected();
  const KernelEvent event, another;
  pollfd first[] = {{one.server, POLLIN, 0}, {event.fd, POLLIN, 0}};
  pollfd second[] = {{two.server, POLLIN, 0}, {another.fd, POLLIN, 0}};
  Background worker([&] { return sl_poll(first, 2, -1); });
  wait_for_blocked(*server_, 1);
  Background sleeper([&] { return sl_poll(second, 2, -1); });
  wait_for_blocked(*server_, 2);
  another.raise();
  EXPECT_EQ(sleeper.get(), (Outcome{1}));
  EXPECT_EQ(second[1].revents, POLLIN);
  event.raise();
  EXPECT_EQ(worker.get(), (Outcome{1}));
  EXPECT_EQ(first[1].revents, POLLIN);
}

TEST_F(Poll, ListenerIsReadableWhenAConnectionWaits) {
  const int fd = listener();
  pollfd p{fd, POLLIN | POLLOUT, 0};
  Background polling([&] { return sl_poll(&p, 1, -1); });
  wait_for_blocked(*server_, 1);
  (void)connect_to_server();
  EXPECT_EQ(polling.get(), (Outcome{1}));
  EXPECT_EQ(p.revents, POLLIN);
}

TEST_F(Poll, SpaceComesBackWhenThePeerReads) {
  const Pair pair = connected();
  set_int(pair.client, SOL_SOCKET, SO_SNDBUF, 256 << 10);  // buffers that do not grow
  set_int(pair.server, SOL_SOCKET, SO_RCVBUF, 256 << 10);
  std::vector<char> data(1 << 20);
  pollfd p{pair.client, POLLOUT, 0};
  do {  // what has been sent makes room again, until the peer's window is full too
    while (sl_send(pair.client, data.data(), data.size(), MSG_DONTWAIT) > 0) {
    }
  } while (sl_poll(&p, 1, 100) != 0);
  Background polling([&] { return sl_poll(&p, 1, -1); });
  wait_for_blocked(*client_, 1);
  while (!polling.done()) (void)sl_recv(pair.server, data.data(), data.size(), MSG_DONTWAIT);
  EXPECT_EQ(polling.get(), (Outcome{1}));
  EXPECT_EQ(p.revents, POLLOUT);
}

TEST_F(Poll, HangUpWhenBothDirectionsAreOver) {
  const Pair pair = connected();
  ASSERT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  EXPECT_EQ(wait_for_events(pair.server, POLLIN) & POLLHUP, 0);
  ASSERT_EQ(sl_shutdown(pair.server, SHUT_WR), 0);
  EXPECT_NE(wait_for_events(pair.client, POLLHUP) & POLLHUP, 0);
  EXPECT_NE(wait_for_events(pair.server, POLLHUP) & POLLHUP, 0);
}

}  // namespace
}  // namespace sluice::runtime_test
