// The peer behind `--dev mem`: a second stack in this process, in a thread of its own, on an in-memory Ethernet link.
// It answers ping and has the small services of old: echo (7, TCP and UDP), discard (9), character generator (19), and
// a page on port 80. Something to talk to without any privilege.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "drivers/memory_link.h"
#include "drivers/runtime/impl.h"

namespace sluice {

namespace {

constexpr std::uint16_t kEcho = 7;
constexpr std::uint16_t kDiscard = 9;
constexpr std::uint16_t kGenerator = 19;
constexpr std::uint16_t kHttp = 80;
constexpr std::size_t kChunk = 64 << 10;

sockaddr_in any_address(std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  return a;
}

class Services {
 public:
  explicit Services(Runtime& runtime) : loop_(runtime), buffer_(kChunk), pattern_(kChunk) {
    for (std::size_t i = 0; i < pattern_.size(); ++i) pattern_[i] = static_cast<char>(' ' + i % 95);
    for (const std::uint16_t port : {kEcho, kDiscard, kGenerator, kHttp}) listen(port);
    const sockaddr_in a = any_address(kEcho);
    udp_ = sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    (void)sl_bind(udp_, reinterpret_cast<const sockaddr*>(&a), sizeof a);
    loop_.watch(udp_, POLLIN, [this](short) { echo_datagrams(); });
  }
  EventLoop& loop() { return loop_; }

 private:
  void listen(std::uint16_t port) {
    const int fd = sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const sockaddr_in a = any_address(port);
    (void)sl_bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
    (void)sl_listen(fd, 128);
    loop_.watch(fd, POLLIN, [this, fd, port](short) {
      const int connection = sl_accept4(fd, nullptr, nullptr, SOCK_NONBLOCK);
      if (connection < 0) return;
      const short events = port == kGenerator ? POLLOUT : POLLIN;
      loop_.watch(connection, events, [this, connection, port](short) { serve(connection, port); });
    });
  }

  void serve(int fd, std::uint16_t port) {
    if (port == kGenerator) {
      if (sl_send(fd, pattern_.data(), pattern_.size(), 0) < 0 && errno != EAGAIN) drop(fd);
      return;
    }
    const ssize_t n = sl_recv(fd, buffer_.data(), buffer_.size(), 0);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    if (port == kEcho) echo(fd, static_cast<std::size_t>(n));
    if (port == kHttp) {
      static constexpr std::string_view kPage =
          "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\nhello from sluice\n";
      (void)sl_send(fd, kPage.data(), kPage.size(), 0);
      drop(fd);
    }
  }
  // What the send queue does not take waits in this small service's only way: it is sent when there is room again.
  void echo(int fd, std::size_t size) {
    const ssize_t sent = sl_send(fd, buffer_.data(), size, 0);
    if (sent == static_cast<ssize_t>(size)) return;
    std::string rest(buffer_.data() + std::max<ssize_t>(sent, 0),
                     size - static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    loop_.watch(fd, POLLOUT, [this, fd, rest = std::move(rest)](short) mutable {
      const ssize_t n = sl_send(fd, rest.data(), rest.size(), 0);
      if (n > 0) rest.erase(0, static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN) return drop(fd);
      if (rest.empty()) loop_.watch(fd, POLLIN, [this, fd](short) { serve(fd, kEcho); });
    });
  }
  void echo_datagrams() {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t n = sl_recvfrom(udp_, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n >= 0)
      (void)sl_sendto(udp_, buffer_.data(), static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), length);
  }
  void drop(int fd) {
    loop_.unwatch(fd);
    (void)sl_close(fd);
  }

  EventLoop loop_;
  std::vector<char> buffer_;
  std::vector<char> pattern_;
  int udp_ = -1;
};

class Peer final : public MemoryPeer {
 public:
  ~Peer() override {
    if (!thread_.joinable()) return;
    stop_ = true;
    thread_.join();
  }
  link::NetDevice& near_end() override { return link_.end(0); }

  Result<void, Failure> start(const std::string& prefix) {
    Options options;
    options.addresses = {prefix};
    options.threads = Options::Threads::kEventLoop;
    options.spin = Duration();
    auto opened = Runtime::open(options, link_.end(1));
    if (!opened) return fail(opened.error());
    runtime_ = std::move(*opened);
    forget_runtime(&runtime_->impl());
    thread_ = std::thread([this] {
      sl_use(runtime_->c_handle());
      Services services(*runtime_);
      while (!stop_ && services.loop().run_once(20_ms)) {
      }
    });
    return {};
  }

 private:
  drivers::SharedMemoryLink link_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// The peer of 10.0.0.1/24 is 10.0.0.2, of any other host in the network its first address.
std::string peer_prefix(const wire::Prefix& near) {
  const std::uint32_t mask = 0xffffffffu << (32 - near.length);
  std::uint32_t host = (near.address.v4().value & mask) + 1;
  if (host == near.address.v4().value) ++host;
  return std::string(to_text(wire::Prefix{wire::Ipv4Address{host}, near.length}).view());
}

}  // namespace

Result<std::unique_ptr<MemoryPeer>, Failure> start_memory_peer(const std::string& near_prefix) {
  const auto near = wire::parse_prefix(near_prefix);
  if (!near || !near->address.is_v4() || near->length == 0 || near->length > 30) {
    return fail(Failure{"--dev mem takes --addr with a length up to 30, like 10.0.0.1/24; the peer is then 10.0.0.2"});
  }
  auto peer = std::make_unique<Peer>();
  if (const auto started = peer->start(peer_prefix(*near)); !started) return fail(started.error());
  return std::unique_ptr<MemoryPeer>(std::move(peer));
}

}  // namespace sluice
