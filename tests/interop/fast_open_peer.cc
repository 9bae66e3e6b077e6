// One end of a few Fast Open connections (RFC 7413) on sluice, for interop.py, which plays the other on the kernel.
// Each connection carries one question and its answer, and a line on standard output: whether the question came in the
// SYN.
//   fast_open_peer server DEVICE ADDRESS/LENGTH
//   fast_open_peer client DEVICE ADDRESS/LENGTH SERVER
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include <array>
#include <string_view>

#include "sluice/runtime.hpp"
#include "sluice/socket.h"

namespace {

constexpr int kConnections = 3;
constexpr std::uint16_t kPort = 7;
constexpr std::string_view kQuestion = "a question that fits into a SYN";

bool syn_data_acked(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  return sl_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

sockaddr_in address_of(const char* host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  (void)inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

int fail(const char* what) {
  perror(what);
  return 1;
}

int serve() {
  const int listener = sl_socket(AF_INET, SOCK_STREAM, 0);
  const int limit = 16;
  const sockaddr_in any = address_of("0.0.0.0");
  if (sl_setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &limit, sizeof limit) < 0) return fail("TCP_FASTOPEN");
  if (sl_bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any) < 0) return fail("bind");
  if (sl_listen(listener, 16) < 0) return fail("listen");
  for (int i = 0; i < kConnections; ++i) {
    const int fd = sl_accept(listener, nullptr, nullptr);
    if (fd < 0) return fail("accept");
    std::array<char, 256> question{};
    const ssize_t n = sl_read(fd, question.data(), question.size());
    if (n < 0 || sl_write(fd, question.data(), static_cast<std::size_t>(n)) != n) return fail("answer");
    printf("%d\n", syn_data_acked(fd) ? 1 : 0);
    (void)sl_close(fd);
  }
  return 0;
}

int ask(const char* host) {
  const sockaddr_in server = address_of(host);
  for (int i = 0; i < kConnections; ++i) {
    const int fd = sl_socket(AF_INET, SOCK_STREAM, 0);
    const ssize_t sent = sl_sendto(fd, kQuestion.data(), kQuestion.size(), MSG_FASTOPEN,
                                   reinterpret_cast<const sockaddr*>(&server), sizeof server);
    if (sent != static_cast<ssize_t>(kQuestion.size())) return fail("sendto");
    std::array<char, 256> answer{};
    const ssize_t n = sl_recv(fd, answer.data(), kQuestion.size(), MSG_WAITALL);
    if (n < 0 || std::string_view(answer.data(), static_cast<std::size_t>(n)) != kQuestion) return fail("recv");
    printf("%d\n", syn_data_acked(fd) ? 1 : 0);
    (void)sl_close(fd);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  sluice::Options options;
  options.device = argv[2];
  options.addresses = {argv[3]};
  const auto runtime = sluice::Runtime::open(options);
  if (!runtime) return fprintf(stderr, "%s\n", runtime.error().message.c_str()), 1;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  return strcmp(argv[1], "server") == 0 ? serve() : ask(argc > 4 ? argv[4] : "");
}
