// sl_epoll_*(): level, edge and one-shot, our descriptors and the kernel's, and what becomes of closed ones.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

class Epoll : public TwoRuntimes {
 protected:
  Epoll() {
    sl_use(server_->c_handle());
    set_ = sl_epoll_create1(EPOLL_CLOEXEC);
    sl_use(nullptr);
    EXPECT_GE(set_, SL_FD_BASE);
  }
  [[nodiscard]] long control(int operation, int fd, std::uint32_t events) const {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    return sl_epoll_ctl(set_, operation, fd, &e);
  }
  void add(int fd, std::uint32_t events) const { EXPECT_EQ(control(EPOLL_CTL_ADD, fd, events), 0) << errno; }

  using Told = std::vector<std::pair<int, std::uint32_t>>;  // descriptor and events, sorted
  [[nodiscard]] Told wait(int timeout_ms, int room = 16) const {
    std::vector<epoll_event> events(static_cast<std::size_t>(room));
    const int n = sl_epoll_wait(set_, events.data(), room, timeout_ms);
    EXPECT_GE(n, 0);
    Told told;
    for (int i = 0; i < n; ++i) {
      const epoll_event& e = events[static_cast<std::size_t>(i)];
      told.emplace_back(e.data.fd, e.events);
    }
    std::sort(told.begin(), told.end());
    return told;
  }
  static void arrive(const Pair& pair, const char* data) {
    int before = 0, now = 0;
    EXPECT_EQ(sl_ioctl(pair.server, FIONREAD, &before), 0);
    const auto size = static_cast<ssize_t>(strlen(data));
    EXPECT_EQ(sl_send(pair.client, data, strlen(data), 0), size);
    wait_until([&] { return sl_ioctl(pair.server, FIONREAD, &now) == 0 && now == before + size; });
  }
  static void take(int fd) {
    char room[64];
    EXPECT_GT(sl_recv(fd, room, sizeof room, MSG_DONTWAIT), 0);
  }

  int set_ = -1;
};

TEST_F(Epoll, LevelTellsUntilItIsOver) {
  const Pair pair = connected();
  add(pair.server, EPOLLIN);
  EXPECT_EQ(wait(0), Told());
  arrive(pair, "data");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN}}));
  take(pair.server);
  EXPECT_EQ(wait(0), Told());
  ASSERT_EQ(control(EPOLL_CTL_MOD, pair.server, EPOLLIN | EPOLLOUT), 0);
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLOUT}}));
  ASSERT_EQ(control(EPOLL_CTL_DEL, pair.server, 0), 0);
  EXPECT_EQ(wait(0), Told());
}

TEST_F(Epoll, EdgeTellsOnceForEachArrival) {
  const Pair pair = connected();
  add(pair.server, EPOLLIN | EPOLLET);
  arrive(pair, "one");
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN}}));
  EXPECT_EQ(wait(0), Told());  // still unread
  arrive(pair, "two");
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN}}));
  EXPECT_EQ(wait(0), Told());
  ASSERT_EQ(control(EPOLL_CTL_MOD, pair.server, EPOLLIN | EPOLLET), 0);  // looks anew
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN}}));
}

TEST_F(Epoll, OneShotTellsOnceUntilSetAnew) {
  const Pair pair = connected();
  add(pair.server, EPOLLIN | EPOLLONESHOT);
  arrive(pair, "one");
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN}}));
  arrive(pair, "two");
  EXPECT_EQ(wait(0), Told());
  ASSERT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  wait_for_events(pair.server, POLLRDHUP);
  EXPECT_EQ(wait(0), Told());
  ASSERT_EQ(control(EPOLL_CTL_MOD, pair.server, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT), 0);
  EXPECT_EQ(wait(0), (Told{{pair.server, EPOLLIN | EPOLLRDHUP}}));
}

TEST_F(Epoll, KernelDescriptorsAndOurs) {
  const Pair pair = connected();
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  add(pair.server, EPOLLIN);
  add(event, EPOLLIN);
  EXPECT_EQ(wait(0), Told());
  Background waiting([&] { return wait(-1).size(); });
  wait_for_blocked(*server_, 1);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(event, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  EXPECT_EQ(waiting.get(), (Outcome{1}));
  arrive(pair, "data");
  EXPECT_EQ(wait(0), (Told{{event, EPOLLIN}, {pair.server, EPOLLIN}}));
  std::set<int> turns;  // with room for one only, each has its turn
  for (int i = 0; i < 4; ++i) turns.insert(wait(0, 1).at(0).first);
  EXPECT_EQ(turns, (std::set<int>{event, pair.server}));
  ::close(event);
}

TEST_F(Epoll, WakesWhoWaits) {
  const Pair pair = connected();
  add(pair.server, EPOLLIN | EPOLLET);
  Background waiting([&] { return wait(-1).size(); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_send(pair.client, "x", 1, 0), 1);
  EXPECT_EQ(waiting.get(), (Outcome{1}));
}

TEST_F(Epoll, ASetInPoll) {
  const Pair pair = connected();
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  add(pair.server, EPOLLIN);
  add(event, EPOLLIN);
  pollfd p{set_, POLLIN, 0};
  EXPECT_EQ(sl_poll(&p, 1, 0), 0);
  Background polling([&] { return sl_poll(&p, 1, -1); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_send(pair.client, "x", 1, 0), 1);
  EXPECT_EQ(polling.get(), (Outcome{1}));
  EXPECT_EQ(p.revents, POLLIN);
  take(pair.server);
  Background again([&] { return sl_poll(&p, 1, -1); });
  wait_for_blocked(*server_, 1);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(event, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  EXPECT_EQ(again.get(), (Outcome{1}));
  ::close(event);
}

// A closed descriptor leaves its sets; one with a copy stays, under its number.
TEST_F(Epoll, ClosedDescriptors) {
  const Pair one = connected(), two = connected();
  add(one.server, EPOLLIN);
  add(two.server, EPOLLIN);
  const int copy = sl_dup(two.server);
  ASSERT_EQ(sl_close(one.server), 0);
  ASSERT_EQ(sl_close(two.server), 0);
  ASSERT_EQ(sl_send(two.client, "x", 1, 0), 1);
  wait_for_events(copy, POLLIN);
  EXPECT_EQ(wait(0), (Told{{two.server, EPOLLIN}}));
  ASSERT_EQ(sl_close(copy), 0);
  EXPECT_EQ(wait(0), Told());
  Background waiting([&] {
    epoll_event e{};
    return sl_epoll_wait(set_, &e, 1, -1);
  });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_close(set_), 0);
  EXPECT_EQ(waiting.get(), failed(EBADF));
}

TEST_F(Epoll, Errors) {
  const Pair pair = connected();
  epoll_event e{};
  add(pair.server, EPOLLIN);
  const int exclusive = listener();
  add(exclusive, EPOLLIN | EPOLLEXCLUSIVE);
  const struct {
    const char* name;
    std::function<long()> call;
    int error;
  } rows[] = {
      {"twice", [&] { return control(EPOLL_CTL_ADD, pair.server, EPOLLIN); }, EEXIST},
      {"not there", [&] { return control(EPOLL_CTL_MOD, socket_of(*server_, SOCK_DGRAM), EPOLLIN); }, ENOENT},
      {"delete, not there", [&] { return control(EPOLL_CTL_DEL, socket_of(*server_, SOCK_DGRAM), 0); }, ENOENT},
      {"itself", [&] { return control(EPOLL_CTL_ADD, set_, EPOLLIN); }, EINVAL},
      {"of another runtime", [&] { return control(EPOLL_CTL_ADD, pair.client, EPOLLIN); }, EINVAL},
      {"not open", [&] { return control(EPOLL_CTL_ADD, SL_FD_BASE + 999'999, EPOLLIN); }, EBADF},
      {"kernel's, not open", [&] { return control(EPOLL_CTL_ADD, 1 << 19, EPOLLIN); }, EBADF},
      {"operation", [&] { return control(77, pair.server, EPOLLIN); }, EINVAL},
      {"change an exclusive one", [&] { return control(EPOLL_CTL_MOD, exclusive, EPOLLIN); }, EINVAL},
      {"exclusive and once",
       [&] { return control(EPOLL_CTL_ADD, socket_of(*server_, SOCK_DGRAM), EPOLLONESHOT | EPOLLEXCLUSIVE); }, EINVAL},
      {"no event", [&] { return sl_epoll_ctl(set_, EPOLL_CTL_MOD, pair.server, nullptr); }, EFAULT},
      {"no set", [&] { return sl_epoll_ctl(pair.server, EPOLL_CTL_ADD, exclusive, &e); }, EINVAL},
      {"wait on no set", [&] { return sl_epoll_wait(pair.server, &e, 1, 0); }, EINVAL},
      {"no room", [&] { return sl_epoll_wait(set_, &e, 0, 0); }, EINVAL},
      {"create flags", [] { return sl_epoll_create1(7); }, EINVAL},
      {"a set is no socket", [&] { return sl_listen(set_, 1); }, ENOTSOCK},
      {"a set of the kernel's", [&] { return sl_epoll_ctl(0, EPOLL_CTL_ADD, pair.server, &e); }, EPERM},
  };
  for (const auto& row : rows) EXPECT_EQ(outcome_of(row.call).error, row.error) << row.name;
}

}  // namespace
}  // namespace sluice::runtime_test
