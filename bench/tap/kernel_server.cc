// The services of `sluice benchd` on kernel sockets, so that kernel-to-kernel is measured by the same client.
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <vector>

#include "bench/tap/kernel.h"

namespace {

using namespace bench;

int listen_on(std::uint16_t port) {
  const int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const sockaddr_in a = address_of("0.0.0.0", port);
  check(bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), "bind");
  check(listen(fd, 1024), "listen");
  return fd;
}

class KernelServer {
 public:
  explicit KernelServer(double seconds) : end_(now_seconds() + seconds), ep_(check(epoll_create1(0), "epoll_create1")) {
    for (const std::uint16_t port : {kDiscard, kSource, kEcho, kEchoAndClose, kHttp})
      add(listen_on(port), Role::kListener, port, EPOLLIN);
    const int udp = check(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), "socket");
    const sockaddr_in a = address_of("0.0.0.0", kUdpEcho);
    check(bind(udp, reinterpret_cast<const sockaddr*>(&a), sizeof a), "bind");
    add(udp, Role::kUdp, kUdpEcho, EPOLLIN);
  }

  void run() {
    std::array<epoll_event, 64> events{};
    while (now_seconds() < end_) {
      const int n = epoll_wait(ep_, events.data(), static_cast<int>(events.size()), 100);
      for (int i = 0; i < n; ++i) serve(static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.fd));
    }
  }

 private:
  enum class Role : std::uint8_t { kNone, kListener, kConnection, kUdp };
  struct Entry {
    Role role = Role::kNone;
    std::uint16_t port = 0;
  };

  void add(int fd, Role role, std::uint16_t port, std::uint32_t wanted) {
    if (entries_.size() <= static_cast<std::size_t>(fd)) entries_.resize(static_cast<std::size_t>(fd) + 1);
    entries_[static_cast<std::size_t>(fd)] = {role, port};
    epoll_event e{};
    e.events = wanted;
    e.data.fd = fd;
    check(epoll_ctl(ep_, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
  }

  void serve(std::size_t fd) {
    const Entry entry = entries_[fd];
    switch (entry.role) {
      case Role::kListener:
        return accept_all(static_cast<int>(fd), entry.port);
      case Role::kConnection:
        return serve_connection(static_cast<int>(fd), entry.port);
      case Role::kUdp:
        return serve_udp(static_cast<int>(fd));
      case Role::kNone:
        return;
    }
  }

  void accept_all(int listener, std::uint16_t port) {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      add(fd, Role::kConnection, port, port == kSource ? EPOLLOUT : EPOLLIN);
    }
  }

  void serve_connection(int fd, std::uint16_t port) {
    if (port == kSource) {
      if (send(fd, chunk_.data(), chunk_.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN) drop(fd);
      return;
    }
    const ssize_t n = recv(fd, chunk_.data(), chunk_.size(), 0);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    const auto got = static_cast<std::size_t>(n);
    if (port == kHttp) return answer_http(fd, std::string_view(chunk_.data(), got));
    if (port != kEcho && port != kEchoAndClose) return;
    if (send(fd, chunk_.data(), got, MSG_NOSIGNAL) != n || port == kEchoAndClose) drop(fd);
  }

  // A page for each request that ends in these bytes; load generators send requests whole.
  void answer_http(int fd, std::string_view requests) {
    constexpr std::string_view kEnd = "\r\n\r\n";
    for (std::size_t at = requests.find(kEnd); at != std::string_view::npos; at = requests.find(kEnd, at + 4)) {
      if (send(fd, kPage.data(), kPage.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kPage.size())) return drop(fd);
    }
  }

  void serve_udp(int fd) {
    constexpr int kBatch = 64;
    for (int i = 0; i < kBatch; ++i) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(fd, chunk_.data(), chunk_.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) return;
      (void)sendto(fd, chunk_.data(), static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }

  void drop(int fd) {
    entries_[static_cast<std::size_t>(fd)] = {};
    close(fd);
  }

  double end_;
  int ep_;
  std::vector<Entry> entries_;
  std::vector<char> chunk_ = std::vector<char>(kChunk, 'x');
};

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const double seconds = argc == 2 ? atof(argv[1]) : 0;
  if (seconds <= 0) {
    fprintf(stderr, "usage: kernel-server SECONDS\n");
    return 2;
  }
  KernelServer(seconds).run();
}
