// The server of `sluice perf`: receives, or sends, what the client's line asks for (apps/perf.h).
#include <stdio.h>
#include <string.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/perf.h"
#include "stack/base/byte_order.h"

namespace sluice::apps::perf {

namespace {

constexpr std::size_t kMaxLine = 100;
constexpr std::size_t kMaxTests = 1000;
constexpr int kDatagramsAtOnce = 64;
constexpr Duration kPacingStep = 1_ms;
constexpr double kMaxSeconds = 86400;

struct Test {
  std::string line;
  std::uint32_t id = 0;     // of datagrams
  std::uint64_t bytes = 0;  // received or sent
  std::uint64_t datagrams = 0;
  std::uint64_t limit = 0;          // bytes to send; 0: until the time is over
  double rate = 0;                  // bit/s of datagrams
  std::size_t size = 0;             // bytes a datagram
  std::optional<sockaddr_in> peer;  // of datagrams, once it is known
  Instant start;
  Instant until;
};

class Server {
 public:
  Server(ServerSession& session, std::uint16_t port)
      : runtime_(session.runtime()),
        loop_(session.loop()),
        data_(kWrite, 'x'),
        listener_(listen_stream(port)),
        datagrams_(bind_datagram(port)) {
    if (!ready()) return;
    const int buffer = 4 << 20;
    (void)sl_setsockopt(datagrams_.fd(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept(); });
    loop_.watch(datagrams_.fd(), POLLIN, [this](short) { take_datagrams(); });
  }
  [[nodiscard]] bool ready() const { return listener_ && datagrams_; }

 private:
  void accept() {
    const int fd = sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (tests_.size() >= kMaxTests) return void(sl_close(fd));
    tests_[fd] = {};
    loop_.watch(fd, POLLIN, [this, fd](short) { read_line(fd); });
  }

  void read_line(int fd) {
    Test& test = tests_[fd];
    for (char c = 0; c != '\n';) {
      const ssize_t n = sl_recv(fd, &c, 1, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0 || test.line.size() > kMaxLine) return drop(fd);
      test.line += c;
    }
    if (!start(fd, test)) drop(fd);
  }

  bool start(int fd, Test& test) {
    const char* line = test.line.c_str();
    test.start = runtime_.now();
    double seconds = 0;
    unsigned long long bytes = 0;
    if (test.line == "PERF up\n") {
      loop_.watch(fd, POLLIN, [this, fd](short) { count_stream(fd); });
    } else if (sscanf(line, "PERF down %lf %llu", &seconds, &bytes) == 2) {
      test.until = test.start + from_seconds(std::clamp(seconds, 0.0, kMaxSeconds));
      test.limit = bytes;
      loop_.watch(fd, POLLOUT, [this, fd](short) { send_stream(fd); });
    } else if (sscanf(line, "PERF udp-up %u", &test.id) == 1) {
      by_id_[test.id] = fd;
      loop_.watch(fd, POLLIN, [this, fd](short) { await_end(fd); });
    } else if (sscanf(line, "PERF udp-down %u %lf %lf %zu", &test.id, &seconds, &test.rate, &test.size) == 4) {
      if (!(test.rate > 0) || test.size < kDatagramHeader || test.size > kMaxDatagram) return false;
      test.until = test.start + from_seconds(std::clamp(seconds, 0.0, kMaxSeconds));
      by_id_[test.id] = fd;
      loop_.watch(fd, POLLIN, [this, fd](short) { drop(fd); });  // the client gives up
    } else {
      return false;
    }
    return true;
  }

  void count_stream(int fd) {
    Test& test = tests_[fd];
    const ssize_t n = sl_recv(fd, data_.data(), data_.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return drop(fd);
    test.bytes += static_cast<std::uint64_t>(n);
    if (n > 0) return;
    const double seconds = (runtime_.now() - test.start).to_seconds();
    fprintf(stderr, "perf: received %.1f MiB in %.2f s, %.1f Mbit/s\n", mebibytes(test.bytes), seconds,
            mbit(test.bytes, seconds));
    answer(fd, test.bytes);
  }

  void send_stream(int fd) {
    Test& test = tests_[fd];
    const bool enough = test.limit != 0 ? test.bytes >= test.limit : runtime_.now() >= test.until;
    if (enough) return drop(fd);
    const std::size_t n =
        test.limit != 0 ? std::min<std::uint64_t>(data_.size(), test.limit - test.bytes) : data_.size();
    const ssize_t sent = sl_send(fd, data_.data(), n, 0);
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    if (sent > 0) test.bytes += static_cast<std::uint64_t>(sent);
  }

  void await_end(int fd) {
    char c = 0;
    const ssize_t n = sl_recv(fd, &c, 1, 0);
    if (n == 0) return answer(fd, tests_[fd].datagrams);
    if (n < 0 && errno != EAGAIN) drop(fd);
  }

  void take_datagrams() {
    for (int i = 0; i < kDatagramsAtOnce; ++i) {
      std::uint8_t head[kDatagramHeader];
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = sl_recvfrom(datagrams_.fd(), head, sizeof head, 0, net::generic(from), &length);
      if (n < 0) return;
      const auto at = n == sizeof head ? by_id_.find(load_be32(head)) : by_id_.end();
      if (at == by_id_.end()) continue;
      Test& test = tests_[at->second];
      if (test.rate == 0) {
        ++test.datagrams;
      } else if (!test.peer) {
        test.peer = from;
        send_datagrams(at->second);
      }
    }
  }

  // Sends what is due, and comes again.
  void send_datagrams(int fd) {
    const auto at = tests_.find(fd);
    if (at == tests_.end() || !at->second.peer) return;
    Test& test = at->second;
    const Instant now = std::min(runtime_.now(), test.until);
    const auto due =
        static_cast<std::uint64_t>((now - test.start).to_seconds() * test.rate / 8 / static_cast<double>(test.size));
    for (; test.datagrams < due; ++test.datagrams) {
      std::vector<std::uint8_t> bytes(test.size, 'x');
      store_be32(bytes.data(), test.id);
      store_be32(bytes.data() + 4, static_cast<std::uint32_t>(test.datagrams));
      const ssize_t sent =
          sl_sendto(datagrams_.fd(), bytes.data(), bytes.size(), 0, net::generic(*test.peer), sizeof *test.peer);
      if (sent < 0) break;
    }
    if (now >= test.until) return answer(fd, test.datagrams);
    loop_.after(kPacingStep, [this, fd] { send_datagrams(fd); });
  }

  void answer(int fd, std::uint64_t number) {
    const std::string text = std::to_string(number) + "\n";
    (void)sl_send(fd, text.data(), text.size(), 0);
    drop(fd);
  }
  void drop(int fd) {
    loop_.unwatch(fd);
    by_id_.erase(tests_[fd].id);
    tests_.erase(fd);
    (void)sl_close(fd);
  }

  Runtime& runtime_;
  EventLoop& loop_;
  std::vector<char> data_;
  net::Socket listener_;
  net::Socket datagrams_;
  std::map<int, Test> tests_;
  std::map<std::uint32_t, int> by_id_;
};

}  // namespace

int serve(const Common& common, const PerfOptions& options) {
  const auto session = ServerSession::open(common);
  if (!session) return session.error();
  Server server(**session, options.port);
  if (!server.ready()) {
    fprintf(stderr, "perf: port %u: %s\n", options.port, strerror(errno));
    return kExitFailed;
  }
  fprintf(stderr, "perf: listening on port %u\n", options.port);
  return (*session)->run();
}

}  // namespace sluice::apps::perf
