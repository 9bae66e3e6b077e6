// sluice benchd: the stack's end of measurements. TCP 5001 discards, 5002 sends without end, 5003 echoes, 5005
// echoes once and closes, 8080 answers HTTP with a fixed page and keep-alive; UDP 5004 echoes. Any outside client can
// then measure the stack.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

#include <array>
#include <list>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
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
constexpr std::array kStreamPorts = {kDiscard, kSource, kEcho, kEchoAndClose, kHttp};
constexpr std::size_t kChunk = 256 << 10;
constexpr std::size_t kSmallChunk = 16 << 10;
constexpr int kCallsAtOnce = 4;
constexpr int kDatagramsAtOnce = 64;
constexpr std::string_view kMark = "sluice benchd: what follows is made to be measured";
constexpr std::string_view kPage =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, sluice\n";

// Answers, not bulk: its last bytes may go with what follows.
void send_at_once(int fd, std::uint16_t port) {
  if (port == kSource) return;
  const int on = 1;
  (void)sl_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// A page for each request that ends in these bytes; load generators send requests whole. False when one was not taken.
bool answer_http(int fd, std::string_view requests) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  for (std::size_t at = requests.find(kEnd); at != std::string_view::npos; at = requests.find(kEnd, at + kEnd.size())) {
    if (sl_send(fd, kPage.data(), kPage.size(), 0) != static_cast<ssize_t>(kPage.size())) return false;
  }
  return true;
}

// What the service of this port does with bytes received; false when the connection is to be closed.
bool answer(int fd, std::uint16_t port, std::string_view received) {
  if (port == kDiscard) return true;
  if (port == kHttp) return answer_http(fd, received);
  const bool sent = sl_send(fd, received.data(), received.size(), 0) == static_cast<ssize_t>(received.size());
  return sent && port == kEcho;
}

// Takes bytes from the stream and drops them: recv() with `buffer`, or with none a look at them where they are.
ssize_t discard(int fd, std::span<char> buffer) {
  if (!buffer.empty()) return sl_recv(fd, buffer.data(), buffer.size(), 0);
  sl_buffer lent{};
  const ssize_t n = sl_recv_lend(fd, &lent, 0);
  (void)sl_buffer_return(&lent);
  return n;
}

// Fills the buffer, unless it is one that came back as it went out: no other bytes of the stack's memory get to the
// network, and producing the bytes is not what is measured.
void fill(const sl_buffer& buffer) {
  auto* const bytes = static_cast<char*>(buffer.data);
  const std::string_view begin(bytes, kMark.size());
  if (begin == kMark) return;
  memset(bytes, 'x', buffer.size);
  memcpy(bytes, kMark.data(), kMark.size());
}

// Puts bytes into the stream: send() of `buffer`, or with none a buffer of the stack's. -1 as send().
ssize_t produce(int fd, std::span<char> buffer) {
  if (!buffer.empty()) return sl_send(fd, buffer.data(), buffer.size(), 0);
  sl_buffer borrowed{};
  if (sl_send_borrow(fd, &borrowed) < 0) return -1;
  fill(borrowed);
  const ssize_t n = sl_send_commit(fd, &borrowed, borrowed.size, 0);
  const int error = errno;
  if (n < 0) (void)sl_buffer_return(&borrowed);
  errno = error;
  return n;
}

bool echo_datagram(int fd) {
  std::array<char, 2048> datagram;
  sockaddr_in from{};
  socklen_t length = sizeof from;
  const ssize_t n = sl_recvfrom(fd, datagram.data(), datagram.size(), 0, net::generic(from), &length);
  if (n < 0) return false;
  (void)sl_sendto(fd, datagram.data(), static_cast<std::size_t>(n), 0, net::generic(from), length);
  return true;
}

class Bench {
 public:
  Bench(EventLoop& loop, bool zero_copy) : loop_(loop), buffer_(kChunk, 'x'), bulk_(buffer_) {
    if (zero_copy) bulk_ = {};
    for (const std::uint16_t port : kStreamPorts) listen(port);
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
      send_at_once(fd, port);
      loop_.watch(fd, port == kSource ? POLLOUT : POLLIN, [this, fd, port](short) { serve(fd, port); });
    }
  }

  // Bulk: some calls at a time, before others have their turn.
  void move_bulk(int fd, std::uint16_t port) {
    ssize_t n = 1;
    for (int i = 0; i < kCallsAtOnce && n > 0; ++i) n = port == kSource ? produce(fd, bulk_) : discard(fd, bulk_);
    if (n == 0 || (n < 0 && errno != EAGAIN)) drop(fd);
  }

  void serve(int fd, std::uint16_t port) {
    if (port == kSource || port == kDiscard) return move_bulk(fd, port);
    const ssize_t n = sl_recv(fd, buffer_.data(), buffer_.size(), 0);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    if (!answer(fd, port, {buffer_.data(), static_cast<std::size_t>(n)})) drop(fd);
  }

  void echo_datagrams() {
    for (int i = 0; i < kDatagramsAtOnce && echo_datagram(datagrams_.fd()); ++i) {
    }
  }

  void drop(int fd) {
    loop_.unwatch(fd);
    (void)sl_close(fd);
  }

  EventLoop& loop_;
  std::vector<char> buffer_;
  std::span<char> bulk_;  // buffer_; empty: no copy
  std::vector<net::Socket> listeners_;
  net::Socket datagrams_;
};

class BlockingBench {
 public:
  explicit BlockingBench(bool zero_copy) : zero_copy_(zero_copy) {}
  ~BlockingBench() {
    for (Connection& c : connections_) {
      const std::lock_guard guard(mutex_);
      if (c.fd >= 0) (void)sl_shutdown(c.fd, SHUT_RDWR);  // its thread's call returns
    }
    for (Connection& c : connections_) c.thread.join();
    if (datagrams_.joinable()) datagrams_.join();
  }

  void run() {
    std::array<net::Socket, kStreamPorts.size()> listeners;
    std::array<pollfd, kStreamPorts.size()> ready{};
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      listeners[i] = listen_stream(kStreamPorts[i]);
      ready[i] = {listeners[i].fd(), POLLIN, 0};
    }
    datagrams_ = std::thread(echo_datagrams);
    while (!interrupted()) {
      if (sl_poll(ready.data(), ready.size(), kLookForEndMs) <= 0) continue;
      for (std::size_t i = 0; i < ready.size(); ++i) {
        if (ready[i].revents != 0) accept_all(ready[i].fd, kStreamPorts[i]);
      }
    }
  }

 private:
  static constexpr int kLookForEndMs = 200;

  struct Connection {
    int fd;  // -1: closed
    std::thread thread;
  };

  void accept_all(int listener, std::uint16_t port) {
    join_ended();
    for (int fd = sl_accept(listener, nullptr, nullptr); fd >= 0; fd = sl_accept(listener, nullptr, nullptr)) {
      send_at_once(fd, port);
      Connection& c = connections_.emplace_back(Connection{fd, {}});
      c.thread = std::thread([this, &c, fd, port] {
        serve(fd, port);
        const std::lock_guard guard(mutex_);
        c.fd = -1;
        (void)sl_close(fd);
      });
    }
  }

  void join_ended() {
    for (auto c = connections_.begin(); c != connections_.end();) {
      const bool ended = [&] {
        const std::lock_guard guard(mutex_);
        return c->fd < 0;
      }();
      if (ended) c->thread.join();
      c = ended ? connections_.erase(c) : std::next(c);
    }
  }

  void serve(int fd, std::uint16_t port) const {
    if (port == kDiscard || port == kSource) {
      std::vector<char> buffer(zero_copy_ ? 0 : kChunk, 'x');
      while ((port == kSource ? produce(fd, buffer) : discard(fd, buffer)) > 0) {
      }
      return;
    }
    std::vector<char> buffer(kSmallChunk);
    for (;;) {
      const ssize_t n = sl_recv(fd, buffer.data(), buffer.size(), 0);
      if (n <= 0 || !answer(fd, port, {buffer.data(), static_cast<std::size_t>(n)})) return;
    }
  }

  static void echo_datagrams() {
    const net::Socket socket = bind_datagram(kUdpEcho);
    (void)sl_fcntl(socket.fd(), F_SETFL, 0);
    const timeval limit{0, kLookForEndMs * 1000};
    (void)sl_setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (!interrupted()) (void)echo_datagram(socket.fd());
  }

  bool zero_copy_;
  std::mutex mutex_;                   // of every Connection::fd
  std::list<Connection> connections_;  // of the thread that accepts
  std::thread datagrams_;
};

}  // namespace

int run_benchd(const Common& common, const BenchdOptions& options) {
  if (options.blocking) {
    const auto session = BlockingSession::open(common);
    if (!session) return session.error();
    BlockingBench(options.zero_copy).run();
    return kExitOk;
  }
  const auto session = LoopSession::open(common);
  if (!session) return session.error();
  Bench bench((*session)->loop(), options.zero_copy);
  return (*session)->run();
}

}  // namespace sluice::apps
