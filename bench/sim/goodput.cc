// Goodput of one TCP connection over simulated links, in virtual time: a table over loss, round-trip time and queue.
// The same seed gives the same table on any machine.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "stack/tcp/cc/registry.h"
#include "tests/support/world.h"

namespace {

using namespace sluice;

struct Cell {
  double loss;  // of each direction, percent
  int rtt_ms;
  int queue_kib;
  double mbit = 0;
};

constexpr int kRateMbit = 100;
constexpr double kSeconds = 20;

double goodput(const Cell& cell, std::uint64_t seed) {
  test::World world(seed);
  const std::string spec = "loss=" + std::to_string(cell.loss) + "%,delay=" + std::to_string(cell.rtt_ms * 500) +
                           "us,rate=" + std::to_string(kRateMbit) + "mbit,queue=" + std::to_string(cell.queue_kib) +
                           "k";
  test::Host& server = world.add_host(drivers::parse_impairment(spec).value());
  test::Host& client = world.add_host();
  auto& listening = server.sockets();
  const auto listener = listening.open(ip::Family::kV4, socket::Type::kStream).value();
  (void)listening.bind(listener, {wire::Ipv4Address{}, 5000});
  (void)listening.listen(listener, 1);
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {server.address, 5000});
  test::Pattern sender(client, out, seed);
  socket::Handle in = -1;
  std::unique_ptr<test::Pattern> receiver;
  (void)world.run(Duration::nanos(static_cast<std::int64_t>(kSeconds * 1e9)), [&] {
    if (in < 0) {
      in = listening.accept(listener, nullptr).value_or(-1);
      if (in >= 0) receiver = std::make_unique<test::Pattern>(server, in, seed);
    }
    sender.send_up_to(UINT64_MAX);
    if (receiver != nullptr) receiver->receive();
    return false;
  });
  return receiver != nullptr ? static_cast<double>(receiver->received()) * 8 / kSeconds / 1e6 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const char* path = argc == 3 && std::strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
  std::vector<Cell> cells;
  for (const double loss : {0.0, 0.1, 1.0}) {
    for (const int rtt : {2, 20, 100}) {
      for (const int queue : {32, 256}) cells.push_back({loss, rtt, queue});
    }
  }
  std::printf("%s, %d Mbit/s, %.0f s of virtual time\n\n  loss %%   RTT ms  queue KiB   goodput Mbit/s\n",
              tcp::cc::name_at(tcp::TcpConfig().congestion), kRateMbit, kSeconds);
  for (Cell& cell : cells) {
    cell.mbit = goodput(cell, 1);
    std::printf("%8.1f %8d %10d %16.2f\n", cell.loss, cell.rtt_ms, cell.queue_kib, cell.mbit);
  }
  std::FILE* out = path != nullptr ? std::fopen(path, "w") : nullptr;
  if (out == nullptr) return path != nullptr ? 1 : 0;
  std::fprintf(out, "[\n");
  for (std::size_t i = 0; i < cells.size(); ++i) {
    std::fprintf(out, " {\"loss_percent\": %.1f, \"rtt_ms\": %d, \"queue_kib\": %d, \"goodput_mbit\": %.3f}%s\n",
                 cells[i].loss, cells[i].rtt_ms, cells[i].queue_kib, cells[i].mbit, i + 1 < cells.size() ? "," : "");
  }
  std::fprintf(out, "]\n");
  std::fclose(out);
  return 0;
}
