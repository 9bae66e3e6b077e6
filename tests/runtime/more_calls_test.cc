// sl_dup(), sl_select(), sl_ppoll(), several messages in one call, and what is about the host.
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using MoreCalls = TwoRuntimes;

TEST_F(MoreCalls, ACopyIsTheSameSocket) {
  const Pair pair = connected();
  const int copy = sl_dup(pair.server);
  ASSERT_GE(copy, SL_FD_BASE);
  EXPECT_NE(copy, pair.server);
  ASSERT_EQ(sl_fcntl(copy, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(sl_fcntl(pair.server, F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK);
  ASSERT_EQ(sl_close(pair.server), 0);
  ASSERT_EQ(sl_send(copy, "still", 5, 0), 5);
  char room[8];
  EXPECT_EQ(sl_recv(pair.client, room, sizeof room, 0), 5);
  ASSERT_EQ(sl_close(copy), 0);
  EXPECT_EQ(sl_recv(pair.client, room, sizeof room, 0), 0);  // only now it is closed
  EXPECT_EQ(outcome_of([&] { return sl_dup(copy); }), failed(EBADF));
}

TEST_F(MoreCalls, SelectTellsWhatIsReady) {
  const Pair pair = connected();
  const int event = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  sl_fd_set readable, writable, exceptional;
  SL_FD_ZERO(&readable);
  SL_FD_ZERO(&writable);
  SL_FD_ZERO(&exceptional);
  for (const int fd : {pair.server, event}) {
    SL_FD_SET(fd, &readable);
    SL_FD_SET(fd, &exceptional);
  }
  SL_FD_SET(pair.server, &writable);
  timeval none{};
  EXPECT_EQ(sl_select(pair.server + 1, &readable, &writable, &exceptional, &none), 2);
  EXPECT_EQ(SL_FD_ISSET(pair.server, &readable), 0);
  EXPECT_EQ(SL_FD_ISSET(pair.server, &writable), 1);
  EXPECT_EQ(SL_FD_ISSET(event, &readable), 1);
  EXPECT_EQ(SL_FD_ISSET(event, &exceptional), 0);
  ::close(event);

  SL_FD_ZERO(&readable);
  SL_FD_SET(pair.server, &readable);
  Background selecting([&] { return sl_select(pair.server + 1, &readable, nullptr, nullptr, nullptr); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  EXPECT_EQ(selecting.get(), (Outcome{1}));
  EXPECT_EQ(SL_FD_ISSET(pair.server, &readable), 1);

  SL_FD_ZERO(&readable);
  SL_FD_SET(pair.server, &readable);
  EXPECT_EQ(sl_select(pair.server, &readable, nullptr, nullptr, &none), 0);  // one less than its number
  SL_FD_ZERO(&readable);
  SL_FD_SET(SL_FD_BASE + 1000, &readable);
  EXPECT_EQ(outcome_of([&] { return sl_select(SL_FD_BASE + 1001, &readable, nullptr, nullptr, &none); }),
            failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_select(-1, nullptr, nullptr, nullptr, &none); }), failed(EINVAL));
}

std::atomic<int> signals_seen{0};

// The signal that the thread blocks is let in while it waits, and only then.
TEST_F(MoreCalls, PpollLetsASignalIn) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++signals_seen; };
  ASSERT_EQ(::sigaction(SIGUSR2, &action, nullptr), 0);
  const Pair one = connected(), two = connected();
  signals_seen = 0;
  const auto waiting_for = [](int fd) {
    return [fd] {
      sigset_t blocked, open;
      ::sigemptyset(&blocked);
      ::sigaddset(&blocked, SIGUSR2);
      ::pthread_sigmask(SIG_BLOCK, &blocked, &open);
      ::sigdelset(&open, SIGUSR2);
      ::raise(SIGUSR2);
      EXPECT_EQ(signals_seen % 10, 0);
      pollfd p{fd, POLLIN, 0};
      return sl_ppoll(&p, 1, nullptr, &open);
    };
  };
  EXPECT_EQ(Background(waiting_for(one.server)).get(), failed(EINTR));  // as the worker
  EXPECT_EQ(signals_seen, 1);
  signals_seen = 10;
  pollfd other{two.server, POLLIN, 0};
  Background worker([&] { return sl_poll(&other, 1, -1); });
  wait_for_blocked(*server_, 1);
  EXPECT_EQ(Background(waiting_for(one.server)).get(), failed(EINTR));  // as one who sleeps
  EXPECT_EQ(signals_seen, 11);
  ASSERT_EQ(sl_send(two.client, "x", 1, 0), 1);
  EXPECT_EQ(worker.get(), (Outcome{1}));
  const timespec odd{0, 1'000'000'000}, none{};
  EXPECT_EQ(outcome_of([&] { return sl_ppoll(&other, 1, &odd, nullptr); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_ppoll(&other, 1, &none, nullptr); }), (Outcome{1}));
}

TEST_F(MoreCalls, SeveralMessages) {
  const int server = socket_of(*server_, SOCK_DGRAM), client = socket_of(*client_, SOCK_DGRAM);
  sockaddr_in a = address(kServerHost, kPort);
  ASSERT_EQ(sl_bind(server, generic(a), sizeof a), 0);
  std::array<std::string, 3> data{"one", "three", ""};
  std::array<iovec, 3> pieces{};
  std::array<mmsghdr, 3> messages{};
  for (std::size_t i = 0; i < data.size(); ++i) {
    pieces[i] = {data[i].data(), data[i].size()};
    messages[i].msg_hdr.msg_name = &a;
    messages[i].msg_hdr.msg_namelen = sizeof a;
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  ASSERT_EQ(sl_sendmmsg(client, messages.data(), 3, 0), 3);
  EXPECT_EQ(messages[1].msg_len, 5u);
  std::array<std::array<char, 8>, 4> room{};
  std::array<iovec, 4> into{};
  std::array<mmsghdr, 4> got{};
  for (std::size_t i = 0; i < room.size(); ++i) {
    into[i] = {room[i].data(), room[i].size()};
    got[i].msg_hdr.msg_iov = &into[i];
    got[i].msg_hdr.msg_iovlen = 1;
  }
  ASSERT_EQ(sl_recvmmsg(server, got.data(), 3, 0, nullptr), 3);
  EXPECT_EQ(std::string(room[1].data(), got[1].msg_len), "three");
  EXPECT_EQ(got[2].msg_len, 0u);
  EXPECT_EQ(outcome_of([&] { return sl_recvmmsg(server, got.data(), 4, MSG_DONTWAIT, nullptr); }), failed(EAGAIN));
  ASSERT_EQ(sl_sendmmsg(client, messages.data(), 2, 0), 2);
  ASSERT_EQ(sl_recvmmsg(server, got.data(), 1, 0, nullptr), 1);
  EXPECT_EQ(sl_recvmmsg(server, got.data(), 4, MSG_WAITFORONE, nullptr), 1);  // does not wait for a second
  const timespec soon{0, 1};
  timespec limit = soon;
  ASSERT_EQ(sl_sendmmsg(client, messages.data(), 2, 0), 2);
  EXPECT_EQ(sl_recvmmsg(server, got.data(), 4, 0, &limit), 1);  // over after the first
}

TEST_F(MoreCalls, NumbersOfTheKernelArePassedOn) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(sl_write(ends[1], "abc", 3), 3);
  char room[8] = "";
  iovec piece{room, 2};
  int waiting = 0;
  EXPECT_EQ(sl_ioctl(ends[0], FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 3);
  EXPECT_EQ(sl_readv(ends[0], &piece, 1), 2);
  EXPECT_EQ(sl_read(ends[0], room + 2, 4), 1);
  EXPECT_STREQ(room, "abc");
  const int copy = sl_dup(ends[1]);
  EXPECT_LT(copy, SL_FD_BASE);
  EXPECT_EQ(sl_fcntl(copy, F_SETFD, FD_CLOEXEC), 0);
  EXPECT_EQ(sl_writev(copy, &piece, 1), 2);
  for (const int fd : {copy, ends[0], ends[1]}) EXPECT_EQ(sl_close(fd), 0);
  EXPECT_EQ(outcome_of([&] { return sl_close(copy); }), failed(EBADF));
}

TEST_F(MoreCalls, AnEventWakesWhoWaitsForSockets) {
  const Pair pair = connected();
  const int event = sl_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  pollfd fds[] = {{pair.server, POLLIN, 0}, {event, POLLIN, 0}};
  Background polling([&] { return sl_poll(fds, 2, -1); });
  wait_for_blocked(*server_, 1);
  const std::uint64_t one = 1;
  EXPECT_EQ(sl_write(event, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  EXPECT_EQ(polling.get(), (Outcome{1}));
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_EQ(sl_close(event), 0);
}

TEST_F(MoreCalls, Interfaces) {
  const int fd = socket_of(*server_, SOCK_DGRAM);
  ifreq row{};
  std::strncpy(row.ifr_name, "sl1", IFNAMSIZ);
  const auto address_in = [&row] {
    sockaddr_in in{};
    std::memcpy(&in, &row.ifr_addr, sizeof in);
    return ntohl(in.sin_addr.s_addr);
  };
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFADDR, &row), 0);
  EXPECT_EQ(address_in(), 0x0a000001u);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFNETMASK, &row), 0);
  EXPECT_EQ(address_in(), 0xffffff00u);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFBRDADDR, &row), 0);
  EXPECT_EQ(address_in(), 0x0a0000ffu);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFMTU, &row), 0);
  EXPECT_EQ(row.ifr_mtu, 1500);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFFLAGS, &row), 0);
  EXPECT_EQ(row.ifr_flags & (IFF_UP | IFF_LOOPBACK), IFF_UP);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFHWADDR, &row), 0);
  EXPECT_EQ(row.ifr_hwaddr.sa_family, ARPHRD_ETHER);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFINDEX, &row), 0);
  EXPECT_EQ(row.ifr_ifindex, 1);
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFNAME, &row), 0);
  EXPECT_STREQ(row.ifr_name, "sl1");
  std::strncpy(row.ifr_name, "eth9", IFNAMSIZ);
  EXPECT_EQ(outcome_of([&] { return sl_ioctl(fd, SIOCGIFMTU, &row); }), failed(ENODEV));

  std::array<ifreq, 4> rows{};
  ifconf list{};
  list.ifc_len = sizeof rows;
  list.ifc_req = rows.data();
  ASSERT_EQ(sl_ioctl(fd, SIOCGIFCONF, &list), 0);
  ASSERT_EQ(list.ifc_len, static_cast<int>(2 * sizeof(ifreq)));
  EXPECT_STREQ(rows[0].ifr_name, "lo");
  EXPECT_STREQ(rows[1].ifr_name, "sl1");

  sl_use(server_->c_handle());
  char name[IF_NAMESIZE];
  EXPECT_EQ(sl_if_nametoindex("sl1"), 1u);
  EXPECT_EQ(sl_if_nametoindex("eth9"), 0u);
  EXPECT_STREQ(sl_if_indextoname(1, name), "sl1");
  EXPECT_EQ(sl_if_indextoname(9, name), nullptr);
  sl_use(nullptr);
}

}  // namespace
}  // namespace sluice::runtime_test
