// An echo server with coroutines, any number of clients in one thread:  echo_coroutines tap:tap0 10.0.0.2/24
#include <sluice/async.hpp>

#include <array>
#include <cstdio>

using namespace sluice;

async::Task<> echo(async::TcpStream stream) {
  std::array<std::uint8_t, 4096> buffer;
  for (auto n = co_await stream.read(buffer); n && *n > 0; n = co_await stream.read(buffer)) {
    if (!co_await stream.write({buffer.data(), *n})) break;
  }
}

async::Task<> serve(async::Scope& scope, async::TcpListener listener) {
  while (auto stream = co_await listener.accept()) scope.start(echo(std::move(*stream)));
}

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s DEVICE ADDRESS/LENGTH\n", argv[0]), 2;
  Options options;
  options.device = argv[1];
  options.addresses = {argv[2]};
  options.threads = Options::Threads::kEventLoop;
  auto runtime = Runtime::open(options);
  if (!runtime) return std::fprintf(stderr, "%s\n", runtime.error().message.c_str()), 1;
  EventLoop loop(**runtime);
  async::Scope scope;
  auto listener = async::TcpListener::bind(loop, {wire::Ipv4Address::any(), 7});
  if (!listener) return 1;
  scope.start(serve(scope, std::move(*listener)));
  loop.run();
}
