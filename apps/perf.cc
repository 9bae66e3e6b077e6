// sluice perf: throughput between two sluices, both directions, TCP and UDP, by interval.
//
// The client says on a TCP connection what it wants, in one line: "PERF up|down SECONDS" or "PERF udp ID". For "up" the
// server counts until the end of the stream and answers with the number of bytes; for "down" it sends for that long. UDP
// datagrams begin with the ID and a sequence number, and the server tells at the end how many it got.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "apps/commands.h"
#include "stack/base/byte_order.h"

namespace sluice::apps {

namespace {

constexpr std::size_t kWrite = 128 << 10;
constexpr std::size_t kDatagram = 1400;
constexpr std::size_t kDatagramHeader = 8;

double mbit(std::uint64_t bytes, double seconds) { return static_cast<double>(bytes) * 8 / std::max(seconds, 1e-9) / 1e6; }

// --- the server ------------------------------------------------------------------------------------------------------------

class Server {
 public:
  Server(Runtime& runtime, EventLoop& loop, const PerfOptions& options) : runtime_(runtime), loop_(loop), data_(kWrite, 'x') {
    const sockaddr_in a = net::to_sockaddr({wire::Ipv4Address::any(), options.port});
    listener_ = net::Socket(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    datagrams_ = net::Socket(sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    const int buffer = 4 << 20;
    (void)sl_setsockopt(datagrams_.fd(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    ready_ = sl_bind(listener_.fd(), net::generic(a), sizeof a) == 0 && sl_listen(listener_.fd(), 128) == 0 &&
             sl_bind(datagrams_.fd(), net::generic(a), sizeof a) == 0;
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept(); });
    loop_.watch(datagrams_.fd(), POLLIN, [this](short) { count_datagrams(); });
  }
  [[nodiscard]] bool ready() const { return ready_; }

 private:
  struct Test {
    std::string line;
    bool up = false;
    Instant until;
    std::uint64_t bytes = 0;
    Instant start;
  };

  void accept() {
    const int fd = sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    tests_[fd] = {};
    loop_.watch(fd, POLLIN, [this, fd](short) { read_line(fd); });
  }

  void read_line(int fd) {
    Test& test = tests_[fd];
    char c = 0;
    for (;;) {
      const ssize_t n = sl_recv(fd, &c, 1, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0 || test.line.size() > 80) return drop(fd);
      if (c == '\n') break;
      test.line += c;
    }
    char kind[8] = {};
    double argument = 0;
    if (sscanf(test.line.c_str(), "PERF %7s %lf", kind, &argument) != 2) return drop(fd);
    test.start = runtime_.now();
    if (strcmp(kind, "udp") == 0) return report_datagrams(fd, static_cast<std::uint32_t>(argument));
    if (strcmp(kind, "down") == 0) {
      test.until = test.start + Duration::nanos(static_cast<std::int64_t>(argument * 1e9));
      return loop_.watch(fd, POLLOUT, [this, fd](short) { send_some(fd); });
    }
    loop_.watch(fd, POLLIN, [this, fd](short) { count_stream(fd); });
  }

  void count_stream(int fd) {
    Test& test = tests_[fd];
    const ssize_t n = sl_recv(fd, data_.data(), data_.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return drop(fd);
    test.bytes += static_cast<std::uint64_t>(n);
    if (n > 0) return;
    const double seconds = (runtime_.now() - test.start).to_seconds();
    const std::string answer = std::to_string(test.bytes) + " " + std::to_string(seconds) + "\n";
    fprintf(stderr, "perf: received %.1f MiB in %.2f s, %.1f Mbit/s\n", static_cast<double>(test.bytes) / 1048576, seconds,
            mbit(test.bytes, seconds));
    (void)sl_send(fd, answer.data(), answer.size(), 0);
    drop(fd);
  }

  void send_some(int fd) {
    if (runtime_.now() >= tests_[fd].until) return drop(fd);
    if (sl_send(fd, data_.data(), data_.size(), 0) < 0 && errno != EAGAIN) drop(fd);
  }

  void count_datagrams() {
    for (int i = 0; i < 64; ++i) {
      std::uint8_t bytes[2048];
      const ssize_t n = sl_recv(datagrams_.fd(), bytes, sizeof bytes, 0);
      if (n < static_cast<ssize_t>(kDatagramHeader)) return;
      ++datagram_counts_[load_be32(bytes)];
    }
  }
  void report_datagrams(int fd, std::uint32_t id) {
    const std::string answer = std::to_string(datagram_counts_[id]) + " 0\n";
    (void)sl_send(fd, answer.data(), answer.size(), 0);
    datagram_counts_.erase(id);
    drop(fd);
  }
  void drop(int fd) {
    loop_.unwatch(fd);
    tests_.erase(fd);
    (void)sl_close(fd);
  }

  Runtime& runtime_;
  EventLoop& loop_;
  std::vector<char> data_;
  net::Socket listener_, datagrams_;
  bool ready_ = false;
  std::map<int, Test> tests_;
  std::map<std::uint32_t, std::uint64_t> datagram_counts_;
};

int serve(const Common& common, const PerfOptions& options) {
  const auto runtime = open_runtime(common, Options::Threads::kEventLoop);
  if (runtime == nullptr) return kExitUnavailable;
  EventLoop loop(*runtime);
  handle_signals(loop, *runtime, common);
  Server server(*runtime, loop, options);
  if (!server.ready()) {
    fprintf(stderr, "perf: port %u: %s\n", options.port, strerror(errno));
    return kExitFailed;
  }
  fprintf(stderr, "perf: listening on port %u\n", options.port);
  loop.run();
  return kExitOk;
}

// --- the client ------------------------------------------------------------------------------------------------------------

struct Interval {
  double begin, end;
  std::uint64_t bytes;
};

class Client {
 public:
  Client(const Common& common, const PerfOptions& options, Runtime& runtime, const wire::Address& host)
      : common_(common), options_(options), runtime_(runtime), peer_{host, options.port} {}

  int run() {
    const Instant start = runtime_.now();
    std::vector<std::thread> streams;
    for (std::uint32_t i = 0; i < (options_.udp ? 1 : options_.parallel); ++i) {
      streams.emplace_back([this] { options_.udp ? send_datagrams() : options_.reverse ? receive_stream() : send_stream(); });
    }
    report_intervals(start);
    for (std::thread& t : streams) t.join();
    elapsed_ = (runtime_.now() - start).to_seconds();
    if (!failure_.empty()) {
      fprintf(stderr, "perf: %s\n", failure_.c_str());
      return kExitFailed;
    }
    return print_result();
  }

 private:
  void fail_with(const std::string& what, Errno error) {
    failure_ = what + ": " + describe(error);
    done_ = true;
  }
  [[nodiscard]] bool over(Instant start) const {
    return done_ || interrupted() || (runtime_.now() - start).to_seconds() >= options_.seconds;
  }
  Result<net::TcpStream> ask(const std::string& line) {
    auto stream = net::TcpStream::connect(peer_);
    if (!stream) return stream;
    const Status sent = stream->write(Bytes(reinterpret_cast<const std::uint8_t*>(line.data()), line.size()));
    if (!sent) return fail(sent.error());
    return stream;
  }
  // "BYTES SECONDS\n"
  std::uint64_t read_answer(net::TcpStream& stream) {
    std::string text;
    std::uint8_t c = 0;
    for (;;) {
      const auto n = stream.read({&c, 1});
      if (!n || *n == 0 || c == '\n') break;
      text += static_cast<char>(c);
    }
    return strtoull(text.c_str(), nullptr, 10);
  }

  void send_stream() {
    auto stream = ask("PERF up " + std::to_string(options_.seconds) + "\n");
    if (!stream) return fail_with("connect", stream.error());
    const std::vector<std::uint8_t> data(options_.length != 0 ? options_.length : kWrite, 'x');
    const Instant start = runtime_.now();
    while (!over(start)) {
      if (const Status sent = stream->write(data); !sent) return fail_with("send", sent.error());
      bytes_ += data.size();
    }
    (void)stream->finish();
    confirmed_ += read_answer(*stream);
  }
  void receive_stream() {
    auto stream = ask("PERF down " + std::to_string(options_.seconds) + "\n");
    if (!stream) return fail_with("connect", stream.error());
    std::vector<std::uint8_t> data(options_.length != 0 ? options_.length : kWrite);
    for (;;) {
      const auto n = stream->read(data);
      if (!n) return fail_with("receive", n.error());
      if (*n == 0) break;
      bytes_ += *n;
      confirmed_ += *n;
    }
  }
  void send_datagrams() {
    auto socket = net::UdpSocket::bind({wire::Ipv4Address::any(), 0});
    if (!socket) return fail_with("socket", socket.error());
    std::vector<std::uint8_t> data(std::max<std::size_t>(options_.length != 0 ? options_.length : kDatagram, kDatagramHeader), 'x');
    const auto id = static_cast<std::uint32_t>(runtime_.now().to_nanos() / 1000) & 0xffffff;
    store_be32(data.data(), id);
    const Instant start = runtime_.now();
    const double gap = static_cast<double>(data.size()) * 8 / (options_.rate_mbit * 1e6);
    for (std::uint32_t n = 0; !over(start); ++n) {
      while ((runtime_.now() - start).to_seconds() < n * gap) wait_a_little();
      store_be32(data.data() + 4, n);
      if (const Status sent = socket->send_to(data, peer_); !sent && sent.error() != Errno::kNoBuffers) {
        return fail_with("send", sent.error());
      }
      ++datagrams_;
      bytes_ += data.size();
    }
    for (int i = 0; i < 20; ++i) wait_a_little();
    auto stream = ask("PERF udp " + std::to_string(id) + "\n");
    if (!stream) return fail_with("connect", stream.error());
    datagrams_received_ = read_answer(*stream);
    confirmed_ = datagrams_received_ * data.size();
  }
  void wait_a_little() {
    const net::Socket idle(sl_socket(AF_INET, SOCK_DGRAM, 0));
    pollfd p{idle.fd(), POLLIN, 0};
    (void)sl_poll(&p, 1, 1);
  }

  void report_intervals(Instant start) {
    std::uint64_t before = 0;
    for (double at = 0; !done_ && !interrupted() && at < options_.seconds - 1e-6;) {
      const double end = std::min(at + options_.interval, options_.seconds);
      while (!done_ && !interrupted() && (runtime_.now() - start).to_seconds() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      const std::uint64_t now = bytes_;
      intervals_.push_back({at, end, now - before});
      if (!common_.json) {
        printf("%6.2f-%-6.2f s %10.2f MiB %12.1f Mbit/s\n", at, end, static_cast<double>(now - before) / 1048576,
               mbit(now - before, end - at));
        fflush(stdout);
      }
      before = now;
      at = end;
    }
  }

  int print_result() {
    const double lost = datagrams_ > 0 ? 100.0 * static_cast<double>(datagrams_ - std::min(datagrams_.load(), datagrams_received_)) /
                                             static_cast<double>(datagrams_)
                                       : 0;
    if (common_.json) {
      nlohmann::ordered_json out;
      for (const Interval& i : intervals_) {
        out["intervals"].push_back({{"start", i.begin}, {"end", i.end}, {"bytes", i.bytes},
                                    {"bits_per_second", mbit(i.bytes, i.end - i.begin) * 1e6}});
      }
      out["end"] = {{"seconds", elapsed_}, {"bytes", confirmed_.load()}, {"bits_per_second", mbit(confirmed_, elapsed_) * 1e6}};
      if (options_.udp) {
        out["end"]["packets"] = datagrams_.load();
        out["end"]["lost_percent"] = lost;
      }
      printf("%s\n", out.dump(1).c_str());
      return kExitOk;
    }
    printf("%6.2f-%-6.2f s %10.2f MiB %12.1f Mbit/s  received by the %s\n", 0.0, elapsed_, static_cast<double>(confirmed_) / 1048576,
           mbit(confirmed_, elapsed_), options_.reverse ? "client" : "server");
    if (options_.udp) printf("%llu datagrams, %.2f%% lost\n", static_cast<unsigned long long>(datagrams_.load()), lost);
    return kExitOk;
  }

  const Common& common_;
  const PerfOptions& options_;
  Runtime& runtime_;
  wire::Endpoint peer_;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> confirmed_{0};
  std::atomic<std::uint64_t> datagrams_{0};
  std::uint64_t datagrams_received_ = 0;
  std::atomic<bool> done_{false};
  std::string failure_;
  std::vector<Interval> intervals_;
  double elapsed_ = 0;
};

}  // namespace

int run_perf(const Common& common, const PerfOptions& options) {
  if (options.host.empty()) return serve(common, options);
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  const auto runtime = open_runtime(common, Options::Threads::kThreads);
  if (runtime == nullptr) return kExitUnavailable;
  catch_interrupt();
  const int code = Client(common, options, *runtime, host).run();
  linger_until_sent(*runtime);
  if (common.statistics) print_statistics(*runtime, common.json);
  return code;
}

}  // namespace sluice::apps
