// The outside peer of the tap benchmark: load on kernel sockets against the services of `sluice benchd`, and the same
// services on kernel sockets (`serve`), so that kernel-to-kernel can be measured by the same client.
// Every run is bounded in time or count, and prints one line of JSON.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

constexpr std::uint16_t kDiscard = 5001;
constexpr std::uint16_t kSource = 5002;
constexpr std::uint16_t kEcho = 5003;
constexpr std::uint16_t kUdpEcho = 5004;
constexpr std::size_t kChunk = 256 << 10;  // bytes a system call
constexpr int kPeerTimeoutMs = 5000;       // silence after which a run is given up

double now_seconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

[[noreturn]] void die(const char* what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

int check(int result, const char* what) {
  if (result < 0) die(what);
  return result;
}

sockaddr_in address_of(const char* host, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
    fprintf(stderr, "load: '%s' is not an IPv4 address\n", host);
    exit(2);
  }
  return a;
}

void set_int(int fd, int level, int name, int value) {
  check(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

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

void bulk_out(const char* host, double seconds) {
  const int fd = connect_to(host, kSource);
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

// One of the `parallel` connections of connect_rate.
struct Slot {
  int fd = -1;
  bool requested = false;
};

void open_slot(int ep, Slot& slot, std::uint32_t index, const sockaddr_in& peer) {
  slot.fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
  slot.requested = false;
  set_int(slot.fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connect(slot.fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) < 0 && errno != EINPROGRESS)
    die("connect");
  epoll_event e{};
  e.events = EPOLLOUT;
  e.data.u32 = index;
  check(epoll_ctl(ep, EPOLL_CTL_ADD, slot.fd, &e), "epoll_ctl");
}

// True when the slot's exchange is complete and its socket closed.
bool advance_slot(int ep, Slot& slot, std::uint32_t index) {
  char byte = 'x';
  if (!slot.requested) {
    if (send(slot.fd, &byte, 1, 0) != 1) die("connect or send");
    slot.requested = true;
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u32 = index;
    check(epoll_ctl(ep, EPOLL_CTL_MOD, slot.fd, &e), "epoll_ctl");
    return false;
  }
  if (recv(slot.fd, &byte, 1, 0) != 1) die("recv");
  close(slot.fd);
  slot.fd = -1;
  return true;
}

// Connect, one byte there and back, close: `count` times, `parallel` at once. The client closes first, so it needs a
// local port for each: count stays below the ephemeral range.
void connect_rate(const char* host, long count, long parallel) {
  const sockaddr_in peer = address_of(host, kEcho);
  const int ep = check(epoll_create1(0), "epoll_create1");
  std::vector<Slot> slots(static_cast<std::size_t>(parallel));
  long started = 0;
  long done = 0;
  const double start = now_seconds();
  for (std::uint32_t i = 0; i < slots.size() && started < count; ++i, ++started) open_slot(ep, slots[i], i, peer);
  std::array<epoll_event, 64> events{};
  while (done < count) {
    const int n = check(epoll_wait(ep, events.data(), static_cast<int>(events.size()), kPeerTimeoutMs), "epoll_wait");
    if (n == 0) {
      fprintf(stderr, "load: no answer for %d ms after %ld connections\n", kPeerTimeoutMs, done);
      exit(1);
    }
    for (int i = 0; i < n; ++i) {
      const std::uint32_t index = events[static_cast<std::size_t>(i)].data.u32;
      if (!advance_slot(ep, slots[index], index)) continue;
      ++done;
      if (started < count) open_slot(ep, slots[index], index, peer), ++started;
    }
  }
  const double total = now_seconds() - start;
  printf("{\"test\": \"connect\", \"per_s\": %.0f, \"count\": %ld, \"parallel\": %ld}\n",
         static_cast<double>(count) / total, count, parallel);
  close(ep);
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

// --- the same services on kernel sockets -------------------------------------------------------------------------

int listen_on(std::uint16_t port) {
  const int fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const sockaddr_in a = address_of("0.0.0.0", port);
  check(bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a), "bind");
  check(listen(fd, 1024), "listen");
  return fd;
}

class KernelServer {
 public:
  explicit KernelServer(double seconds) : end_(now_seconds() + seconds), ep_(check(epoll_create1(0), "epoll_create1")) {
    for (const std::uint16_t port : {kDiscard, kSource, kEcho}) add(listen_on(port), Role::kListener, port, EPOLLIN);
    const int udp = check(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), "socket");
    const sockaddr_in a = address_of("0.0.0.0", kUdpEcho);
    check(bind(udp, reinterpret_cast<const sockaddr*>(&a), sizeof a), "bind");
    add(udp, Role::kUdp, kUdpEcho, EPOLLIN);
  }

  void run() {
    std::array<epoll_event, 64> events{};
    while (now_seconds() < end_) {
      const int n = epoll_wait(ep_, events.data(), static_cast<int>(events.size()), 100);
      for (int i = 0; i < n; ++i) serve(static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.fd));
    }
  }

 private:
  enum class Role : std::uint8_t { kNone, kListener, kConnection, kUdp };
  struct Entry {
    Role role = Role::kNone;
    std::uint16_t port = 0;
  };

  void add(int fd, Role role, std::uint16_t port, std::uint32_t wanted) {
    if (entries_.size() <= static_cast<std::size_t>(fd)) entries_.resize(static_cast<std::size_t>(fd) + 1);
    entries_[static_cast<std::size_t>(fd)] = {role, port};
    epoll_event e{};
    e.events = wanted;
    e.data.fd = fd;
    check(epoll_ctl(ep_, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
  }

  void serve(std::size_t fd) {
    const Entry entry = entries_[fd];
    switch (entry.role) {
      case Role::kListener:
        return accept_all(static_cast<int>(fd), entry.port);
      case Role::kConnection:
        return serve_connection(static_cast<int>(fd), entry.port);
      case Role::kUdp:
        return serve_udp(static_cast<int>(fd));
      case Role::kNone:
        return;
    }
  }

  void accept_all(int listener, std::uint16_t port) {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      add(fd, Role::kConnection, port, port == kSource ? EPOLLOUT : EPOLLIN);
    }
  }

  void serve_connection(int fd, std::uint16_t port) {
    if (port == kSource) {
      if (send(fd, chunk_.data(), chunk_.size(), MSG_NOSIGNAL) < 0 && errno != EAGAIN) drop(fd);
      return;
    }
    const ssize_t n = recv(fd, chunk_.data(), chunk_.size(), 0);
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    if (port == kEcho && send(fd, chunk_.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) drop(fd);
  }

  void serve_udp(int fd) {
    constexpr int kBatch = 64;
    for (int i = 0; i < kBatch; ++i) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(fd, chunk_.data(), chunk_.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) return;
      (void)sendto(fd, chunk_.data(), static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), length);
    }
  }

  void drop(int fd) {
    entries_[static_cast<std::size_t>(fd)] = {};
    close(fd);
  }

  double end_;
  int ep_;
  std::vector<Entry> entries_;
  std::vector<char> chunk_ = std::vector<char>(kChunk, 'x');
};

int usage() {
  fprintf(stderr,
          "usage: load bulk-in HOST SECONDS      into the discard service (TCP 5001)\n"
          "       load bulk-out HOST SECONDS     from the source service (TCP 5002)\n"
          "       load rr HOST SECONDS           1 byte there and back (TCP 5003)\n"
          "       load connect HOST COUNT N      connect, 1 byte there and back, close; N at once (TCP 5003)\n"
          "       load udp HOST SECONDS          64-byte datagrams there and back, 32 in flight (UDP 5004)\n"
          "       load serve SECONDS             these services on kernel sockets\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const std::string test = argc > 1 ? argv[1] : "";
  if (test == "serve" && argc == 3) {
    KernelServer(atof(argv[2])).run();
    return 0;
  }
  if (test == "connect" && argc == 5) return connect_rate(argv[2], atol(argv[3]), atol(argv[4])), 0;
  if (argc != 4) return usage();
  const double seconds = atof(argv[3]);
  if (seconds <= 0 || seconds > 60) return usage();
  if (test == "bulk-in") return bulk_in(argv[2], seconds), 0;
  if (test == "bulk-out") return bulk_out(argv[2], seconds), 0;
  if (test == "rr") return request_response(argv[2], seconds), 0;
  if (test == "udp") return udp_echo(argv[2], seconds), 0;
  return usage();
}
