// sluice echo: returns what it is sent, over TCP and UDP (RFC 862).
#include <stdio.h>

#include <array>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

class Echo {
 public:
  Echo(EventLoop& loop, std::uint16_t port)
      : loop_(loop), listener_(listen_stream(port)), datagrams_(bind_datagram(port)) {
    if (!ready()) return;
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept(); });
    loop_.watch(datagrams_.fd(), POLLIN, [this](short) { echo_datagram(); });
  }
  [[nodiscard]] bool ready() const { return listener_ && datagrams_; }

 private:
  void accept() {
    const int fd = sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
    if (fd >= 0) loop_.watch(fd, POLLIN, [this, fd](short) { echo_stream(fd); });
  }

  // Peeks, sends what the send queue takes, and only then takes that much off the receive queue: nothing is buffered
  // here, and a peer that does not read stops being read.
  void echo_stream(int fd) {
    const ssize_t got = sl_recv(fd, buffer_.data(), buffer_.size(), MSG_PEEK);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(fd);
    const ssize_t sent = sl_send(fd, buffer_.data(), static_cast<std::size_t>(got), 0);
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    if (sent > 0) (void)sl_recv(fd, buffer_.data(), static_cast<std::size_t>(sent), 0);
    loop_.set_events(fd, sent < got ? POLLOUT : POLLIN);
  }

  void echo_datagram() {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t n = sl_recvfrom(datagrams_.fd(), buffer_.data(), buffer_.size(), 0, net::generic(from), &length);
    if (n >= 0)
      (void)sl_sendto(datagrams_.fd(), buffer_.data(), static_cast<std::size_t>(n), 0, net::generic(from), length);
  }

  void drop(int fd) {
    loop_.unwatch(fd);
    (void)sl_close(fd);
  }

  EventLoop& loop_;
  net::Socket listener_;
  net::Socket datagrams_;
  std::array<char, 65536> buffer_;
};

}  // namespace

int run_echo(const Common& common, const EchoOptions& options) {
  const auto session = LoopSession::open(common);
  if (!session) return session.error();
  Echo echo((*session)->loop(), options.port);
  if (!echo.ready()) {
    fprintf(stderr, "echo: port %u: %s\n", options.port, describe(static_cast<Errno>(errno)).c_str());
    return kExitFailed;
  }
  fprintf(stderr, "echo: port %u, TCP and UDP\n", options.port);
  return (*session)->run();
}

}  // namespace sluice::apps
