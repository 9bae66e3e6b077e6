// sluice nc: standard input to a TCP or UDP peer, the peer to standard output. Data on stdout, messages on stderr.
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

constexpr std::size_t kChunk = 64 << 10;

bool write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

class Nc {
 public:
  Nc(const NcOptions& options, const wire::Address& host)
      : options_(options), peer_(net::to_sockaddr({host, options.port})) {}

  int connect() {
    const net::Socket s(sl_socket(AF_INET, options_.udp ? SOCK_DGRAM : SOCK_STREAM, 0));
    if (options_.source_port != 0 && !bind(s.fd(), options_.source_port)) return complain("bind");
    if (!sign(s.fd(), peer_.sin_addr, 32)) return complain("a key");
    const auto us = static_cast<std::int64_t>(options_.timeout * 1e6);
    const timeval patience{us / 1'000'000, us % 1'000'000};
    (void)sl_setsockopt(s.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (sl_connect(s.fd(), net::generic(peer_), sizeof peer_) < 0) {
      if (errno == EINPROGRESS || errno == EAGAIN) errno = ETIMEDOUT;  // our own patience ended, not TCP's
      fprintf(stderr, "nc: connect to %s port %u: %s\n", options_.host.c_str(), options_.port, strerror(errno));
      return kExitFailed;
    }
    if (options_.verbose || options_.scan) {
      const char* protocol = options_.udp ? "udp" : "tcp";
      fprintf(stderr, "Connection to %s %u port [%s] succeeded!\n", options_.host.c_str(), options_.port, protocol);
    }
    return options_.scan ? kExitOk : relay(s.fd());
  }

  int listen() {
    const net::Socket s(sl_socket(AF_INET, options_.udp ? SOCK_DGRAM : SOCK_STREAM, 0));
    const int on = 1;
    (void)sl_setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(s.fd(), options_.port)) return complain("bind");
    if (!sign(s.fd(), {}, 0)) return complain("a key");
    if (!options_.udp && sl_listen(s.fd(), 16) < 0) return complain("listen");
    if (options_.verbose) fprintf(stderr, "Listening on 0.0.0.0 %u\n", options_.port);
    int code = kExitOk;
    do {
      code = options_.udp ? serve_datagrams(s.fd()) : serve_connection(s.fd());
    } while (options_.keep && !interrupted());
    return code;
  }

 private:
  static bool bind(int fd, std::uint16_t port) {
    const sockaddr_in local = net::to_sockaddr({wire::Ipv4Address::any(), port});
    return sl_bind(fd, net::generic(local), sizeof local) == 0;
  }
  // With those whose address begins with these bits.
  [[nodiscard]] bool sign(int fd, in_addr peers, std::uint8_t bits) const {
    if (options_.md5.empty()) return true;
    const sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = peers, .sin_zero = {}};
    tcp_md5sig key{};
    memcpy(&key.tcpm_addr, &address, sizeof address);
    key.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
    key.tcpm_prefixlen = bits;
    key.tcpm_keylen = static_cast<std::uint16_t>(options_.md5.size());
    memcpy(key.tcpm_key, options_.md5.data(), options_.md5.size());
    return sl_setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG_EXT, &key, sizeof key) == 0;
  }
  static int complain(const char* what) {
    if (errno == EINTR) return kExitOk;
    fprintf(stderr, "nc: %s: %s\n", what, strerror(errno));
    return kExitFailed;
  }
  void tell_peer() const {
    if (options_.verbose) fprintf(stderr, "Connection received on %s\n", to_text(net::to_endpoint(peer_)).c_str());
  }

  int serve_connection(int listener) {
    socklen_t length = sizeof peer_;
    const net::Socket connection(sl_accept(listener, net::generic(peer_), &length));
    if (!connection) return complain("accept");
    tell_peer();
    return relay(connection.fd());
  }

  // The first datagram tells who the peer is; with -k, whoever sends is read, and nobody answered.
  int serve_datagrams(int fd) {
    socklen_t length = sizeof peer_;
    const ssize_t n = sl_recvfrom(fd, received_.data(), received_.size(), 0, net::generic(peer_), &length);
    if (n < 0) return complain("recvfrom");
    tell_peer();
    if (!write_all(STDOUT_FILENO, received_.data(), static_cast<std::size_t>(n))) return complain("stdout");
    if (options_.keep) return kExitOk;
    if (sl_connect(fd, net::generic(peer_), sizeof peer_) < 0) return complain("connect");
    return relay(fd);
  }

  // Both directions at once, until both are done. What the send queue does not take waits in pending_, and standard
  // input with it: neither direction ever holds up the other.
  int relay(int fd) {
    open_in_ = reading_stdin_ = true;
    pending_ = {};
    while (open_in_ || reading_stdin_ || !pending_.empty()) {
      const int net_events = (open_in_ ? POLLIN : 0) | (pending_.empty() ? 0 : POLLOUT);
      const bool want_input = reading_stdin_ && pending_.empty();
      pollfd p[2] = {{fd, static_cast<short>(net_events), 0}, {want_input ? STDIN_FILENO : -1, POLLIN, 0}};
      const int timeout = options_.timeout > 0 ? static_cast<int>(options_.timeout * 1000) : -1;
      const int n = sl_poll(p, 2, timeout);
      if (n < 0) return complain("poll");
      if (n == 0) return kExitOk;  // silence for the time allowed
      if (want_input && p[1].revents != 0) read_stdin(fd);
      if (p[0].revents != 0 && !move_data(fd)) return kExitFailed;
      const bool over = (p[0].revents & (POLLERR | POLLHUP)) != 0;
      if (over && !open_in_ && reading_stdin_) return errno = ECONNRESET, complain("send");
    }
    return kExitOk;
  }

  void read_stdin(int fd) {
    const ssize_t got = ::read(STDIN_FILENO, input_.data(), input_.size());
    if (got > 0) {
      pending_ = std::string_view(input_.data(), static_cast<std::size_t>(got));
      (void)send_pending(fd);  // an error shows itself at the next poll
      return;
    }
    reading_stdin_ = false;
    if (!options_.udp && options_.shutdown_on_eof) (void)sl_shutdown(fd, SHUT_WR);
  }

  bool send_pending(int fd) {
    const ssize_t n = sl_send(fd, pending_.data(), pending_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) pending_.remove_prefix(static_cast<std::size_t>(n));
    return n >= 0 || errno == EAGAIN;
  }

  // False when the connection has failed.
  bool move_data(int fd) {
    if (!pending_.empty() && !send_pending(fd)) return complain("send"), false;
    if (!open_in_) return true;
    const ssize_t n = sl_recv(fd, received_.data(), received_.size(), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN ? true : (complain("recv"), false);
    if (n == 0 && !options_.udp) open_in_ = false;
    return write_all(STDOUT_FILENO, received_.data(), static_cast<std::size_t>(n)) || (complain("stdout"), false);
  }

  const NcOptions& options_;
  sockaddr_in peer_;
  bool open_in_ = true;  // the peer may still send
  bool reading_stdin_ = true;
  std::string_view pending_;  // of input_, not sent yet
  std::array<char, kChunk> input_;
  std::array<char, kChunk> received_;
};

}  // namespace

int run_nc(const Common& common, const NcOptions& options) {
  wire::Address host;
  if (!options.listen && !parse_host(options.host, host)) return kExitUsage;
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  Nc nc(options, host);
  return options.listen ? nc.listen() : nc.connect();
}

}  // namespace sluice::apps
