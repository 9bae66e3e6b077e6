// The outside peer of the tap benchmark: load on kernel sockets against the services of `sluice benchd`.
// Every run is bounded in time and count, and prints one line of JSON.
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "bench/tap/kernel.h"

namespace {

using namespace bench;

constexpr int kWakeAt = 128 << 10;    // bytes
constexpr int kPeerTimeoutMs = 5000;  // silence after which a run is given up

int connect_to(const char* host, std::uint16_t port) {
  const int fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  timeval limit{kPeerTimeoutMs / 1000, 0};
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
  check(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
  const sockaddr_in a = address_of(host, port);
  check(connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), "connect");
  return fd;
}

void print_rate(const char* test, double bytes, double seconds) {
  printf("{\"test\": \"%s\", \"gbit_per_s\": %.3f, \"bytes\": %.0f, \"seconds\": %.3f}\n", test,
         bytes * 8 / seconds / 1e9, bytes, seconds);
}

// Into the server: counted until its FIN shows that all of it was read.
void bulk_in(const char* host, double seconds) {
  const int fd = connect_to(host, kDiscard);
  std::vector<char> chunk(kChunk, 'x');
  double bytes = 0;
  const double start = now_seconds();
  while (now_seconds() - start < seconds)
    bytes += check(static_cast<int>(send(fd, chunk.data(), chunk.size(), 0)), "send");
  check(shutdown(fd, SHUT_WR), "shutdown");
  if (check(static_cast<int>(recv(fd, chunk.data(), 1, 0)), "recv") != 0) {
    fprintf(stderr, "load: the discard service sent data\n");
    exit(1);
  }
  print_rate("bulk_in", bytes, now_seconds() - start);
  close(fd);
}

// Out of the server. The kernel wakes this client only for a good amount: a wake-up to another processor for each frame
// costs the server's side more than the frame, and makes the figure depend on whether the client happens to sleep.
void bulk_out(const char* host, double seconds) {
  const int fd = connect_to(host, kSource);
  set_int(fd, SOL_SOCKET, SO_RCVLOWAT, kWakeAt);
  std::vector<char> chunk(kChunk);
  double bytes = 0;
  const double start = now_seconds();
  while (now_seconds() - start < seconds) {
    const auto n = check(static_cast<int>(recv(fd, chunk.data(), chunk.size(), 0)), "recv");
    if (n == 0) break;
    bytes += n;
  }
  print_rate("bulk_out", bytes, now_seconds() - start);
  close(fd);
}

void request_response(const char* host, double seconds) {
  const int fd = connect_to(host, kEcho);
  std::vector<double> times;
  times.reserve(1 << 20);
  char byte = 'x';
  const double start = now_seconds();
  double before = start;
  while (before - start < seconds) {
    check(static_cast<int>(send(fd, &byte, 1, 0)), "send");
    if (check(static_cast<int>(recv(fd, &byte, 1, 0)), "recv") != 1) die("peer closed");
    const double after = now_seconds();
    times.push_back(after - before);
    before = after;
  }
  const double total = before - start;
  std::sort(times.begin(), times.end());
  printf("{\"test\": \"rr\", \"per_s\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
         static_cast<double>(times.size()) / total, times[times.size() / 2] * 1e6,
         times[times.size() * 99 / 100] * 1e6);
  close(fd);
}

// Connect, one byte there and back, close; over and over, `parallel` at once. Each connection has a port of its own:
// the local addresses take turns, so that finding a free port costs the kernel nothing and the server's TIME-WAIT is
// not met again. Whoever closes first keeps the TIME-WAIT.
class ConnectRate {
 public:
  enum class FirstToClose { kClient, kServer };

  ConnectRate(const char* host, FirstToClose first, std::size_t parallel, const std::vector<std::string>& sources)
      : first_(first),
        peer_(address_of(host, first == FirstToClose::kClient ? kEcho : kEchoAndClose)),
        slots_(parallel),
        ep_(check(epoll_create1(0), "epoll_create1")) {
    for (const std::string& source : sources) sources_.push_back(address_of(source.c_str(), 0));
  }

  void run(double seconds) {
    const double start = now_seconds();
    for (std::uint32_t i = 0; i < slots_.size(); ++i) open(i);
    std::array<epoll_event, 64> events{};
    while (now_seconds() - start < seconds && done_ < kMostConnections) {
      const int n =
          check(epoll_wait(ep_, events.data(), static_cast<int>(events.size()), kPeerTimeoutMs), "epoll_wait");
      if (n == 0) {
        fprintf(stderr, "load: no answer for %d ms after %ld connections\n", kPeerTimeoutMs, done_);
        exit(1);
      }
      for (int i = 0; i < n; ++i) advance(events[static_cast<std::size_t>(i)]);
    }
    printf("{\"test\": \"connect\", \"per_s\": %.0f, \"count\": %ld, \"parallel\": %zu}\n",
           static_cast<double>(done_) / (now_seconds() - start), done_, slots_.size());
  }

 private:
  static constexpr long kMostConnections = 300'000;

  struct Slot {
    int fd = -1;
    bool requested = false;
  };

  void open(std::uint32_t index) {
    Slot& slot = slots_[index];
    slot.fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    slot.requested = false;
    if (!sources_.empty()) {
      set_int(slot.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
      const sockaddr_in& source = sources_[next_source_++ % sources_.size()];
      check(bind(slot.fd, reinterpret_cast<const sockaddr*>(&source), sizeof source), "bind");
    }
    if (connect(slot.fd, reinterpret_cast<const sockaddr*>(&peer_), sizeof peer_) < 0 && errno != EINPROGRESS)
      die("connect");
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | EPOLLET;
    e.data.u32 = index;
    check(epoll_ctl(ep_, EPOLL_CTL_ADD, slot.fd, &e), "epoll_ctl");
  }

  void advance(const epoll_event& event) {
    Slot& slot = slots_[event.data.u32];
    char byte = 'x';
    if (!slot.requested && (event.events & EPOLLOUT) != 0) {
      if (send(slot.fd, &byte, 1, 0) != 1) die("connect or send");
      slot.requested = true;
    }
    if ((event.events & EPOLLIN) == 0) return;
    ssize_t n = recv(slot.fd, &byte, 1, 0);
    if (n == 1 && first_ == FirstToClose::kServer) n = recv(slot.fd, &byte, 1, 0);
    if (n < 0 && errno == EAGAIN) return;  // the server's FIN is still to come
    if (n != (first_ == FirstToClose::kServer ? 0 : 1)) die("recv");
    close(slot.fd);
    ++done_;
    open(event.data.u32);
  }

  FirstToClose first_;
  sockaddr_in peer_;
  std::vector<sockaddr_in> sources_;
  std::size_t next_source_ = 0;
  std::vector<Slot> slots_;
  int ep_;
  long done_ = 0;
};

// A crowd of connections that do nothing, until standard input ends; the line is printed once all are open.
void hold(const char* host, long count, const std::vector<std::string>& sources) {
  constexpr double kLongest = 20;  // s
  const sockaddr_in peer = address_of(host, kEcho);
  const double start = now_seconds();
  for (long i = 0; i < count; ++i) {
    const int fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    const sockaddr_in source = address_of(sources[static_cast<std::size_t>(i) % sources.size()].c_str(), 0);
    check(bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof source), "bind");
    check(connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer), "connect");
    if (now_seconds() - start > kLongest) {
      fprintf(stderr, "load: only %ld connections in %.0f s\n", i + 1, kLongest);
      exit(1);
    }
  }
  printf("{\"test\": \"hold\", \"count\": %ld, \"seconds\": %.3f}\n", count, now_seconds() - start);
  fflush(stdout);
  char byte = 0;
  (void)!read(STDIN_FILENO, &byte, 1);
}

constexpr unsigned kUdpWindow = 32;  // datagrams in flight
constexpr std::size_t kUdpBytes = 64;

void udp_echo(const char* host, double seconds) {
  const int fd = check(socket(AF_INET, SOCK_DGRAM, 0), "socket");
  set_int(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  timeval limit{0, 200'000};
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
  const sockaddr_in a = address_of(host, kUdpEcho);
  check(connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), "connect");
  std::array<std::array<char, kUdpBytes>, kUdpWindow> data{};
  std::array<iovec, kUdpWindow> pieces{};
  std::array<mmsghdr, kUdpWindow> messages{};
  for (std::size_t i = 0; i < kUdpWindow; ++i) {
    pieces[i] = {data[i].data(), kUdpBytes};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  double echoed = 0;
  double lost = 0;
  unsigned credit = kUdpWindow;
  const double start = now_seconds();
  while (now_seconds() - start < seconds) {
    if (credit > 0) credit -= static_cast<unsigned>(check(sendmmsg(fd, messages.data(), credit, 0), "sendmmsg"));
    const int n = recvmmsg(fd, messages.data(), kUdpWindow, MSG_WAITFORONE, nullptr);
    if (n < 0 && errno != EAGAIN) die("recvmmsg");
    if (n < 0) {  // all that was in flight is lost
      lost += kUdpWindow - credit;
      credit = kUdpWindow;
      continue;
    }
    echoed += n;
    credit += static_cast<unsigned>(n);
  }
  printf("{\"test\": \"udp_echo\", \"per_s\": %.0f, \"lost\": %.0f}\n", echoed / (now_seconds() - start), lost);
  close(fd);
}

int usage() {
  fprintf(
      stderr,
      "usage: load bulk-in HOST SECONDS      into the discard service (TCP 5001)\n"
      "       load bulk-out HOST SECONDS     from the source service (TCP 5002)\n"
      "       load rr HOST SECONDS           1 byte there and back (TCP 5003)\n"
      "       load connect HOST SECONDS N [SOURCE...]   connect, 1 byte there and back, the client closes; N at once,\n"
      "                                      from these addresses in turn (TCP 5003)\n"
      "       load closed HOST SECONDS N [SOURCE...]    the same, the server closes (TCP 5005)\n"
      "       load udp HOST SECONDS          64-byte datagrams there and back, 32 in flight (UDP 5004)\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc < 4) return usage();
  const std::string test = argv[1];
  const char* host = argv[2];
  if (test == "hold" && argc > 4) return hold(host, atol(argv[3]), {argv + 4, argv + argc}), 0;
  const double seconds = atof(argv[3]);
  if (seconds <= 0 || seconds > 60) return usage();
  if ((test == "connect" || test == "closed") && argc > 4) {
    const auto first = test == "closed" ? ConnectRate::FirstToClose::kServer : ConnectRate::FirstToClose::kClient;
    const auto parallel = static_cast<std::size_t>(std::clamp(atoi(argv[4]), 1, 1024));
    return ConnectRate(host, first, parallel, {argv + 5, argv + argc}).run(seconds), 0;
  }
  if (argc != 4) return usage();
  if (test == "bulk-in") return bulk_in(host, seconds), 0;
  if (test == "bulk-out") return bulk_out(host, seconds), 0;
  if (test == "rr") return request_response(host, seconds), 0;
  if (test == "udp") return udp_echo(host, seconds), 0;
  return usage();
}
