// errno values of the BSD calls, row by row as the Linux kernel gives them.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <functional>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

class ErrnoTest : public TwoRuntimes {
 protected:
  struct Row {
    const char* name;
    std::function<long()> call;
    int error;  // 0: the call succeeds
  };
  static void check(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      const Outcome outcome = outcome_of(row.call);
      EXPECT_EQ(outcome.error, row.error) << row.name << ": " << outcome;
    }
  }
  static long connect(int fd, const char* host, std::uint16_t port) {
    const sockaddr_in a = address(host, port);
    return sl_connect(fd, generic(a), sizeof a);
  }
  static long bind(int fd, const char* host, std::uint16_t port) {
    const sockaddr_in a = address(host, port);
    return sl_bind(fd, generic(a), sizeof a);
  }
  static int error_of(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    EXPECT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    return error;
  }
  static short events(int fd) {
    pollfd p{fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    (void)sl_poll(&p, 1, 0);
    return p.revents;
  }
  char buffer_[8] = {};
};

TEST_F(ErrnoTest, BadDescriptor) {
  const int closed = socket_of(*client_, SOCK_STREAM);
  ASSERT_EQ(sl_close(closed), 0);
  for (const int fd : {closed, SL_FD_BASE + 999'999, -1, 1 << 30}) {
    SCOPED_TRACE(fd);
    int number = 0;
    socklen_t length = sizeof number;
    sockaddr_in a = address(kServerHost, kPort);
    auto* out = reinterpret_cast<sockaddr*>(&a);
    msghdr message{};
    check({
        {"close", [&] { return sl_close(fd); }, EBADF},
        {"bind", [&] { return bind(fd, kClientHost, 1); }, EBADF},
        {"listen", [&] { return sl_listen(fd, 1); }, EBADF},
        {"accept", [&] { return sl_accept(fd, nullptr, nullptr); }, EBADF},
        {"connect", [&] { return connect(fd, kServerHost, 1); }, EBADF},
        {"send", [&] { return sl_send(fd, "x", 1, 0); }, EBADF},
        {"recv", [&] { return sl_recv(fd, buffer_, 1, 0); }, EBADF},
        {"sendmsg", [&] { return sl_sendmsg(fd, &message, 0); }, EBADF},
        {"recvmsg", [&] { return sl_recvmsg(fd, &message, 0); }, EBADF},
        {"shutdown", [&] { return sl_shutdown(fd, SHUT_RD); }, EBADF},
        {"getsockname", [&] { return sl_getsockname(fd, out, &length); }, EBADF},
        {"getpeername", [&] { return sl_getpeername(fd, out, &length); }, EBADF},
        {"setsockopt", [&] { return sl_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &number, length); }, EBADF},
        {"getsockopt", [&] { return sl_getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &number, &length); }, EBADF},
        {"fcntl", [&] { return sl_fcntl(fd, F_GETFL, 0); }, EBADF},
        {"ioctl", [&] { return sl_ioctl(fd, FIONREAD, &number); }, EBADF},
    });
  }
}

TEST_F(ErrnoTest, FreshStream) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  EXPECT_EQ(events(fd), POLLOUT | POLLHUP);
  sockaddr_in a{};
  socklen_t length = sizeof a;
  check({
      {"recv", [&] { return sl_recv(fd, buffer_, 1, 0); }, ENOTCONN},
      {"send", [&] { return sl_send(fd, "x", 1, 0); }, EPIPE},
      {"accept", [&] { return sl_accept(fd, nullptr, nullptr); }, EINVAL},
      {"shutdown", [&] { return sl_shutdown(fd, SHUT_RDWR); }, ENOTCONN},
      {"shutdown how", [&] { return sl_shutdown(fd, 3); }, EINVAL},
      {"getpeername", [&] { return sl_getpeername(fd, reinterpret_cast<sockaddr*>(&a), &length); }, ENOTCONN},
      {"bind elsewhere", [&] { return bind(fd, "1.2.3.4", 0); }, EADDRNOTAVAIL},
      {"option", [&] { return sl_setsockopt(fd, IPPROTO_TCP, 9999, &length, sizeof length); }, ENOPROTOOPT},
      {"option's length", [&] { return sl_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &length, 1); }, EINVAL},
      {"option from nowhere", [&] { return sl_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, nullptr, 4); }, EFAULT},
      {"ioctl", [&] { return sl_ioctl(fd, 0x1234, nullptr); }, ENOTTY},
  });
}

// A controller is chosen by name, at any time; an unknown name changes nothing.
TEST_F(ErrnoTest, CongestionControl) {
  const Pair pair = connected();
  const auto chosen = [&] {
    char name[16] = "";
    socklen_t length = sizeof name;
    EXPECT_EQ(sl_getsockopt(pair.client, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
    return std::string(name);
  };
  const auto choose = [&](const char* name) {
    return sl_setsockopt(pair.client, IPPROTO_TCP, TCP_CONGESTION, name, static_cast<socklen_t>(strlen(name)));
  };
  EXPECT_EQ(chosen(), "cubic");  // by default
  for (const char* name : {"cubic", "bbr", "bbr3", "dctcp", "newreno"}) {
    EXPECT_EQ(choose(name), 0);
    EXPECT_EQ(chosen(), name);
  }
  check({{"unknown", [&] { return choose("vegas"); }, ENOENT}});
  EXPECT_EQ(chosen(), "newreno");
}

// How long the answers are: as on Linux, cut to the room there is.
TEST_F(ErrnoTest, LengthsOfOptions) {
  const Pair pair = connected();
  struct LengthRow {
    int name;
    socklen_t room, length;
  };
  for (const LengthRow& row : {LengthRow{TCP_INFO, 300, 280}, LengthRow{TCP_INFO, 104, 104}, LengthRow{TCP_INFO, 1, 1},
                               LengthRow{TCP_CONGESTION, 100, 16}, LengthRow{TCP_CONGESTION, 5, 5},
                               LengthRow{TCP_USER_TIMEOUT, 8, 4}, LengthRow{TCP_MAXSEG, 2, 2}}) {
    std::array<char, 300> value{};
    socklen_t length = row.room;
    EXPECT_EQ(sl_getsockopt(pair.client, IPPROTO_TCP, row.name, value.data(), &length), 0) << row.name;
    EXPECT_EQ(length, row.length) << row.name;
  }
}

TEST_F(ErrnoTest, TcpInfo) {
  const Pair pair = connected();
  EXPECT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  EXPECT_EQ(sl_recv(pair.server, buffer_, 3, MSG_WAITALL), 3);
  tcp_info info{};
  socklen_t length = sizeof info;
  EXPECT_EQ(sl_getsockopt(pair.server, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
  EXPECT_EQ(length, sizeof info);
  EXPECT_EQ(info.tcpi_state, TCP_ESTABLISHED);
  EXPECT_EQ(info.tcpi_ca_state, TCP_CA_Open);
  EXPECT_EQ(info.tcpi_options, TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE);
  EXPECT_EQ(info.tcpi_snd_mss, 1448u);
  EXPECT_EQ(info.tcpi_advmss, 1460u);
  EXPECT_EQ(info.tcpi_pmtu, 1500u);
  EXPECT_EQ(info.tcpi_snd_cwnd, 10u);
  EXPECT_EQ(info.tcpi_snd_ssthresh, 0x7fffffffu);
  EXPECT_EQ(info.tcpi_total_retrans, 0u);
  const int listening = listener(kPort + 7);
  EXPECT_EQ(sl_getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
  EXPECT_EQ(info.tcpi_state, TCP_LISTEN);
}

TEST_F(ErrnoTest, RangesOfOptions) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  const auto set = [&](int name, int value) { return sl_setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value); };
  const auto get = [&](int name) {
    int value = -77;
    socklen_t length = sizeof value;
    EXPECT_EQ(sl_getsockopt(fd, IPPROTO_TCP, name, &value, &length), 0);
    return value;
  };
  struct ValueRow {
    int name, value, got;  // got: after setting value; kRefused: EINVAL
  };
  constexpr int kRefused = -99;
  const ValueRow rows[] = {
      {TCP_SYNCNT, 0, kRefused},       {TCP_SYNCNT, 3, 3},
      {TCP_SYNCNT, 128, kRefused},     {TCP_LINGER2, -5, -1},
      {TCP_LINGER2, 20, 20},           {TCP_LINGER2, 1000, 120},
      {TCP_DEFER_ACCEPT, 1, 1},        {TCP_DEFER_ACCEPT, 4, 7},
      {TCP_DEFER_ACCEPT, 0, 0},        {TCP_NOTSENT_LOWAT, 9, 9},
      {TCP_WINDOW_CLAMP, 1, 1152},     {TCP_WINDOW_CLAMP, 5000, 5000},
      {TCP_MAXSEG, 87, kRefused},      {TCP_MAXSEG, 1000, 1000},
      {TCP_MAXSEG, 32768, kRefused},   {TCP_USER_TIMEOUT, -1, kRefused},
      {TCP_USER_TIMEOUT, 5, 5},        {TCP_KEEPCNT, 0, kRefused},
      {TCP_KEEPIDLE, 32768, kRefused},
  };
  for (const ValueRow& row : rows) {
    const int done = set(row.name, row.value);
    EXPECT_EQ(done == 0, row.got != kRefused) << row.name << " " << row.value;
    if (done == 0) {
      EXPECT_EQ(get(row.name), row.got) << row.name << " " << row.value;
    }
  }
}

// SO_MAX_PACING_RATE has 32 or 64 bits; all ones is no limit; what does not fit is the largest that does.
TEST_F(ErrnoTest, PacingLimit) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  const auto limit = [&] {
    std::uint32_t rate = 0;
    socklen_t length = sizeof rate;
    EXPECT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &length), 0);
    return rate;
  };
  EXPECT_EQ(limit(), UINT32_MAX);
  const std::uint32_t narrow[] = {1, 125'000, 3'000'000'000, UINT32_MAX};
  for (const std::uint32_t rate : narrow) {
    EXPECT_EQ(sl_setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate), 0);
    EXPECT_EQ(limit(), rate);
  }
  const std::uint64_t wide[] = {125'000, std::uint64_t{1} << 40, UINT64_MAX};
  for (const std::uint64_t rate : wide) {
    EXPECT_EQ(sl_setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate), 0);
    EXPECT_EQ(limit(), std::min<std::uint64_t>(rate, UINT32_MAX));
  }
  const std::uint32_t none = 0;
  check({{"nothing", [&] { return sl_setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &none, sizeof none); }, EINVAL}});
}

TEST_F(ErrnoTest, Socket) {
  check({
      {"family", [&] { return sl_socket(AF_UNIX, SOCK_STREAM, 0); }, EAFNOSUPPORT},
      {"type", [&] { return sl_socket(AF_INET, SOCK_SEQPACKET, 0); }, ESOCKTNOSUPPORT},
      {"protocol", [&] { return sl_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP); }, EPROTONOSUPPORT},
  });
}

TEST_F(ErrnoTest, AddressInUse) {
  const int one = socket_of(*client_, SOCK_STREAM), two = socket_of(*client_, SOCK_STREAM);
  const int third = socket_of(*client_, SOCK_DGRAM), fourth = socket_of(*client_, SOCK_DGRAM);
  check({
      {"bind", [&] { return bind(one, kClientHost, kPort); }, 0},
      {"bind again", [&] { return bind(one, kClientHost, kPort); }, EINVAL},
      {"bind another", [&] { return bind(two, kClientHost, kPort); }, EADDRINUSE},
      {"bind another to any", [&] { return bind(two, "0.0.0.0", kPort); }, EADDRINUSE},
      {"udp has ports of its own", [&] { return bind(third, kClientHost, kPort); }, 0},
      {"bind another, udp", [&] { return bind(fourth, kClientHost, kPort); }, EADDRINUSE},
      {"free again", [&] { return sl_close(one) + bind(two, kClientHost, kPort); }, 0},
  });
}

TEST_F(ErrnoTest, Connected) {
  const Pair pair = connected();
  EXPECT_EQ(events(pair.client), POLLOUT);
  check({
      {"connect", [&] { return connect(pair.client, kServerHost, kPort); }, EISCONN},
      {"connect the accepted one", [&] { return connect(pair.server, kClientHost, kPort); }, EISCONN},
      {"listen", [&] { return sl_listen(pair.client, 1); }, EINVAL},
      {"accept", [&] { return sl_accept(pair.client, nullptr, nullptr); }, EINVAL},
      {"bind", [&] { return bind(pair.client, kClientHost, 0); }, EINVAL},
  });
}

TEST_F(ErrnoTest, Listening) {
  const int fd = listener();
  EXPECT_EQ(events(fd), 0);
  check({
      {"connect", [&] { return connect(fd, kClientHost, kPort); }, EISCONN},
      {"recv", [&] { return sl_recv(fd, buffer_, 1, 0); }, ENOTCONN},
      {"send", [&] { return sl_send(fd, "x", 1, 0); }, EPIPE},
      {"shut down writing", [&] { return sl_shutdown(fd, SHUT_WR); }, 0},
      {"still listening", [&] { return sl_fcntl(fd, F_SETFL, O_NONBLOCK) + sl_accept(fd, nullptr, nullptr); }, EAGAIN},
      {"shut down reading", [&] { return sl_shutdown(fd, SHUT_RD); }, 0},
      {"no longer", [&] { return sl_accept(fd, nullptr, nullptr); }, EINVAL},
      {"listen again", [&] { return sl_listen(fd, 1); }, 0},
      {"listening again", [&] { return sl_accept(fd, nullptr, nullptr); }, EAGAIN},
  });
}

TEST_F(ErrnoTest, RefusedAndRetried) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  check({
      {"refused", [&] { return connect(fd, kServerHost, kDeafPort); }, ECONNREFUSED},
      {"told once", [&] { return error_of(fd); }, 0},
      {"refused again", [&] { return connect(fd, kServerHost, kDeafPort); }, ECONNREFUSED},
  });
  EXPECT_EQ(events(fd), POLLOUT | POLLHUP);
  (void)listener();
  check({{"accepted", [&] { return connect(fd, kServerHost, kPort); }, 0}});
}

TEST_F(ErrnoTest, RefusedWithoutWaiting) {
  const int fd = socket_of(*client_, SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(outcome_of([&] { return connect(fd, kServerHost, kDeafPort); }), failed(EINPROGRESS));
  EXPECT_EQ(wait_for_events(fd, POLLIN | POLLOUT | POLLERR | POLLHUP), POLLIN | POLLOUT | POLLERR | POLLHUP);
  EXPECT_EQ(error_of(fd), ECONNREFUSED);
  EXPECT_EQ(error_of(fd), 0);
  EXPECT_EQ(events(fd), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  check({
      {"recv", [&] { return sl_recv(fd, buffer_, 1, 0); }, 0},
      {"send", [&] { return sl_send(fd, "x", 1, 0); }, EPIPE},
      {"connect", [&] { return connect(fd, kServerHost, kDeafPort); }, ECONNABORTED},
      {"connect anew", [&] { return connect(fd, kServerHost, kDeafPort); }, EINPROGRESS},
  });
}

TEST_F(ErrnoTest, Connecting) {
  const int fd = socket_of(*client_, SOCK_STREAM | SOCK_NONBLOCK);
  sockaddr_in a{};
  socklen_t length = sizeof a;
  check({
      {"connect", [&] { return connect(fd, kNobody, kPort); }, EINPROGRESS},
      {"connect again", [&] { return connect(fd, kNobody, kPort); }, EALREADY},
      {"recv", [&] { return sl_recv(fd, buffer_, 1, 0); }, EAGAIN},
      {"send", [&] { return sl_send(fd, "x", 1, 0); }, EAGAIN},
      {"getpeername", [&] { return sl_getpeername(fd, reinterpret_cast<sockaddr*>(&a), &length); }, ENOTCONN},
      {"nothing to poll", [&] { return events(fd); }, 0},
      {"shutdown", [&] { return sl_shutdown(fd, SHUT_RD); }, 0},
  });
  EXPECT_EQ(error_of(fd), ECONNRESET);
  EXPECT_EQ(events(fd), POLLOUT | POLLHUP);
}

TEST_F(ErrnoTest, Reset) {
  const Pair pair = connected();
  const linger now{1, 0};
  ASSERT_EQ(sl_setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  ASSERT_EQ(sl_close(pair.server), 0);
  constexpr short kAll = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP;
  EXPECT_EQ(wait_for_events(pair.client, kAll), kAll);
  check({
      {"recv", [&] { return sl_recv(pair.client, buffer_, 1, 0); }, ECONNRESET},
      {"recv again", [&] { return sl_recv(pair.client, buffer_, 1, 0); }, 0},
      {"send", [&] { return sl_send(pair.client, "x", 1, 0); }, EPIPE},
      {"shutdown", [&] { return sl_shutdown(pair.client, SHUT_RDWR); }, ENOTCONN},
  });
  EXPECT_EQ(events(pair.client), kAll & ~POLLERR);
}

TEST_F(ErrnoTest, ShutDown) {
  const Pair pair = connected();
  check({
      {"stop reading", [&] { return sl_shutdown(pair.client, SHUT_RD); }, 0},
      {"recv", [&] { return sl_recv(pair.client, buffer_, 1, 0); }, 0},
      {"send", [&] { return sl_send(pair.client, "x", 1, 0); }, 0},
      {"stop writing", [&] { return sl_shutdown(pair.client, SHUT_WR); }, 0},
      {"send no more", [&] { return sl_send(pair.client, "x", 1, 0); }, EPIPE},
  });
}

TEST_F(ErrnoTest, Datagram) {
  const int fd = socket_of(*client_, SOCK_DGRAM);
  sockaddr_in a = address(kServerHost, kDeafPort);
  socklen_t length = sizeof a;
  const std::vector<char> large(65'508);
  check({
      {"send", [&] { return sl_send(fd, "x", 1, 0); }, EDESTADDRREQ},
      {"getpeername", [&] { return sl_getpeername(fd, reinterpret_cast<sockaddr*>(&a), &length); }, ENOTCONN},
      {"shutdown", [&] { return sl_shutdown(fd, SHUT_RDWR); }, ENOTCONN},
      {"listen", [&] { return sl_listen(fd, 1); }, EOPNOTSUPP},
      {"accept", [&] { return sl_accept(fd, nullptr, nullptr); }, EOPNOTSUPP},
      {"too large", [&] { return sl_sendto(fd, large.data(), large.size(), 0, generic(a), sizeof a); }, EMSGSIZE},
      {"connect", [&] { return connect(fd, kServerHost, kDeafPort); }, 0},
      {"send into the void", [&] { return sl_send(fd, "x", 1, 0); }, 0},
      {"the port is closed", [&] { return sl_recv(fd, buffer_, 1, 0); }, ECONNREFUSED},
  });
}

}  // namespace
}  // namespace sluice::runtime_test
