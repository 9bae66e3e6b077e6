// sluice perf: throughput between two sluices, both directions, TCP and UDP, by interval. The client; the keys of its
// JSON are those of iperf3.
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "apps/perf.h"
#include "stack/base/byte_order.h"

namespace sluice::apps::perf {

namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kOneWay = 200_ms;  // time for what is on its way to arrive

struct Interval {
  double begin, end;  // s
  std::uint64_t bytes;
};

Json rate_json(double begin, double end, std::uint64_t bytes) {
  return {{"start", begin},
          {"end", end},
          {"seconds", end - begin},
          {"bytes", bytes},
          {"bits_per_second", mbit(bytes, end - begin) * 1e6}};
}

class Client {
 public:
  Client(const Common& common, const PerfOptions& options, BlockingSession& session, const wire::Address& host)
      : json_(common.json),
        options_(options),
        session_(session),
        peer_{host, options.port},
        length_(options.length != 0 ? options.length
                : options.udp       ? kDatagram
                                    : kWrite),
        id_base_((static_cast<std::uint32_t>(session.runtime().now().to_nanos() / 1000) << 8) | 0x8000'0000u) {}

  int run() {
    for (std::uint32_t i = 0; i < options_.parallel; ++i) {
      auto connected = net::TcpStream::connect(peer_);
      if (!connected) return complain(describe(connected.error()));
      connections_.push_back(std::move(*connected));
      if (!options_.udp || options_.reverse) continue;
      const Status asked = ask(connections_.back(), "PERF udp-up " + std::to_string(id_of(i)) + "\n");
      if (!asked) return complain(describe(asked.error()));
    }
    if (options_.udp) session_.run_for(kOneWay);
    start_ = end_ = now();  // connecting is not measured
    running_ = options_.parallel;
    std::vector<std::thread> streams;
    for (std::uint32_t i = 0; i < options_.parallel; ++i) {
      streams.emplace_back([this, i] {
        run_stream(i);
        --running_;
      });
    }
    report_intervals();
    for (std::thread& t : streams) t.join();
    elapsed_ = (end_ - start_).to_seconds();
    if (!failure_.empty()) return complain(failure_);
    json_ ? print_json() : print_text();
    return kExitOk;
  }

 private:
  int complain(const std::string& why) const {
    fprintf(stderr, "perf: %s port %u: %s\n", options_.host.c_str(), options_.port, why.c_str());
    return kExitFailed;
  }
  [[nodiscard]] Instant now() { return session_.runtime().now(); }

  void run_stream(std::uint32_t number) {
    net::TcpStream& connection = connections_[number];
    Status done;
    if (options_.udp) {
      done = options_.reverse ? receive_datagrams(connection, number) : send_datagrams(connection, number);
    } else {
      done = options_.reverse ? receive_stream(connection) : send_stream(connection);
    }
    const std::lock_guard guard(mutex_);
    if (!options_.udp || options_.reverse) end_ = std::max(end_, now());
    if (done || interrupted()) return;
    failure_ = describe(done.error());
    failed_ = true;
  }

  // The bytes that one stream of several has to carry; 0: as many as the time allows.
  [[nodiscard]] std::uint64_t share() const { return (options_.bytes + options_.parallel - 1) / options_.parallel; }
  [[nodiscard]] bool over(std::uint64_t sent) {
    if (failed_ || interrupted()) return true;
    return options_.bytes != 0 ? sent >= share() : (now() - start_).to_seconds() >= options_.seconds;
  }

  static Status ask(net::TcpStream& connection, const std::string& line) {
    return connection.write(Bytes(reinterpret_cast<const std::uint8_t*>(line.data()), line.size()));
  }
  // The number that the server answers with at the end.
  static Result<std::uint64_t> answer(net::TcpStream& stream) {
    std::string text;
    for (std::uint8_t c = 0; c != '\n'; text += static_cast<char>(c)) {
      const auto n = stream.read({&c, 1});
      if (!n) return fail(n.error());
      if (*n == 0) return fail(Errno::kConnectionReset);
    }
    return std::uint64_t{strtoull(text.c_str(), nullptr, 10)};
  }

  Status send_stream(net::TcpStream& stream) {
    if (const Status asked = ask(stream, "PERF up\n"); !asked) return asked;
    const std::vector<std::uint8_t> data(length_, 'x');
    for (std::uint64_t sent = 0; !over(sent);) {
      const std::size_t n = options_.bytes != 0 ? std::min<std::uint64_t>(data.size(), share() - sent) : data.size();
      if (const Status written = stream.write(Bytes(data).first(n)); !written) return written;
      sent += n;
      bytes_ += n;
    }
    if (const Status finished = stream.finish(); !finished) return finished;
    const auto received = answer(stream);
    if (!received) return fail(received.error());
    received_ += *received;
    return {};
  }

  Status receive_stream(net::TcpStream& stream) {
    const std::string line = "PERF down " + std::to_string(options_.seconds) + " " + std::to_string(share()) + "\n";
    if (const Status asked = ask(stream, line); !asked) return asked;
    std::vector<std::uint8_t> data(length_);
    for (;;) {
      const auto n = stream.read(data);
      if (!n) return fail(n.error());
      if (*n == 0) return {};
      bytes_ += *n;
      received_ += *n;
    }
  }

  [[nodiscard]] std::uint32_t id_of(std::uint32_t number) const { return id_base_ + number; }

  Status send_datagrams(net::TcpStream& control, std::uint32_t number) {
    const auto socket = net::UdpSocket::bind({wire::Ipv4Address::any(), 0});
    if (!socket) return fail(socket.error());
    const std::uint32_t id = id_of(number);
    std::vector<std::uint8_t> data(length_, 'x');
    store_be32(data.data(), id);
    const double gap = static_cast<double>(data.size()) * 8 / (options_.rate_mbit * 1e6);
    const sockaddr_in to = net::to_sockaddr(peer_);
    const Instant begin = now();
    std::uint32_t n = 0;
    for (; !over(std::uint64_t{n} * data.size()); ++n) {
      while (!over(0) && (now() - begin).to_seconds() < n * gap) session_.run_for(1_ms);
      store_be32(data.data() + 4, n);
      const ssize_t sent = sl_sendto(socket->fd(), data.data(), data.size(), 0, net::generic(to), sizeof to);
      if (sent < 0 && errno != ENOBUFS) return net::last_error();
      ++datagrams_;
      bytes_ += data.size();
    }
    {
      const std::lock_guard guard(mutex_);
      end_ = std::max(end_, now());
    }
    session_.run_for(kOneWay);
    if (const Status finished = control.finish(); !finished) return finished;
    const auto received = answer(control);
    if (!received) return fail(received.error());
    datagrams_received_ += std::min<std::uint64_t>(*received, n);
    received_ += std::min<std::uint64_t>(*received, n) * data.size();
    return {};
  }

  Status receive_datagrams(net::TcpStream& control, std::uint32_t number) {
    net::Socket socket(sl_socket(AF_INET, SOCK_DGRAM, 0));
    const sockaddr_in to = net::to_sockaddr(peer_);
    const int buffer = 4 << 20;
    (void)sl_setsockopt(socket.fd(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (sl_connect(socket.fd(), net::generic(to), sizeof to) < 0) return net::last_error();
    const std::uint32_t id = id_of(number);
    const double seconds =
        options_.bytes != 0 ? static_cast<double>(share()) * 8 / (options_.rate_mbit * 1e6) : options_.seconds;
    const Status asked =
        ask(control, "PERF udp-down " + std::to_string(id) + " " + std::to_string(seconds) + " " +
                         std::to_string(options_.rate_mbit * 1e6) + " " + std::to_string(length_) + "\n");
    if (!asked) return asked;
    std::uint8_t hello[kDatagramHeader] = {};
    store_be32(hello, id);
    std::vector<std::uint8_t> data(kMaxDatagram);
    for (std::uint64_t count = 0; !interrupted();) {
      if (count == 0) (void)sl_send(socket.fd(), hello, sizeof hello, 0);  // again, until it has got through
      pollfd p[2] = {{socket.fd(), POLLIN, 0}, {control.fd(), POLLIN, 0}};
      if (sl_poll(p, 2, 50) < 0) return net::last_error();
      const ssize_t n = p[0].revents != 0 ? sl_recv(socket.fd(), data.data(), data.size(), MSG_DONTWAIT) : -1;
      if (n > 0) {
        ++count;
        ++datagrams_received_;
        bytes_ += static_cast<std::uint64_t>(n);
        received_ += static_cast<std::uint64_t>(n);
      } else if (p[1].revents != 0) {
        break;
      }
    }
    const auto sent = answer(control);
    if (!sent) return fail(sent.error());
    datagrams_ += *sent;
    return {};
  }

  void report_intervals() {
    std::uint64_t before = 0;
    for (double at = 0; running_ > 0;) {
      const double limit =
          options_.bytes != 0 ? at + options_.interval : std::min(at + options_.interval, options_.seconds);
      if (limit <= at + 1e-6) return;
      while (running_ > 0 && (now() - start_).to_seconds() < limit)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const double end = running_ > 0 ? limit : std::min(limit, (now() - start_).to_seconds());
      const std::uint64_t bytes = bytes_;
      intervals_.push_back({at, end, bytes - before});
      if (!json_ && !failed_) {
        printf("%6.2f-%-6.2f s %10.2f MiB %12.1f Mbit/s\n", at, end, mebibytes(bytes - before),
               mbit(bytes - before, end - at));
        fflush(stdout);
      }
      before = bytes;
      at = end;
    }
  }

  [[nodiscard]] std::uint64_t lost() const {
    return datagrams_ - std::min(datagrams_.load(), datagrams_received_.load());
  }
  [[nodiscard]] double lost_percent() const {
    return datagrams_ > 0 ? 100.0 * static_cast<double>(lost()) / static_cast<double>(datagrams_) : 0;
  }

  void print_text() const {
    printf("%6.2f-%-6.2f s %10.2f MiB %12.1f Mbit/s  received by the %s\n", 0.0, elapsed_, mebibytes(received_),
           mbit(received_, elapsed_), options_.reverse ? "client" : "server");
    if (!options_.udp) return;
    printf("%llu datagrams, %llu lost (%.2f%%)\n", static_cast<unsigned long long>(datagrams_),
           static_cast<unsigned long long>(lost()), lost_percent());
  }

  void print_json() const {
    Json out;
    out["start"]["connecting_to"] = {{"host", options_.host}, {"port", options_.port}};
    out["start"]["test_start"] = {{"protocol", options_.udp ? "UDP" : "TCP"},
                                  {"num_streams", options_.parallel},
                                  {"blksize", length_},
                                  {"duration", options_.seconds},
                                  {"bytes", options_.bytes},
                                  {"reverse", options_.reverse ? 1 : 0}};
    out["intervals"] = Json::array();
    for (const Interval& i : intervals_) out["intervals"].push_back({{"sum", rate_json(i.begin, i.end, i.bytes)}});
    if (!options_.reverse) out["end"]["sum_sent"] = rate_json(0, elapsed_, bytes_);
    out["end"]["sum_received"] = rate_json(0, elapsed_, received_);
    if (options_.udp) {
      out["end"]["sum"] = rate_json(0, elapsed_, received_);
      out["end"]["sum"]["packets"] = datagrams_.load();
      out["end"]["sum"]["lost_packets"] = lost();
      out["end"]["sum"]["lost_percent"] = lost_percent();
    }
    printf("%s\n", out.dump(1).c_str());
  }

  bool json_;
  const PerfOptions& options_;
  BlockingSession& session_;
  wire::Endpoint peer_;
  std::size_t length_;                       // bytes a call or datagram
  std::vector<net::TcpStream> connections_;  // one a stream
  std::uint32_t id_base_;                    // of the datagrams of this run; not 0
  Instant start_;
  double elapsed_ = 0;
  std::vector<Interval> intervals_;
  std::atomic<std::uint32_t> running_{0};
  std::atomic<std::uint64_t> bytes_{0};     // handed to the send queue, or received: what intervals show
  std::atomic<std::uint64_t> received_{0};  // at the far end, or here
  std::atomic<std::uint64_t> datagrams_{0};
  std::atomic<std::uint64_t> datagrams_received_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;  // of the two below
  Instant end_;       // when the last stream was done
  std::string failure_;
};

}  // namespace

int measure(const Common& common, const PerfOptions& options, const wire::Address& host) {
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  return Client(common, options, **session, host).run();
}

}  // namespace sluice::apps::perf

namespace sluice::apps {

int run_perf(const Common& common, const PerfOptions& options) {
  if (options.host.empty()) return perf::serve(common, options);
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  return perf::measure(common, options, host);
}

}  // namespace sluice::apps
