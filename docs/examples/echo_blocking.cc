// An echo server with blocking calls, one client after the other:  echo_blocking tap:tap0 10.0.0.2/24
#include <sluice/runtime.hpp>
#include <sluice/socket.hpp>

#include <array>
#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s DEVICE ADDRESS/LENGTH\n", argv[0]), 2;
  sluice::Options options;
  options.device = argv[1];
  options.addresses = {argv[2]};
  auto runtime = sluice::Runtime::open(options);
  if (!runtime) return std::fprintf(stderr, "%s\n", runtime.error().message.c_str()), 1;
  auto listener = sluice::net::TcpListener::bind({sluice::wire::Ipv4Address::any(), 7});
  if (!listener) return 1;
  while (auto stream = listener->accept()) {
    std::array<std::uint8_t, 4096> buffer;
    for (auto n = stream->read(buffer); n && *n > 0; n = stream->read(buffer)) {
      if (!stream->write({buffer.data(), *n})) break;
    }
  }
}
