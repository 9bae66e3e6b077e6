// sluice ping: ICMP echo (RFC 792), with the output that people know from iputils.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "stack/base/byte_order.h"

namespace sluice::apps {

namespace {

constexpr std::size_t kHeader = 8;

class Ping {
 public:
  Ping(const Common& common, const PingOptions& options, Runtime& runtime, const wire::Address& host)
      : common_(common), options_(options), runtime_(runtime), peer_(net::to_sockaddr({host, 0})) {}

  int run() {
    socket_ = net::Socket(sl_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    if (options_.ttl != 0) {
      const int ttl = options_.ttl;
      (void)sl_setsockopt(socket_.fd(), IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    }
    if (!common_.json) {
      printf("PING %s (%s) %u(%u) bytes of data.\n", options_.host.c_str(), options_.host.c_str(), options_.size,
             options_.size + 28);
    }
    start_ = runtime_.now();
    Instant next = start_;
    const auto interval = Duration::nanos(static_cast<std::int64_t>(options_.interval * 1e9));
    while (!interrupted() && (options_.count == 0 || sent_ < options_.count)) {
      send_request();
      next = next + interval;
      const bool last = options_.count != 0 && sent_ == options_.count;
      const auto patience = Duration::nanos(static_cast<std::int64_t>(options_.wait * 1e9));
      collect(last ? runtime_.now() + patience : next, last);
    }
    report();
    return received_ > 0 ? kExitOk : kExitFailed;
  }

 private:
  void send_request() {
    std::vector<std::uint8_t> message(kHeader + options_.size);
    message[0] = 8;
    ++sent_;
    store_be16(message.data() + 6, static_cast<std::uint16_t>(sent_));
    for (std::size_t i = kHeader; i < message.size(); ++i) message[i] = static_cast<std::uint8_t>(i);
    outstanding_[static_cast<std::uint16_t>(sent_)] = runtime_.now();
    if (sl_sendto(socket_.fd(), message.data(), message.size(), 0, net::generic(peer_), sizeof peer_) < 0) {
      printf("ping: sendto: %s\n", strerror(errno));
      ++errors_;
    }
  }

  // Takes in replies until `until`, or until the last one is there.
  void collect(Instant until, bool stop_when_all) {
    while (!interrupted() && !(stop_when_all && outstanding_.empty())) {
      const Duration left = until - runtime_.now();
      if (left <= Duration()) return;
      pollfd p{socket_.fd(), POLLIN, 0};
      const auto ms = static_cast<int>(std::min<std::int64_t>((left.to_nanos() + 999'999) / 1'000'000, 60'000));
      if (sl_poll(&p, 1, ms) > 0) take_reply();
    }
  }

  void take_reply() {
    std::array<std::uint8_t, 65536> bytes;
    iovec piece{bytes.data(), bytes.size()};
    sockaddr_in from{};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    const Instant now = runtime_.now();
    const ssize_t n = sl_recvmsg(socket_.fd(), &message, MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN) return;
      ++errors_;
      if (!options_.quiet && !common_.json) printf("From %s icmp_seq=%u %s\n", options_.host.c_str(), sent_, strerror(errno));
      return;
    }
    const std::uint16_t sequence = load_be16(bytes.data() + 6);
    const auto request = outstanding_.find(sequence);
    if (request == outstanding_.end()) return;  // a duplicate
    const double ms = static_cast<double>((now - request->second).to_nanos()) / 1e6;
    outstanding_.erase(request);
    ++received_;
    times_.push_back(ms);
    if (!options_.quiet && !common_.json) {
      printf("%zd bytes from %s: icmp_seq=%u ttl=64 time=%.*f ms\n", n, to_text(net::to_endpoint(from).address).c_str(), sequence,
             ms < 1 ? 3 : ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
      fflush(stdout);
    }
  }

  void report() const {
    double sum = 0;
    double squares = 0;
    for (const double t : times_) sum += t, squares += t * t;
    const double n = std::max<double>(static_cast<double>(times_.size()), 1);
    const double mean = sum / n;
    const double mdev = sqrt(std::max(squares / n - mean * mean, 0.0));
    const double low = times_.empty() ? 0 : *std::min_element(times_.begin(), times_.end());
    const double high = times_.empty() ? 0 : *std::max_element(times_.begin(), times_.end());
    const double loss = sent_ > 0 ? 100.0 * (sent_ - received_) / sent_ : 0;
    if (common_.json) {
      const nlohmann::ordered_json out = {{"host", options_.host}, {"transmitted", sent_}, {"received", received_},
                                          {"loss_percent", loss}, {"rtt_ms", {{"min", low}, {"avg", mean}, {"max", high}, {"mdev", mdev}}}};
      printf("%s\n", out.dump().c_str());
      return;
    }
    printf("\n--- %s ping statistics ---\n", options_.host.c_str());
    printf("%u packets transmitted, %u received, ", sent_, received_);
    if (errors_ > 0) printf("+%u errors, ", errors_);
    printf("%g%% packet loss, time %lldms\n", loss, static_cast<long long>((runtime_.now() - start_).to_millis()));
    if (!times_.empty()) printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", low, mean, high, mdev);
  }

  const Common& common_;
  const PingOptions& options_;
  Runtime& runtime_;
  sockaddr_in peer_;
  net::Socket socket_;
  Instant start_;
  std::uint32_t sent_ = 0;
  std::uint32_t received_ = 0;
  std::uint32_t errors_ = 0;
  std::map<std::uint16_t, Instant> outstanding_;
  std::vector<double> times_;
};

}  // namespace

int run_ping(const Common& common, const PingOptions& options) {
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  const auto runtime = open_runtime(common, Options::Threads::kThreads);
  if (runtime == nullptr) return kExitUnavailable;
  catch_interrupt();
  const int code = Ping(common, options, *runtime, host).run();
  if (common.statistics) print_statistics(*runtime, common.json);
  return code;
}

}  // namespace sluice::apps
