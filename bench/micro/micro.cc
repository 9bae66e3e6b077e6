// The small parts by themselves: checksum, CRC, parse and emit, timer wheel, demultiplexing, one segment through the
// stack.
#include <benchmark/benchmark.h>

#include <deque>
#include <memory>
#include <vector>

#include "stack/base/siphash.h"
#include "stack/base/timer_wheel.h"
#include "stack/stack.h"
#include "stack/tcp/flow.h"
#include "stack/wire/checksum.h"
#include "stack/wire/crc32.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace {

using namespace sluice;

void checksum(benchmark::State& state) {
  const std::vector<std::uint8_t> data(static_cast<std::size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(wire::checksum(data));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->Arg(64)->Arg(1460)->Arg(65536);

void checksum_and_copy(benchmark::State& state) {
  const std::vector<std::uint8_t> data(static_cast<std::size_t>(state.range(0)), 0x5a);
  std::vector<std::uint8_t> copy(data.size());
  for (auto _ : state) {
    wire::Checksum c;
    benchmark::DoNotOptimize(c.add_copy(copy, data).finish());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum_and_copy)->Arg(1460)->Arg(65536);

void crc32(benchmark::State& state) {
  const std::vector<std::uint8_t> data(static_cast<std::size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(wire::crc32(data));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32)->Arg(64)->Arg(1518);

void siphash_of_a_4_tuple(benchmark::State& state) {
  SipKey key{};
  std::vector<std::uint8_t> message(12, 1);
  for (auto _ : state) benchmark::DoNotOptimize(siphash24(key, message));
}
BENCHMARK(siphash_of_a_4_tuple);

const wire::Address kA = wire::Ipv4Address::of(192, 0, 2, 1);
const wire::Address kB = wire::Ipv4Address::of(192, 0, 2, 2);

std::vector<std::uint8_t> segment(std::size_t payload) {
  std::vector<std::uint8_t> packet(52 + payload, 'x');
  wire::ipv4::emit(packet, {.total_length = static_cast<std::uint16_t>(packet.size()),
                            .ttl = 64,
                            .protocol = 6,
                            .source = kA.v4(),
                            .destination = kB.v4()});
  wire::tcp::Options options;
  options.has_timestamps = true;
  const MutableBytes l4 = MutableBytes(packet).subspan(20);
  wire::tcp::emit(l4, {.src_port = 1000, .dst_port = 80, .seq = 1, .ack = 1, .flags = 16, .window = 1000}, options);
  auto sum = wire::Checksum::pseudo_header(kA, kB, 6, l4.size());
  wire::tcp::store_checksum(l4, sum.add(l4).finish());
  return packet;
}

void parse_ipv4_and_tcp(benchmark::State& state) {
  const auto packet = segment(0);
  for (auto _ : state) {
    const auto ip = wire::ipv4::parse(packet);
    const auto tcp = wire::tcp::parse(ip->payload, kA, kB, wire::ChecksumPolicy::kVerify);
    benchmark::DoNotOptimize(wire::tcp::parse_options(tcp->options));
  }
}
BENCHMARK(parse_ipv4_and_tcp);

void emit_ipv4_and_tcp(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(segment(0));
}
BENCHMARK(emit_ipv4_and_tcp);

void timer_wheel_rearm(benchmark::State& state) {
  TimerWheel wheel;
  std::vector<std::unique_ptr<Timer>> timers;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    timers.push_back(std::make_unique<Timer>([](void*) {}, nullptr));
    wheel.schedule(*timers.back(), Instant::from_nanos(1'000'000 * (i + 1)));
  }
  std::size_t at = 0;
  std::int64_t now = 0;
  for (auto _ : state) {
    wheel.schedule(*timers[at], Instant::from_nanos(now += 1000) + 200_ms);
    at = (at + 1) % timers.size();
  }
}
BENCHMARK(timer_wheel_rearm)->Arg(10)->Arg(100'000);

void demultiplex(benchmark::State& state) {
  Rng rng(Rng::seed_from(1));
  tcp::FlowTable table(rng);
  std::vector<std::unique_ptr<tcp::Flow>> flows;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    const tcp::FourTuple tuple{{kB, 80}, {wire::Ipv4Address{static_cast<std::uint32_t>(i)}, 1000}};
    flows.push_back(std::make_unique<tcp::Flow>(tcp::FlowKind::kTimeWait, tuple));
    table.insert(*flows.back());
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.find(flows[at]->tuple));
    at = (at + 7919) % flows.size();
  }
}
BENCHMARK(demultiplex)->Arg(10)->Arg(100'000);

// Takes what is sent; hands over one packet again and again.
class Sink final : public link::NetDevice {
 public:
  Sink() { capabilities_.medium = link::Medium::kIp; }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    if (packet == nullptr) return 0;
    out[0] = {pool.copy_of(*packet), {}, static_cast<std::uint32_t>(packet->size())};
    packet = nullptr;
    return 1;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override { return frames.size(); }
  const std::vector<std::uint8_t>* packet = nullptr;

 private:
  link::Capabilities capabilities_;
};

// A datagram up through link, IP, UDP and the socket, and one back.
void udp_through_the_stack(benchmark::State& state) {
  Sink sink;
  StackConfig config;
  config.seed = Rng::seed_from(1);
  Stack stack(config);
  const auto id = stack.ip().add_interface(sink, {}).value();
  (void)stack.ip().add_address(id, {kB, 24});
  const auto socket = stack.sockets().open(ip::Family::kV4, socket::Type::kDatagram).value();
  (void)stack.sockets().bind(socket, {wire::Ipv4Address{}, 9});
  std::vector<std::uint8_t> packet(20 + 8 + 64);
  wire::ipv4::emit(packet, {.total_length = static_cast<std::uint16_t>(packet.size()),
                            .ttl = 64,
                            .protocol = 17,
                            .source = kA.v4(),
                            .destination = kB.v4()});
  packet[22] = 0;
  packet[23] = 9;
  packet[21] = 7;
  packet[25] = 72;
  std::vector<std::uint8_t> data(64);
  const MutableBytes room(data);
  const Bytes out(data);
  std::int64_t now = 1'000'000'000;
  for (auto _ : state) {
    sink.packet = &packet;
    stack.poll(Instant::from_nanos(now += 1000));
    const auto got = stack.sockets().receive(socket, std::span(&room, 1));
    benchmark::DoNotOptimize(stack.sockets().send(socket, std::span(&out, 1), &got->source));
  }
}
BENCHMARK(udp_through_the_stack);

// One end of a wire between two stacks; what is sent waits in blocks of the pool that was there first.
class WireEnd final : public link::NetDevice {
 public:
  WireEnd(buf::Pool& pool, std::uint32_t max_gso_bytes) : pool_(pool) {
    capabilities_.medium = link::Medium::kIp;
    capabilities_.max_gso_bytes = max_gso_bytes;
    capabilities_.tso4 = capabilities_.tx_checksum = max_gso_bytes > 0;
  }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool&, std::span<buf::RxFrame> out) override {
    std::size_t n = 0;
    for (; n < out.size() && !arrived_.empty(); ++n) {
      out[n] = std::move(arrived_.front());
      arrived_.pop_front();
    }
    return n;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override {
    for (const buf::TxFrame& frame : frames) {
      buf::Buffer block = pool_.allocate(frame.size());
      (void)frame.copy_to(block.storage());
      block.set_view(0, frame.size());
      peer->arrived_.push_back({std::move(block), frame.offload, static_cast<std::uint32_t>(frame.size())});
    }
    return frames.size();
  }
  WireEnd* peer = nullptr;

 private:
  buf::Pool& pool_;
  link::Capabilities capabilities_;
  std::deque<buf::RxFrame> arrived_;
};

struct Station {
  Station(buf::Pool& pool, std::uint32_t max_gso_bytes, const wire::Address& address)
      : device(pool, max_gso_bytes), stack(config()) {
    const auto id = stack.ip().add_interface(device, {}).value();
    (void)stack.ip().add_address(id, {address, 24});
  }
  static StackConfig config() {
    StackConfig c;
    c.seed = Rng::seed_from(1);
    return c;
  }
  [[nodiscard]] std::uint64_t count(Counter c) const { return stack.counters().get(c); }
  WireEnd device;
  Stack stack;
};

std::uint64_t cycles() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

// A stream from one socket through two stacks to another: what a packet costs with its ACKs, both ends and the copy of
// the wire together. The argument is the largest packet, bytes: 0 for 1500, the MTU.
void tcp_through_two_stacks(benchmark::State& state) {
  buf::Pool pool;
  const auto largest = static_cast<std::uint32_t>(state.range(0));
  Station a(pool, largest, kA);
  Station b(pool, largest, kB);
  a.device.peer = &b.device;
  b.device.peer = &a.device;
  const auto listener = b.stack.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)b.stack.sockets().bind(listener, {wire::Ipv4Address{}, 9});
  (void)b.stack.sockets().listen(listener, 1);
  const auto out = a.stack.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)a.stack.sockets().connect(out, {kB, 9});
  std::int64_t now = 1'000'000'000;
  const auto poll = [&] {
    a.stack.poll(Instant::from_nanos(now += 1000));
    b.stack.poll(Instant::from_nanos(now));
  };
  for (int i = 0; i < 1000 && b.stack.sockets().ready(listener) == socket::Ready::kNone; ++i) poll();
  const auto in = b.stack.sockets().accept(listener, nullptr);
  if (!in) return state.SkipWithError("no connection");
  std::vector<std::uint8_t> chunk(64 << 10), room(64 << 10);
  const Bytes give(chunk);
  const MutableBytes take(room);
  std::uint64_t bytes = 0;
  const auto packets = [&] { return a.count(Counter::kLinkTxFrames) + b.count(Counter::kLinkTxFrames); };
  const auto copied = [&] { return a.count(Counter::kTcpBytesCopied) + b.count(Counter::kTcpBytesCopied); };
  const std::uint64_t packets_before = packets(), copied_before = copied(), began = cycles();
  for (auto _ : state) {
    (void)a.stack.sockets().send(out, std::span(&give, 1), nullptr);
    poll();
    while (const auto got = b.stack.sockets().receive(*in, std::span(&take, 1))) bytes += got->size;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  const auto sent = static_cast<double>(packets() - packets_before);
  if (cycles() != 0) state.counters["cycles/packet"] = static_cast<double>(cycles() - began) / sent;
  state.counters["copies/byte"] = static_cast<double>(copied() - copied_before) / static_cast<double>(bytes);
}
BENCHMARK(tcp_through_two_stacks)->Arg(0)->Arg(65535);

}  // namespace

BENCHMARK_MAIN();
