// sl_dup(), sl_select(), sl_ppoll(), several messages in one call, and names.
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <csignal>

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

TEST(Names, NumbersOnly) {
  addrinfo* found = nullptr;
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  ASSERT_EQ(sl_getaddrinfo("10.0.0.7", "80", &wanted, &found), 0);
  const auto* a = reinterpret_cast<const sockaddr_in*>(found->ai_addr);
  EXPECT_EQ(a->sin_addr.s_addr, htonl(0x0a000007));
  EXPECT_EQ(ntohs(a->sin_port), 80);
  EXPECT_EQ(found->ai_next, nullptr);
  char host[32], service[8];
  EXPECT_EQ(
      sl_getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICSERV), 0);
  EXPECT_STREQ(host, "10.0.0.7");
  EXPECT_STREQ(service, "80");
  EXPECT_EQ(sl_getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, nullptr, 0, NI_NAMEREQD), EAI_NONAME);
  sl_freeaddrinfo(found);
  EXPECT_EQ(sl_getaddrinfo("localhost", "80", &wanted, &found), EAI_NONAME);
  wanted.ai_family = AF_INET6;
  EXPECT_EQ(sl_getaddrinfo("::1", "80", &wanted, &found), EAI_FAMILY);
}

}  // namespace
}  // namespace sluice::runtime_test
