// An echo server with the BSD calls and poll(), as a textbook has it:  echo_poll tap:tap0 10.0.0.2/24
#include <arpa/inet.h>
#include <poll.h>
#include <sluice/socket.h>
#include <sluice/runtime.hpp>

#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s DEVICE ADDRESS/LENGTH\n", argv[0]), 2;
  sluice::Options options;
  options.device = argv[1];
  options.addresses = {argv[2]};
  auto runtime = sluice::Runtime::open(options);
  if (!runtime) return std::fprintf(stderr, "%s\n", runtime.error().message.c_str()), 1;
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = htons(7);
  std::vector<pollfd> all{{sl_socket(AF_INET, SOCK_STREAM, 0), POLLIN, 0}};
  if (sl_bind(all[0].fd, (sockaddr*)&local, sizeof local) < 0 || sl_listen(all[0].fd, 16) < 0) return perror("bind"), 1;
  while (sl_poll(all.data(), all.size(), -1) > 0) {
    if (all[0].revents != 0) all.push_back({sl_accept(all[0].fd, nullptr, nullptr), POLLIN, 0});
    for (std::size_t i = 1; i < all.size(); ++i) {
      if (all[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t n = sl_recv(all[i].fd, buffer, sizeof buffer, 0);
      if (n > 0 && sl_send(all[i].fd, buffer, (std::size_t)n, 0) == n) continue;
      sl_close(all[i].fd);
      all.erase(all.begin() + (std::ptrdiff_t)i--);
    }
  }
}
