// Early coalescing: what is joined, what must never be, and that nothing is lost or invented.
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "stack/link/coalescer.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

using Flags = wire::tcp::Flags;

struct Segment {
  wire::ipv4::Header ip{.dont_fragment = true, .ttl = 64, .protocol = 6, .source = kPeer, .destination = kUs};
  wire::tcp::Header tcp{
      .src_port = 1000, .dst_port = 80, .seq = 5000, .ack = 77, .flags = Flags(Flags::kAck), .window = 500};
  std::uint32_t timestamp = 1;
  std::size_t size = 100;
  MacAddress to = kOurMac;
  std::uint8_t break_checksum = 0;  // added to the last byte, after the checksum was made
};

// The payload's bytes tell their sequence numbers.
Octets frame_of(const Segment& s, link::Medium medium = link::Medium::kEthernet) {
  wire::tcp::Options options;
  options.has_timestamps = true;
  options.timestamps = {s.timestamp, 9};
  const std::size_t header = 20 + wire::tcp::options_size(options);
  const std::size_t link = medium == link::Medium::kEthernet ? 14 : 0;
  Octets frame(link + 20 + header + s.size);
  if (link > 0) wire::ethernet::emit(frame, {s.to, kPeerMac, wire::ethernet::kIpv4});
  wire::ipv4::Header ip = s.ip;
  ip.total_length = static_cast<std::uint16_t>(20 + header + s.size);
  wire::ipv4::emit(MutableBytes(frame).subspan(link), ip);
  const MutableBytes l4 = MutableBytes(frame).subspan(link + 20);
  wire::tcp::emit(l4.first(header), s.tcp, options);
  for (std::size_t i = 0; i < s.size; ++i) l4[header + i] = static_cast<std::uint8_t>(s.tcp.seq + i);
  auto sum = wire::Checksum::pseudo_header(ip.source, ip.destination, 6, l4.size());
  wire::tcp::store_checksum(l4, sum.add(l4).finish());
  frame.back() = static_cast<std::uint8_t>(frame.back() + s.break_checksum);
  return frame;
}

std::vector<buf::RxFrame> batch_of(const std::vector<Segment>& segments,
                                   link::Medium medium = link::Medium::kEthernet) {
  std::vector<buf::RxFrame> batch;
  for (const Segment& s : segments) {
    const Octets frame = frame_of(s, medium);
    batch.push_back({buf::Buffer::copy_of(frame), {}, static_cast<std::uint32_t>(frame.size())});
  }
  return batch;
}

// Sizes of the payloads that come out, in order.
std::vector<std::size_t> sizes_after(std::vector<buf::RxFrame>& batch, std::size_t headers = 66) {
  std::vector<std::size_t> sizes;
  for (const buf::RxFrame& f : batch) {
    if (f.buffer) sizes.push_back(f.buffer.size() - headers);
  }
  return sizes;
}

std::vector<Segment> three() {
  std::vector<Segment> run(3);
  for (std::uint32_t i = 0; i < 3; ++i) run[i].tcp.seq += 100 * i;
  return run;
}

TEST(Coalescer, JoinsARowOfSegments) {
  for (const link::Medium medium : {link::Medium::kEthernet, link::Medium::kIp}) {
    buf::Pool pool;
    std::vector<Segment> run = three();
    run[2].size = 30;
    run[2].tcp.flags = Flags(Flags::kAck | Flags::kPsh);
    auto batch = batch_of(run, medium);
    EXPECT_EQ(link::coalesce(pool, medium, batch), 2u);
    const std::size_t link = medium == link::Medium::kEthernet ? 14 : 0;
    EXPECT_EQ(sizes_after(batch, link + 52), std::vector<std::size_t>{230});
    const buf::RxFrame& large = batch[0];
    EXPECT_EQ(large.offload.checksum, buf::ChecksumState::kVerified);
    EXPECT_EQ(large.offload.gso, buf::GsoType::kTcp4);
    EXPECT_EQ(large.offload.gso_size, 100);
    EXPECT_EQ(large.wire_length, large.buffer.size());
    const auto ip = wire::ipv4::parse(large.buffer.bytes().subspan(link));
    ASSERT_TRUE(ip.has_value()) << "length and header checksum";
    const auto tcp =
        wire::tcp::parse(ip->payload, ip->header.source, ip->header.destination, wire::ChecksumPolicy::kTrust);
    ASSERT_TRUE(tcp.has_value());
    EXPECT_EQ(tcp->header.seq, 5000u);
    EXPECT_TRUE(tcp->header.flags.psh());
    ASSERT_EQ(tcp->payload.size(), 230u);
    for (std::size_t i = 0; i < 230; ++i) ASSERT_EQ(tcp->payload[i], static_cast<std::uint8_t>(5000 + i));
  }
}

// Three segments in a row, of which the second differs in one thing: what comes out.
TEST(Coalescer, LeavesApartWhatDiffers) {
  struct Row {
    const char* name;
    std::function<void(Segment&)> change;
    std::vector<std::size_t> want;
  };
  const std::vector<std::size_t> apart = {100, 100, 100};
  const Row rows[] = {
      {"nothing", [](Segment&) {}, {300}},
      {"a gap before it", [](Segment& s) { s.tcp.seq += 1; }, apart},
      {"an overlap", [](Segment& s) { s.tcp.seq -= 1; }, apart},
      {"FIN", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kFin); }, apart},
      {"SYN", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kSyn); }, apart},
      {"RST", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kRst); }, apart},
      {"URG", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kUrg); }, apart},
      {"ECE", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kEce); }, apart},
      {"CWR", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kCwr); }, apart},
      {"AE", [](Segment& s) { s.tcp.ae = true; }, apart},
      {"no ACK", [](Segment& s) { s.tcp.flags = Flags(Flags::kPsh); }, apart},
      {"PSH ends a run", [](Segment& s) { s.tcp.flags = Flags(Flags::kAck | Flags::kPsh); }, {200, 100}},
      {"another acknowledgement", [](Segment& s) { s.tcp.ack += 1; }, apart},
      {"another window", [](Segment& s) { s.tcp.window += 1; }, apart},
      {"another urgent pointer", [](Segment& s) { s.tcp.urgent = 1; }, apart},
      {"another source port", [](Segment& s) { s.tcp.src_port = 1001; }, apart},
      {"another destination port", [](Segment& s) { s.tcp.dst_port = 81; }, apart},
      {"another source", [](Segment& s) { s.ip.source = Ipv4Address::of(192, 0, 2, 9); }, apart},
      {"another destination", [](Segment& s) { s.ip.destination = Ipv4Address::of(192, 0, 2, 9); }, apart},
      {"another TTL", [](Segment& s) { s.ip.ttl = 63; }, apart},
      {"ECN mark", [](Segment& s) { s.ip.tos = 3; }, apart},
      {"no DF", [](Segment& s) { s.ip.dont_fragment = false; }, apart},
      {"a fragment", [](Segment& s) { s.ip.more_fragments = true; }, apart},
      {"another protocol", [](Segment& s) { s.ip.protocol = 17; }, apart},
      {"other timestamps", [](Segment& s) { s.timestamp = 2; }, apart},
      {"another station", [](Segment& s) { s.to = kPeerMac; }, apart},
      {"a group address", [](Segment& s) { s.to = MacAddress::broadcast(); }, apart},
      {"a wrong checksum", [](Segment& s) { s.break_checksum = 1; }, apart},
      {"a larger size", [](Segment& s) { s.size = 101; }, {100, 101, 100}},
      {"a smaller size ends a run", [](Segment& s) { s.size = 99; }, {199, 100}},
      {"no data", [](Segment& s) { s.size = 0; }, {100, 0, 100}},
  };
  for (const Row& row : rows) {
    buf::Pool pool;
    std::vector<Segment> run = three();
    row.change(run[1]);
    auto batch = batch_of(run);
    (void)link::coalesce(pool, link::Medium::kEthernet, batch);
    EXPECT_EQ(sizes_after(batch), row.want) << row.name;
  }
}

TEST(Coalescer, StaysWithinTheLargestPacket) {
  buf::Pool pool;
  std::vector<Segment> run(60);
  for (std::uint32_t i = 0; i < run.size(); ++i) {
    run[i].size = 1448;
    run[i].tcp.seq += 1448 * i;
  }
  auto batch = batch_of(run);
  EXPECT_EQ(link::coalesce(pool, link::Medium::kEthernet, batch), 58u);
  EXPECT_EQ(sizes_after(batch), (std::vector<std::size_t>{45 * 1448, 15 * 1448}));
}

TEST(Coalescer, WithoutMemoryLeavesAllAsItIs) {
  buf::Pool pool({.max_bytes = 1000});
  auto batch = batch_of(three());
  EXPECT_EQ(link::coalesce(pool, link::Medium::kEthernet, batch), 0u);
  EXPECT_EQ(sizes_after(batch), (std::vector<std::size_t>{100, 100, 100}));
}

// Any bytes at all: nothing is read beyond a frame (the frames are exact blocks on the heap), nothing vanishes.
TEST(Coalescer, AnyBytes) {
  Rng rng(Rng::seed_from(1));
  for (int round = 0; round < 2000; ++round) {
    buf::Pool pool;
    std::vector<buf::RxFrame> batch;
    std::size_t frames = 0;
    for (std::uint32_t i = 0; i < 6; ++i) {
      Segment s;
      s.tcp.seq += 100 * i;
      Octets frame = frame_of(s);
      for (std::uint32_t n = rng.below(3); n > 0; --n)
        frame[rng.below(static_cast<std::uint32_t>(frame.size()))] = static_cast<std::uint8_t>(rng.below(256));
      frame.resize(rng.below(4) == 0 ? rng.below(static_cast<std::uint32_t>(frame.size())) : frame.size());
      batch.push_back({buf::Buffer::copy_of(frame), {}, static_cast<std::uint32_t>(frame.size())});
    }
    const std::size_t joined = link::coalesce(pool, link::Medium::kEthernet, batch);
    for (const buf::RxFrame& f : batch) frames += f.buffer ? 1 : 0;
    ASSERT_EQ(frames + joined, 6u);
  }
}

// Through the stack: the switch, and the counter.
TEST(Coalescer, CanBeSwitchedOff) {
  for (const auto coalescing : {ip::InterfaceConfig::Coalescing::kOn, ip::InterfaceConfig::Coalescing::kOff}) {
    IpScript script({.mac = kOurMac, .coalescing = coalescing, .address_check = IpScript::Check::kNone});
    for (const Segment& s : three()) script.device.in.push_back(frame_of(s));
    script.run();
    const bool on = coalescing == ip::InterfaceConfig::Coalescing::kOn;
    const Counters& counters = script.stack->counters();
    EXPECT_EQ(counters.get(Counter::kLinkRxFrames), 3u);
    EXPECT_EQ(counters.get(Counter::kLinkCoalesced), on ? 2u : 0u);
    EXPECT_EQ(counters.get(Counter::kTcpSegmentsReceived), on ? 1u : 3u);
  }
}

}  // namespace
}  // namespace sluice::test
