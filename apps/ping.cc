// sluice ping: ICMP echo (RFC 792), with the output that people know from iputils.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>  // needs time.h

#include <algorithm>
#include <array>
#include <bitset>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "stack/base/byte_order.h"

namespace sluice::apps {

namespace {

constexpr std::size_t kHeader = 8;
constexpr std::uint8_t kEchoRequest = 8;

Duration seconds(double s) {
  return Duration::nanos(static_cast<std::int64_t>(s * 1e9));
}

// Round-trip times, ms.
struct Times {
  std::uint64_t count = 0;
  double sum = 0, squares = 0, low = 0, high = 0;

  void add(double ms) {
    low = count == 0 ? ms : std::min(low, ms);
    high = count == 0 ? ms : std::max(high, ms);
    ++count;
    sum += ms;
    squares += ms * ms;
  }
  [[nodiscard]] double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  [[nodiscard]] double deviation() const {
    return count > 0 ? sqrt(std::max(squares / static_cast<double>(count) - mean() * mean(), 0.0)) : 0;
  }
};

class Ping {
 public:
  Ping(const Common& common, const PingOptions& options, BlockingSession& session, const wire::Address& host)
      : options_(options),
        json_(common.json),
        quiet_(common.json || options.quiet),
        session_(session),
        peer_(net::to_sockaddr({host, 0})),
        socket_(sl_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)) {
    const int on = 1;
    (void)sl_setsockopt(socket_.fd(), IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
    (void)sl_setsockopt(socket_.fd(), IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    const int ttl = options_.ttl;
    if (ttl != 0) (void)sl_setsockopt(socket_.fd(), IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
  }

  int run() {
    if (!json_) {
      printf("PING %s (%s) %u(%u) bytes of data.\n", options_.host.c_str(), options_.host.c_str(), options_.size,
             options_.size + 28);
    }
    start_ = last_event_ = now();
    Instant next = start_;
    while (!interrupted() && !all_sent()) {
      send_request();
      next = next + seconds(options_.interval);
      if (!all_sent()) collect(next);
    }
    // A slow network has shown how long a reply may take.
    if (!interrupted()) collect(now() + std::max(seconds(options_.wait), seconds(2 * times_.high / 1e3)));
    report();
    return times_.count > 0 ? kExitOk : kExitFailed;
  }

 private:
  [[nodiscard]] Instant now() { return session_.runtime().now(); }
  [[nodiscard]] bool all_sent() const { return options_.count != 0 && sent_ == options_.count; }

  void send_request() {
    std::vector<std::uint8_t> message(kHeader + options_.size);
    message[0] = kEchoRequest;
    for (std::size_t i = kHeader; i < message.size(); ++i) message[i] = static_cast<std::uint8_t>(i);
    const auto sequence = static_cast<std::uint16_t>(++sent_);
    store_be16(message.data() + 6, sequence);
    answered_[sequence] = false;
    outstanding_[sequence] = last_event_ = now();
    if (sl_sendto(socket_.fd(), message.data(), message.size(), 0, net::generic(peer_), sizeof peer_) < 0) {
      fprintf(stderr, "ping: sendto: %s\n", strerror(errno));
      ++errors_;
    }
  }

  // Takes in replies until `until`, or until the last one is there.
  void collect(Instant until) {
    do {
      const std::int64_t left = std::clamp<std::int64_t>((until - now()).to_nanos(), 0, 60'000'000'000);
      pollfd p{socket_.fd(), POLLIN, 0};
      if (sl_poll(&p, 1, static_cast<int>((left + 999'999) / 1'000'000)) > 0) take_reply();
    } while (!interrupted() && now() < until && !(all_sent() && outstanding_.empty()));
  }

  void take_reply() {
    std::array<std::uint8_t, 65536> bytes;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> control{};
    sockaddr_in from{};
    iovec piece{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = sl_recvmsg(socket_.fd(), &message, MSG_DONTWAIT);
    last_event_ = now();
    if (n < 0) return report_error();
    if (n < static_cast<ssize_t>(kHeader)) return;
    print_reply(static_cast<std::size_t>(n), net::to_endpoint(from).address, ttl_of(message),
                load_be16(bytes.data() + 6));
  }

  static int ttl_of(msghdr& message) {
    int ttl = 0;
    const cmsghdr* control = CMSG_FIRSTHDR(&message);
    if (control != nullptr && control->cmsg_type == IP_TTL) memcpy(&ttl, CMSG_DATA(control), sizeof ttl);
    return ttl;
  }

  void print_reply(std::size_t size, const wire::Address& from, int ttl, std::uint16_t sequence) {
    const auto request = outstanding_.find(sequence);
    if (request == outstanding_.end()) {
      if (!answered_[sequence]) return;  // to none of our requests
      ++duplicates_;
      if (!quiet_) printf("%zu bytes from %s: icmp_seq=%u ttl=%d (DUP!)\n", size, to_text(from).c_str(), sequence, ttl);
      return;
    }
    const double ms = (last_event_ - request->second).to_seconds() * 1e3;
    outstanding_.erase(request);
    answered_[sequence] = true;
    times_.add(ms);
    if (quiet_) return;
    const int digits = ms < 1 ? 3 : ms < 10 ? 2 : ms < 100 ? 1 : 0;
    printf("%zu bytes from %s: icmp_seq=%u ttl=%d time=%.*f ms\n", size, to_text(from).c_str(), sequence, ttl, digits,
           ms);
    fflush(stdout);
  }

  // An ICMP error has come for a request, or the host's MAC could not be found out.
  void report_error() {
    if (errno == EAGAIN || errno == EINTR) return;
    ++errors_;
    if (quiet_) return;
    const char* what = errno == EHOSTUNREACH  ? "Destination Host Unreachable"
                       : errno == ENETUNREACH ? "Destination Net Unreachable"
                                              : strerror(errno);
    const auto [from, sequence] = reporter();
    printf("From %s icmp_seq=%u %s\n", to_text(from).c_str(), sequence, what);
    fflush(stdout);
  }

  // Who sent the latest ICMP error, and the number of the request it is about.
  std::pair<wire::Address, std::uint16_t> reporter() {
    std::array<std::uint8_t, kHeader> quoted{};
    constexpr std::size_t kRoom = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in));
    alignas(cmsghdr) std::array<std::uint8_t, kRoom> control{};  // of IP_RECVTTL and IP_RECVERR
    iovec piece{quoted.data(), quoted.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    sockaddr_in from{};
    if (sl_recvmsg(socket_.fd(), &message, MSG_ERRQUEUE) < 0)
      return {wire::Address(), static_cast<std::uint16_t>(sent_)};
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_type == IP_RECVERR) memcpy(&from, CMSG_DATA(c) + sizeof(sock_extended_err), sizeof from);
    }
    return {net::to_endpoint(from).address, load_be16(quoted.data() + 6)};
  }

  void report() {
    const double loss = sent_ > 0 ? 100.0 * static_cast<double>(sent_ - times_.count) / static_cast<double>(sent_) : 0;
    if (json_) {
      const nlohmann::ordered_json out = {
          {"host", options_.host},
          {"transmitted", sent_},
          {"received", times_.count},
          {"duplicates", duplicates_},
          {"errors", errors_},
          {"loss_percent", loss},
          {"rtt_ms",
           {{"min", times_.low}, {"avg", times_.mean()}, {"max", times_.high}, {"mdev", times_.deviation()}}}};
      printf("%s\n", out.dump().c_str());
      return;
    }
    printf("\n--- %s ping statistics ---\n", options_.host.c_str());
    printf("%llu packets transmitted, %llu received, ", static_cast<unsigned long long>(sent_),
           static_cast<unsigned long long>(times_.count));
    if (duplicates_ > 0) printf("+%u duplicates, ", duplicates_);
    if (errors_ > 0) printf("+%u errors, ", errors_);
    printf("%g%% packet loss, time %lldms\n", loss, static_cast<long long>((last_event_ - start_).to_millis()));
    if (times_.count == 0) return void(printf("\n"));
    printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", times_.low, times_.mean(), times_.high,
           times_.deviation());
  }

  const PingOptions& options_;
  bool json_;
  bool quiet_;
  BlockingSession& session_;
  sockaddr_in peer_;
  net::Socket socket_;
  Instant start_;
  Instant last_event_;
  std::uint64_t sent_ = 0;
  std::uint32_t errors_ = 0;
  std::uint32_t duplicates_ = 0;
  std::map<std::uint16_t, Instant> outstanding_;  // by sequence number, when sent
  std::bitset<65536> answered_;
  Times times_;
};

}  // namespace

int run_ping(const Common& common, const PingOptions& options) {
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  return Ping(common, options, **session, host).run();
}

}  // namespace sluice::apps
