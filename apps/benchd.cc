// sluice benchd: the stack's end of measurements. TCP 5001 discards, 5002 sends without end, 5003 echoes, 5005
// echoes once and closes, 8080 answers HTTP with a fixed page and keep-alive; UDP 5004 echoes. Any outside client can
// then measure the stack.
#include <netinet/tcp.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

constexpr std::uint16_t kDiscard = 5001;
constexpr std::uint16_t kSource = 5002;
constexpr std::uint16_t kEcho = 5003;
constexpr std::uint16_t kUdpEcho = 5004;
constexpr std::uint16_t kEchoAndClose = 5005;
constexpr std::uint16_t kHttp = 8080;
constexpr std::size_t kChunk = 256 << 10;
constexpr int kDatagramsAtOnce = 64;
constexpr std::string_view kPage =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, sluice\n";

class Bench {
 public:
  explicit Bench(EventLoop& loop) : loop_(loop), buffer_(kChunk, 'x') {
    for (const std::uint16_t port : {kDiscard, kSource, kEcho, kEchoAndClose, kHttp}) listen(port);
    datagrams_ = bind_datagram(kUdpEcho);
    loop_.watch(datagrams_.fd(), POLLIN, [this](short) { echo_datagrams(); });
  }

 private:
  void listen(std::uint16_t port) {
    const int fd = listeners_.emplace_back(listen_stream(port)).fd();
    loop_.watch(fd, POLLIN, [this, fd, port](short) { accept_all(fd, port); });
  }

  void accept_all(int listener, std::uint16_t port) {
    for (;;) {
      const int fd = sl_accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      (void)sl_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      loop_.watch(fd, port == kSource ? POLLOUT : POLLIN, [this, fd, port](short) { serve(fd, port); });
    }
  }

  void serve(int fd, std::uint16_t port) {
    if (port == kSource) {
      if (sl_send(fd, buffer_.data(), buffer_.size(), 0) < 0 && errno != EAGAIN) drop(fd);
      return;
    }
    const ssize_t n = sl_recv(fd, buffer_.data(), buffer_.size(), 0);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    const auto got = static_cast<std::size_t>(n);
    if (port == kHttp) return answer_http(fd, std::string_view(buffer_.data(), got));
    if (port != kEcho && port != kEchoAndClose) return;
    if (sl_send(fd, buffer_.data(), got, 0) != n || port == kEchoAndClose) drop(fd);
  }

  // A page for each request that ends in these bytes; load generators send requests whole.
  void answer_http(int fd, std::string_view requests) {
    for (std::size_t at = requests.find("\r\n\r\n"); at != std::string_view::npos;
         at = requests.find("\r\n\r\n", at + 4)) {
      if (sl_send(fd, kPage.data(), kPage.size(), 0) != static_cast<ssize_t>(kPage.size())) return drop(fd);
    }
  }

  void echo_datagrams() {
    std::array<char, 2048> datagram;
    for (int i = 0; i < kDatagramsAtOnce; ++i) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = sl_recvfrom(datagrams_.fd(), datagram.data(), datagram.size(), 0, net::generic(from), &length);
      if (n < 0) return;
      (void)sl_sendto(datagrams_.fd(), datagram.data(), static_cast<std::size_t>(n), 0, net::generic(from), length);
    }
  }

  void drop(int fd) {
    loop_.unwatch(fd);
    (void)sl_close(fd);
  }

  EventLoop& loop_;
  std::vector<char> buffer_;
  std::vector<net::Socket> listeners_;
  net::Socket datagrams_;
};

}  // namespace

int run_benchd(const Common& common) {
  const auto session = ServerSession::open(common);
  if (!session) return session.error();
  Bench bench((*session)->loop());
  return (*session)->run();
}

}  // namespace sluice::apps
