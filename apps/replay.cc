// sluice replay: runs a capture into a stack that plays one of its hosts, and prints what the stack sends.
#include <stdio.h>

#include <array>

#include "apps/commands.h"
#include "drivers/pcap_file.h"
#include "stack/wire/printer.h"

namespace sluice::apps {

namespace {

constexpr int kRoundsAfterTheEnd = 300;  // delayed ACKs and first repetitions still come out

// Prints every frame that passes, marked with its direction.
class Watcher final : public link::NetDevice {
 public:
  explicit Watcher(link::NetDevice& inner) : inner_(inner) {}
  [[nodiscard]] const link::Capabilities& capabilities() const override { return inner_.capabilities(); }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    const std::size_t n = inner_.rx(now, pool, out);
    for (std::size_t i = 0; i < n; ++i) print("<", out[i].buffer.bytes());
    received_ += n;
    return n;
  }
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override {
    for (const buf::TxFrame& frame : frames) {
      std::vector<std::uint8_t> bytes(frame.size());
      frame.copy_to(bytes);
      print(">", bytes);
    }
    sent_ += frames.size();
    return inner_.tx(now, frames);
  }
  [[nodiscard]] Instant next_deadline() const override { return inner_.next_deadline(); }
  [[nodiscard]] bool finished() const override { return inner_.finished(); }
  [[nodiscard]] std::size_t sent() const { return sent_; }
  [[nodiscard]] std::size_t received() const { return received_; }

 private:
  void print(const char* mark, Bytes frame) const {
    const auto layer = capabilities().medium == link::Medium::kEthernet ? wire::Layer::kEthernet : wire::Layer::kIp;
    printf("%s %s\n", mark, wire::print_line(frame, layer).c_str());
  }
  link::NetDevice& inner_;
  std::size_t sent_ = 0;
  std::size_t received_ = 0;
};

}  // namespace

int run_replay(const Common& common, const ReplayOptions& options) {
  const auto prefix = wire::parse_prefix(options.address);
  if (!prefix || !prefix->address.is_v4()) {
    fprintf(stderr, "replay: --as takes the address of a host of the capture with a length, like 192.168.1.10/24\n");
    return kExitUsage;
  }
  drivers::PcapFile::Settings settings;
  settings.only_to = prefix->address;
  settings.record = options.out;
  auto device = drivers::PcapFile::open(options.file, settings);
  if (!device) {
    fprintf(stderr, "replay: %s\n", device.error().message.c_str());
    return kExitFailed;
  }
  Watcher watcher(**device);
  Options run = common.runtime;
  run.addresses = {options.address};
  run.threads = Options::Threads::kEventLoop;
  if (run.seed == 0) run.seed = 1;  // what comes out repeats
  auto runtime = Runtime::open(run, watcher);
  if (!runtime) {
    fprintf(stderr, "replay: %s\n", runtime.error().message.c_str());
    return kExitFailed;
  }
  std::vector<net::Socket> listeners;
  for (const std::uint16_t port : options.listen) listeners.push_back(listen_stream(port));
  // Time is the program's own: a millisecond a round, whatever the clock says.
  (*runtime)->with_stack([&](Stack& stack) {
    Instant now = (*runtime)->now();
    for (int idle = 0; idle < kRoundsAfterTheEnd; idle = watcher.finished() ? idle + 1 : 0) {
      stack.poll(now);
      now = now + 1_ms;
    }
  });
  printf("%zu frames in, %zu frames out\n", watcher.received(), watcher.sent());
  if (common.statistics) print_statistics(**runtime, common.json);
  return kExitOk;
}

}  // namespace sluice::apps
