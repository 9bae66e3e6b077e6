// What one connection costs beside ten others, and beside 100,000: to open and close it, and to find it for a segment.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <vector>

#include "tests/support/world.h"

namespace {

using namespace sluice;

constexpr std::uint16_t kFirstPort = 80;
constexpr std::size_t kPorts = 4;  // listening: a pair of hosts has fewer than 65536 connections to one
constexpr std::size_t kAtOnce = 200;

// Two hosts with so many idle connections between them.
class Crowd {
 public:
  explicit Crowd(std::size_t connections) {
    for (std::size_t i = 0; i < kPorts; ++i) {
      listeners_[i] = server_.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
      (void)server_.sockets().bind(listeners_[i], {server_.address, static_cast<std::uint16_t>(kFirstPort + i)});
      (void)server_.sockets().listen(listeners_[i], 1024);
    }
    while (idle_.size() < connections) {
      std::vector<socket::Handle> clients;
      const std::size_t port = idle_.size() / kAtOnce % kPorts;
      for (std::size_t i = 0; i < std::min(kAtOnce, connections - idle_.size()); ++i) clients.push_back(connect(port));
      for (const socket::Handle client : clients) idle_.push_back({client, accept(port)});
    }
  }

  void open_and_close() {
    const socket::Handle client = connect(0);
    const socket::Handle server = accept(0);
    (void)client_.sockets().set_option(client, socket::Option::kLinger, 0);  // RST: no TIME-WAIT takes up the ports
    (void)client_.sockets().close(client);
    (void)world_.run(1_s, [&] { return server_.sockets().ready(server) != socket::Ready::kOut; });
    (void)server_.sockets().close(server);
    settle();
  }

  // A byte to one of the idle connections, each time another one.
  void segment() {
    const Pair& pair = idle_[at_ = (at_ + 7919) % idle_.size()];
    std::uint8_t byte = 1;
    const Bytes out(&byte, 1);
    const MutableBytes in(&byte, 1);
    (void)client_.sockets().send(pair.client, std::span(&out, 1), nullptr);
    (void)world_.run(1_s, [&] { return server_.sockets().receive(pair.server, std::span(&in, 1)).has_value(); });
  }

 private:
  struct Pair {
    socket::Handle client = -1;
    socket::Handle server = -1;
  };
  socket::Handle connect(std::size_t port) {
    const socket::Handle h = client_.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    (void)client_.sockets().connect(h, {server_.address, static_cast<std::uint16_t>(kFirstPort + port)});
    return h;
  }
  socket::Handle accept(std::size_t port) {
    socket::Handle h = -1;
    (void)world_.run(10_s, [&] { return (h = server_.sockets().accept(listeners_[port], nullptr).value_or(-1)) >= 0; });
    return h;
  }
  void settle() {
    while (client_.stack->poll(world_.now()) || server_.stack->poll(world_.now())) {
    }
  }

  test::World world_{1};
  test::Host& client_ = world_.add_host();
  test::Host& server_ = world_.add_host();
  std::array<socket::Handle, kPorts> listeners_{};
  std::vector<Pair> idle_;
  std::size_t at_ = 0;
};

Crowd& crowd_of(std::int64_t connections) {  // made once: the benchmark library calls a function several times
  static std::map<std::int64_t, std::unique_ptr<Crowd>> crowds;
  auto& crowd = crowds[connections];
  if (crowd == nullptr) crowd = std::make_unique<Crowd>(static_cast<std::size_t>(connections));
  return *crowd;
}

void open_and_close_beside(benchmark::State& state) {
  Crowd& crowd = crowd_of(state.range(0));
  for (auto _ : state) crowd.open_and_close();
}
BENCHMARK(open_and_close_beside)->Arg(10)->Arg(100'000);

void a_byte_to_one_of(benchmark::State& state) {
  Crowd& crowd = crowd_of(state.range(0));
  for (auto _ : state) crowd.segment();
}
BENCHMARK(a_byte_to_one_of)->Arg(10)->Arg(100'000);

}  // namespace
