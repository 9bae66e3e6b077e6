// Kernel sockets for the benchmark's outside programs: the ports that are measured, and small helpers that end the
// program on failure.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdint>
#include <string_view>

namespace bench {

constexpr std::uint16_t kDiscard = 5001;  // the services of `sluice benchd`
constexpr std::uint16_t kSource = 5002;
constexpr std::uint16_t kEcho = 5003;
constexpr std::uint16_t kUdpEcho = 5004;
constexpr std::uint16_t kEchoAndClose = 5005;
constexpr std::uint16_t kHttp = 8080;
constexpr std::size_t kChunk = 256 << 10;  // bytes a system call
constexpr std::string_view kPage =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nhello, sluice\n";

inline double now_seconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

[[noreturn]] inline void die(const char* what) {
  fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
  exit(1);
}

inline int check(int result, const char* what) {
  if (result < 0) die(what);
  return result;
}

inline sockaddr_in address_of(const char* host, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
    fprintf(stderr, "bench: '%s' is not an IPv4 address\n", host);
    exit(2);
  }
  return a;
}

inline void set_int(int fd, int level, int name, int value) {
  check(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

}  // namespace bench
