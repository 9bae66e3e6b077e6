// sluice nc: standard input to a TCP or UDP peer, the peer to standard output. Data on stdout, messages on stderr.
#include <stdio.h>
#include <string.h>
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
  Nc(const NcOptions& options, const wire::Address& host) : options_(options), peer_(net::to_sockaddr({host, options.port})) {}

  int connect() {
    net::Socket s(sl_socket(AF_INET, options_.udp ? SOCK_DGRAM : SOCK_STREAM, 0));
    if (sl_connect(s.fd(), net::generic(peer_), sizeof peer_) < 0) return complain("connect");
    if (options_.verbose) fprintf(stderr, "Connection to %s %u port succeeded!\n", options_.host.c_str(), options_.port);
    return options_.scan ? kExitOk : relay(s.fd());
  }

  int listen() {
    net::Socket s(sl_socket(AF_INET, options_.udp ? SOCK_DGRAM : SOCK_STREAM, 0));
    const sockaddr_in local = net::to_sockaddr({wire::Ipv4Address::any(), options_.port});
    if (sl_bind(s.fd(), net::generic(local), sizeof local) < 0) return complain("bind");
    if (options_.verbose) fprintf(stderr, "Listening on 0.0.0.0 %u\n", options_.port);
    if (options_.udp) return listen_datagram(s.fd());
    if (sl_listen(s.fd(), 16) < 0) return complain("listen");
    int code = kExitOk;
    do {
      net::Socket connection(sl_accept(s.fd(), net::generic(peer_), &length_));
      if (!connection) return interrupted() ? code : complain("accept");
      if (options_.verbose) fprintf(stderr, "Connection received on %s\n", to_text(net::to_endpoint(peer_)).c_str());
      code = relay(connection.fd());
    } while (options_.keep && !interrupted());
    return code;
  }

 private:
  int complain(const char* what) const {
    fprintf(stderr, "nc: %s: %s\n", what, strerror(errno));
    return kExitFailed;
  }

  // The first datagram tells who the peer is.
  int listen_datagram(int fd) {
    const ssize_t n = sl_recvfrom(fd, buffer_.data(), buffer_.size(), 0, net::generic(peer_), &length_);
    if (n < 0) return complain("recvfrom");
    if (!write_all(STDOUT_FILENO, buffer_.data(), static_cast<std::size_t>(n))) return complain("stdout");
    if (sl_connect(fd, net::generic(peer_), sizeof peer_) < 0) return complain("connect");
    return relay(fd);
  }

  int relay(int fd) {
    bool reading_stdin = true;
    bool reading_peer = true;
    while (reading_peer || reading_stdin) {  // until both directions are done
      pollfd p[2] = {{fd, static_cast<short>(reading_peer ? POLLIN : 0), 0}, {reading_stdin ? STDIN_FILENO : -1, POLLIN, 0}};
      const int timeout = options_.timeout > 0 ? static_cast<int>(options_.timeout * 1000) : -1;
      const int n = sl_poll(p, reading_stdin ? 2 : 1, timeout);
      if (n < 0) return errno == EINTR ? kExitOk : complain("poll");
      if (n == 0) return kExitOk;  // silence for the time allowed
      if (reading_peer && p[0].revents != 0 && !to_stdout(fd)) {
        reading_peer = false;
        if (result_ != kExitOk) return result_;
      }
      if (reading_stdin && p[1].revents != 0) {
        const ssize_t got = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
        if (got <= 0) {
          reading_stdin = false;
          if (!options_.udp && options_.shutdown_on_eof) (void)sl_shutdown(fd, SHUT_WR);
          continue;
        }
        if (sl_send(fd, buffer_.data(), static_cast<std::size_t>(got), 0) < 0) return complain("send");
      }
    }
    return kExitOk;
  }

  // False at the end of the peer's stream.
  bool to_stdout(int fd) {
    const ssize_t n = sl_recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n > 0 || (n == 0 && options_.udp)) return write_all(STDOUT_FILENO, buffer_.data(), static_cast<std::size_t>(n));
    if (n < 0 && errno == EAGAIN) return true;
    result_ = n == 0 ? kExitOk : complain("recv");
    return false;
  }

  const NcOptions& options_;
  sockaddr_in peer_;
  socklen_t length_ = sizeof peer_;
  int result_ = kExitOk;
  std::array<char, kChunk> buffer_;
};

}  // namespace

int run_nc(const Common& common, const NcOptions& options) {
  wire::Address host;
  if (!options.listen && !parse_host(options.host, host)) return kExitUsage;
  const auto runtime = open_runtime(common, Options::Threads::kThreads);
  if (runtime == nullptr) return kExitUnavailable;
  catch_interrupt();
  Nc nc(options, host);
  const int code = options.listen ? nc.listen() : nc.connect();
  linger_until_sent(*runtime);
  if (common.statistics) print_statistics(*runtime, common.json);
  return code;
}

}  // namespace sluice::apps
