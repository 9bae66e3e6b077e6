// The parts of the link layer: segmenter, batches, offload metadata, neighbour cache, address guard, hostile frames.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "stack/link/link.h"
#include "stack/link/segmenter.h"
#include "stack/wire/arp.h"
#include "stack/wire/crc32.h"
#include "stack/wire/tcp.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

using wire::tcp::Flags;

// --- segmenter

constexpr std::uint32_t kFirstSeq = 0xfffffe00;  // so that it wraps
constexpr std::size_t kHeaders = 14 + 20 + 32;

// A TCP packet with link header, to be cut; its payload lies in pieces of `piece` bytes.
struct Uncut {
  Uncut(std::size_t size, std::uint16_t mss, std::size_t piece, int flags) : data(size) {
    std::iota(data.begin(), data.end(), std::uint8_t{1});
    for (std::size_t at = 0; at < size; at += piece) {
      EXPECT_TRUE(packet.append(Bytes(data).subspan(at, std::min(piece, size - at))));
    }
    const wire::tcp::Options options{.has_timestamps = true, .timestamps = {1, 2}};
    auto sum = wire::Checksum::pseudo_header(kUs, kPeer, 6, 32 + size);
    const wire::tcp::Header tcp{
        .src_port = 80, .dst_port = 9, .seq = kFirstSeq, .ack = 7, .flags = wire::tcp::Flags(flags), .window = 1000};
    wire::tcp::emit(packet.prepend(32), tcp, options, sum.sum());
    const wire::ipv4::Header ip{.total_length = static_cast<std::uint16_t>(52 + size),
                                .identification = 0xfffe,
                                .dont_fragment = true,
                                .ttl = 64,
                                .protocol = 6,
                                .source = kUs,
                                .destination = kPeer};
    wire::ipv4::emit(packet.prepend(20), ip);
    wire::ethernet::emit(packet.prepend(14), {kPeerMac, kOurMac, wire::ethernet::kIpv4});
    packet.offload = {.checksum = buf::ChecksumState::kPartial,
                      .gso = buf::GsoType::kTcp4,
                      .checksum_start = 34,
                      .checksum_offset = 16,
                      .gso_size = mss,
                      .header_length = kHeaders};
  }
  Octets data;
  buf::TxPacket packet;
};

struct CutRow {
  const char* name;
  std::size_t size;
  std::uint16_t mss;
  std::size_t piece;
  std::size_t want_frames;
};

// Each frame is a segment as TCP itself would have sent it: numbers, lengths, both checksums; PSH and FIN on the last
// only, CWR on the first only; and the payload is where it was, not copied.
TEST(Segmenter, CutsInto) {
  constexpr int kAll = Flags::kAck | Flags::kPsh | Flags::kFin | Flags::kCwr;
  const CutRow rows[] = {{"one", 1000, 1448, 4000, 1},
                         {"exactly one", 1448, 1448, 4000, 1},
                         {"one byte more", 1449, 1448, 4000, 2},
                         {"the largest", 65535 - 52, 1448, 65535, 46},
                         {"more than a batch", 65000, 536, 8192, 122},
                         {"a frame over many pieces", 2896, 1448, 400, 2},
                         {"pieces that end with frames", 2896, 1448, 724, 2},
                         {"odd pieces", 4001, 1001, 333, 4}};
  for (const CutRow& row : rows) {
    SCOPED_TRACE(row.name);
    const Uncut uncut(row.size, row.mss, row.piece, kAll);
    link::Segmenter segmenter(uncut.packet, 14);
    Octets stream;
    std::size_t n = 0;
    for (auto batch = segmenter.next(); !batch.empty(); batch = segmenter.next()) {
      EXPECT_LE(batch.size(), link::Segmenter::kBatch);
      for (const buf::TxFrame& f : batch) {
        for (Bytes piece : f.payload) {
          EXPECT_GE(piece.data(), uncut.data.data());
          EXPECT_LE(piece.data() + piece.size(), uncut.data.data() + uncut.data.size());
        }
        Octets bytes(f.size());
        f.copy_to(bytes);
        const auto ip = wire::ipv4::parse(Bytes(bytes).subspan(14));
        ASSERT_TRUE(ip.has_value());
        EXPECT_EQ(ip->header.total_length, bytes.size() - 14);
        EXPECT_EQ(ip->header.identification, static_cast<std::uint16_t>(0xfffe + n));
        const auto tcp = wire::tcp::parse(ip->payload, kUs, kPeer, wire::ChecksumPolicy::kVerify);
        ASSERT_TRUE(tcp.has_value());
        EXPECT_EQ(tcp->header.seq, static_cast<std::uint32_t>(kFirstSeq + stream.size()));
        EXPECT_EQ(wire::tcp::parse_options(tcp->options).timestamps, (wire::tcp::Timestamps{1, 2}));
        EXPECT_LE(tcp->payload.size(), row.mss);
        stream.insert(stream.end(), tcp->payload.begin(), tcp->payload.end());
        const bool last = stream.size() == row.size;
        EXPECT_EQ(tcp->header.flags.has(Flags::kCwr), n == 0);
        EXPECT_EQ(tcp->header.flags.has(Flags::kPsh), last);
        EXPECT_EQ(tcp->header.flags.has(Flags::kFin), last);
        ++n;
      }
    }
    EXPECT_EQ(n, row.want_frames);
    EXPECT_EQ(stream, uncut.data);
  }
}

// --- a link by itself

// Records what a link hands up.
class Above final : public link::LinkUser {
 public:
  void on_packet(link::Link&, buf::Buffer packet, link::LinkCast, const buf::Offload&) override {
    packets.emplace_back(packet.bytes().begin(), packet.bytes().end());
  }
  void on_unreachable(link::Link&, Bytes packet) override { unreachable.emplace_back(packet.begin(), packet.end()); }
  void on_addresses_changed() override {}
  std::vector<Octets> packets, unreachable;
};

class LinkScript {
 public:
  explicit LinkScript(const link::LinkConfig& config = {.mac = kOurMac}, link::Fcs fcs = link::Fcs::kNone)
      : device(fcs), link(context, pool, device, above, config) {
    context.now = Instant::from_nanos(1'000'000'000'000);
    EXPECT_TRUE(link.add_address(kUs).has_value());
    after({});
    device.sent.clear();
    device.batches.clear();
  }
  void rx(const Octets& frame) {
    device.in.push_back(frame);
    while (link.poll(64) > 0) {
    }
  }
  void after(Duration d) {
    const Instant end = context.now + d;
    while (context.timers.next_deadline() <= end) {
      context.now = std::max(context.now, context.timers.next_deadline());
      context.timers.advance(context.now);
    }
    context.now = end;
  }
  // ARP from `ip` at the peer's MAC, or at another's.
  void arp(wire::arp::Operation operation, Ipv4Address ip, Ipv4Address target = kUs, MacAddress mac = kPeerMac) {
    Octets frame(60);
    wire::ethernet::emit(frame, {kOurMac, mac, wire::ethernet::kArp});
    wire::arp::emit(MutableBytes(frame).subspan(14), {operation, mac, ip, kOurMac, target});
    rx(frame);
  }
  void send_to(Ipv4Address next_hop, std::uint8_t mark = 0) {
    const Octets data(20, mark);
    buf::TxPacket packet;
    ASSERT_TRUE(packet.append(data));
    link.send(packet, next_hop, link::LinkCast::kUnicast);
  }
  [[nodiscard]] std::string state_of(Ipv4Address address) const {
    link::NeighborCache::Row row;
    for (std::size_t i = 0; i < link::NeighborCache::kCapacity; ++i) {
      if (link.neighbors().row(i, row) && row.address == wire::Address(address)) return name_of(row.state);
    }
    return "none";
  }
  [[nodiscard]] std::uint64_t dropped(Drop d) const { return context.counters.get(d); }

  Context context{Rng::seed_from(2)};
  buf::Pool pool;
  WireDevice device;
  Above above;
  link::Link link;
};

constexpr auto kRequest = wire::arp::Operation::kRequest;
constexpr auto kReply = wire::arp::Operation::kReply;

// A segment of 64 KiB reaches the device in one call, the short frame at its end in a second; what the device has no
// room for is counted as dropped, not as sent.
TEST(LinkOut, OneBatch) {
  LinkScript s;
  s.arp(kRequest, kPeer);
  s.device.sent.clear();
  s.device.batches.clear();
  constexpr std::size_t kSize = 1448 * 40;
  const auto send = [&](std::size_t size) {
    Uncut uncut(size, 1448, 8192, Flags::kAck);
    uncut.packet.strip_front(14);
    uncut.packet.offload.checksum_start = 20;
    uncut.packet.offload.header_length = 52;
    s.link.send(uncut.packet, kPeer, link::LinkCast::kUnicast);
  };
  send(kSize);
  EXPECT_EQ(s.device.batches, std::vector<std::size_t>{40});
  const std::uint64_t bytes = s.context.counters.get(Counter::kLinkTxBytes);
  s.device.room = 10;
  send(kSize);
  EXPECT_EQ(s.dropped(Drop::kDeviceFull), 30u);
  EXPECT_EQ(s.context.counters.get(Counter::kLinkTxBytes) - bytes, 10u * (1448 + kHeaders));
}

// (RFC1122-LNK-06, RFC894-01, RFC894-03, RFC894-04): Ethernet II both ways, up to 1500 bytes, broadcast to all ones.
TEST(LinkOut, Framing) {
  LinkScript s;
  s.arp(kRequest, kPeer);
  s.device.sent.clear();
  const Octets data(1500, 'x');
  for (const auto& [cast, want] : {std::pair{link::LinkCast::kUnicast, kPeerMac},
                                   std::pair{link::LinkCast::kBroadcast, MacAddress::broadcast()}}) {
    buf::TxPacket packet;
    ASSERT_TRUE(packet.append(data));
    s.link.send(packet, kPeer, cast);
    const Octets frame = s.device.sent.back();
    EXPECT_EQ(MacAddress::load(frame.data()), want);
    EXPECT_EQ(MacAddress::load(frame.data() + 6), kOurMac);
    EXPECT_EQ(frame[12] << 8 | frame[13], 0x0800);
    EXPECT_EQ(frame.size(), 1514u);
  }
  Octets frame(1514, 'x');
  wire::ethernet::emit(frame, {kOurMac, kPeerMac, wire::ethernet::kIpv4});
  s.rx(frame);
  ASSERT_EQ(s.above.packets.size(), 1u);
  EXPECT_EQ(s.above.packets[0], data);
}

// A link on a VLAN tags what it sends and takes only what bears its tag.
TEST(LinkOut, Vlan) {
  LinkScript s({.mac = kOurMac, .vlan = 42});
  Octets frame(64);
  wire::ethernet::emit(frame, {MacAddress::broadcast(), kPeerMac, wire::ethernet::kArp, true, {42, 0, false}});
  wire::arp::emit(MutableBytes(frame).subspan(18), {kRequest, kPeerMac, kPeer, {}, kUs});
  s.rx(frame);
  ASSERT_EQ(s.device.sent.size(), 1u);
  const auto reply = wire::ethernet::parse(s.device.sent[0]);
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->header.tagged);
  EXPECT_EQ(reply->header.tag.vid, 42);
  frame[15] = 43;
  s.rx(frame);
  s.rx(known("arp-request"));
  EXPECT_EQ(s.dropped(Drop::kEthVlan), 2u);
  EXPECT_EQ(s.device.sent.size(), 1u);
}

struct OffloadRow {
  const char* name;
  buf::Offload offload;
  Drop want;
};

// S02: metadata that points into the link header, or speaks of another protocol than the packet's.
TEST(LinkIn, OffloadMustFitThePacket) {
  using buf::ChecksumState;
  using buf::GsoType;
  const OffloadRow rows[] = {
      {"start in the link header", {.checksum = ChecksumState::kPartial, .checksum_start = 10}, Drop::kDeviceOffload},
      {"start in the IP header", {.checksum = ChecksumState::kPartial, .checksum_start = 30}, Drop::kDeviceOffload},
      {"TCP segments of ICMP", {.gso = GsoType::kTcp4, .gso_size = 8, .header_length = 42}, Drop::kDeviceOffload},
      {"UDP segments of ICMP", {.gso = GsoType::kUdp, .gso_size = 8, .header_length = 42}, Drop::kDeviceOffload},
      {"IPv6 segments of IPv4", {.gso = GsoType::kTcp6, .gso_size = 8, .header_length = 42}, Drop::kDeviceOffload}};
  for (const OffloadRow& row : rows) {
    IpScript s;
    s.learn_peer();
    s.device.offload = row.offload;
    s.rx(packet(1, echo_request()));
    EXPECT_EQ(s.dropped(row.want), 1u) << row.name;
    EXPECT_EQ(s.sent(), "") << row.name;
  }
}

// S03, S09, S13: each known frame, cut at every length, in a block of exactly that size. Nothing but the whole frame,
// or one that lacks only padding, is answered.
TEST(LinkIn, EveryTruncation) {
  for (const KnownFrame& f : kKnownFrames) {
    const Octets whole = from_hex(f.bytes);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      IpScript s;
      s.learn_peer();
      s.rx(Octets(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
      if (size < 14 + 20) {
        EXPECT_EQ(s.sent(), "") << f.name << " cut to " << size;
      }
    }
  }
}

// S04: every single bit of a frame with FCS, flipped.
TEST(LinkIn, EveryFlippedBitIsFound) {
  Octets frame = known("icmp-echo-req");
  Octets fcs(4);
  wire::ethernet::emit_fcs(fcs, wire::crc32(frame));
  frame.insert(frame.end(), fcs.begin(), fcs.end());
  LinkScript s({.mac = kOurMac}, link::Fcs::kPresent);
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Octets flipped = frame;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    s.rx(flipped);
  }
  EXPECT_EQ(s.dropped(Drop::kEthFcs), frame.size() * 8);
  EXPECT_TRUE(s.above.packets.empty());
  s.rx(frame);
  EXPECT_EQ(s.above.packets.size(), 1u);
}

// --- neighbours

// S11, S12: who sends to an absent host for a minute asks it once a second and hears of each failure.
TEST(Neighbors, RequestsAreRare) {
  LinkScript s;
  for (int i = 0; i < 6000; ++i) {
    s.send_to(kPeer);
    s.after(10_ms);
  }
  EXPECT_LE(s.device.sent.size(), 61u);
  EXPECT_GE(s.device.sent.size(), 59u);
  EXPECT_GT(s.above.unreachable.size(), 1000u);
}

// (RFC1122-LNK-05): of too many waiting packets the newest are kept, for each address and when all are full.
TEST(Neighbors, NewestWaitingPacketsAreKept) {
  LinkScript s({.mac = kOurMac, .neighbors = {.max_waiting = 4, .max_waiting_total = 8}});
  for (std::uint8_t i = 0; i < 10; ++i) s.send_to(kPeer, i);
  s.send_to(Ipv4Address::of(192, 0, 2, 3), 100);
  for (std::uint8_t i = 1; i < 6; ++i) s.send_to(Ipv4Address::of(192, 0, 2, 4), i);
  EXPECT_EQ(s.dropped(Drop::kArpQueueFull), 6u + 2u);  // 6 beyond the share of one, 2 beyond that of all
  s.device.sent.clear();
  const auto marks = [&s] {
    std::vector<int> out;
    for (const Octets& f : s.device.sent) out.push_back(f[14]);
    s.device.sent.clear();
    return out;
  };
  s.arp(kReply, Ipv4Address::of(192, 0, 2, 4));
  EXPECT_EQ(marks(), (std::vector<int>{3, 4, 5}));
  s.arp(kReply, kPeer);
  EXPECT_EQ(marks(), (std::vector<int>{6, 7, 8, 9}));
}

// S11: a table full of strangers that asked for us gives way to our own traffic, and a stranger never pushes out an
// entry in use, or one being resolved.
TEST(Neighbors, StrangersGiveWay) {
  LinkScript s;
  const auto stranger = [&s](std::uint32_t i) { s.arp(kRequest, Ipv4Address{0x0a000000 + i}); };
  for (std::uint32_t i = 0; i < 2000; ++i) stranger(i);
  EXPECT_EQ(s.link.neighbors().size(), link::NeighborCache::kCapacity);
  s.send_to(kPeer);
  EXPECT_EQ(s.state_of(kPeer), "incomplete");
  for (std::uint32_t i = 3000; i < 5000; ++i) stranger(i);
  EXPECT_EQ(s.state_of(kPeer), "incomplete");
  s.arp(kReply, kPeer);
  for (std::uint32_t i = 6000; i < 8000; ++i) stranger(i);
  EXPECT_EQ(s.state_of(kPeer), "reachable");
}

// More peers of our own than the table holds: the one longest unused goes.
TEST(Neighbors, OwnTrafficReplacesTheLeastRecentlyUsed) {
  LinkScript s;
  constexpr std::uint32_t kPeers = link::NeighborCache::kCapacity + 1;
  const auto peer = [](std::uint32_t i) { return Ipv4Address{0xc0000300 + i}; };
  for (std::uint32_t i = 0; i < kPeers; ++i) {
    s.send_to(peer(i));
    s.arp(kReply, peer(i));
    s.after(1_ms);
  }
  EXPECT_EQ(s.state_of(peer(0)), "none");
  EXPECT_EQ(s.state_of(peer(1)), "reachable");
  EXPECT_EQ(s.state_of(peer(kPeers - 1)), "reachable");
}

// S10: two stations that fight for an address move our entry at most once a second.
TEST(Neighbors, FlipFlopIsHeld) {
  LinkScript s;
  const MacAddress other{{2, 0, 0, 0, 0, 9}};
  s.send_to(kPeer);
  s.arp(kReply, kPeer);
  for (int i = 0; i < 100; ++i) s.arp(kReply, kPeer, kUs, i % 2 == 0 ? other : kPeerMac);
  link::NeighborCache::Row row;
  ASSERT_TRUE(s.link.neighbors().row(0, row));
  EXPECT_EQ(row.mac, kPeerMac);
  s.after(2_s);
  s.arp(kReply, kPeer, kUs, other);
  ASSERT_TRUE(s.link.neighbors().row(0, row));
  EXPECT_EQ(row.mac, other);
}

// What was set by hand holds: no packet changes it, no time ends it, neither strangers nor our own traffic push it out
// of a full table, and only who set it removes it.
TEST(Neighbors, PermanentOnesStay) {
  LinkScript s;
  auto& neighbors = s.link.neighbors();
  const MacAddress other{{2, 0, 0, 0, 0, 9}};
  ASSERT_TRUE(neighbors.set_permanent(kPeer, kPeerMac).has_value());
  s.after(10_s);
  s.arp(kReply, kPeer, kUs, other);
  EXPECT_EQ(s.dropped(Drop::kArpHold), 1u);
  for (std::uint32_t i = 0; i < 600; ++i) {
    s.arp(kRequest, Ipv4Address{0x0a000000 + i});
    s.send_to(Ipv4Address{0x0b000000 + i});
    s.after(1_s);
  }
  neighbors.confirm(kPeer);
  EXPECT_EQ(s.state_of(kPeer), "permanent");
  s.device.sent.clear();
  s.send_to(kPeer);
  ASSERT_EQ(s.device.sent.size(), 1u);
  EXPECT_TRUE(std::equal(kPeerMac.octets.begin(), kPeerMac.octets.end(), s.device.sent[0].begin()));
  neighbors.forget_learned();
  EXPECT_EQ(neighbors.size(), 1u);
  EXPECT_TRUE(neighbors.forget(kPeer));
  EXPECT_FALSE(neighbors.forget(kPeer));
  EXPECT_EQ(s.state_of(kPeer), "none");
}

// An entry set by hand lets go what waited for an answer.
TEST(Neighbors, SettingOneSendsWhatWaits) {
  LinkScript s;
  s.after(10_s);  // our address is announced
  s.device.sent.clear();
  s.send_to(kPeer, 1);
  s.send_to(kPeer, 2);
  EXPECT_EQ(s.device.sent.size(), 1u);  // the request
  ASSERT_TRUE(s.link.neighbors().set_permanent(kPeer, kPeerMac).has_value());
  EXPECT_EQ(s.device.sent.size(), 3u);
  s.after(10_s);
  EXPECT_EQ(s.device.sent.size(), 3u) << "it is asked for nevertheless";
}

TEST(Neighbors, OfPermanentOnesOnlySoMany) {
  LinkScript s;
  auto& neighbors = s.link.neighbors();
  for (std::uint32_t i = 0; i < link::NeighborCache::kCapacity; ++i) {
    ASSERT_TRUE(neighbors.set_permanent(Ipv4Address{0x0a000000 + i}, kPeerMac).has_value());
  }
  EXPECT_EQ(neighbors.set_permanent(kPeer, kPeerMac).error(), Errno::kNoBuffers);
  s.send_to(kPeer);
  EXPECT_EQ(s.dropped(Drop::kArpCacheFull), 2u);
  EXPECT_TRUE(neighbors.set_permanent(Ipv4Address{0x0a000000}, kOurMac).has_value()) << "one that is there is changed";
}

// --- a link that is changed

TEST(LinkState, DownNothingPasses) {
  LinkScript s;
  s.arp(kRequest, kPeer);
  s.device.sent.clear();
  s.link.set_state(link::LinkState::kDown);
  EXPECT_EQ(s.link.neighbors().size(), 0u);
  s.rx(packet(1, echo_request()));
  s.arp(kRequest, kPeer);
  EXPECT_EQ(s.dropped(Drop::kLinkDown), 2u);
  EXPECT_TRUE(s.above.packets.empty());
  ASSERT_TRUE(s.link.neighbors().set_permanent(kPeer, kPeerMac).has_value());
  s.send_to(kPeer);
  EXPECT_EQ(s.dropped(Drop::kLinkDown), 3u);
  EXPECT_TRUE(s.device.sent.empty());
  s.link.set_state(link::LinkState::kUp);
  s.after({});
  ASSERT_EQ(s.device.sent.size(), 1u) << "our address is not announced";
  s.rx(packet(1, echo_request()));
  EXPECT_EQ(s.above.packets.size(), 1u);
}

// (RFC5227-08): others hear of the new MAC; frames to the old one are another's.
TEST(LinkState, AnotherMac) {
  LinkScript s;
  const MacAddress other{{2, 0, 0, 0, 0, 9}};
  s.after(10_s);
  s.device.sent.clear();
  s.link.set_mac(other);
  s.after({});
  ASSERT_EQ(s.device.sent.size(), 1u);
  const auto frame = wire::ethernet::parse(s.device.sent[0]);
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->header.source, other);
  EXPECT_EQ(wire::arp::parse(frame->payload)->sender_mac, other);
  EXPECT_EQ(wire::arp::parse(frame->payload)->sender_ip, kUs);
  s.rx(packet(1, echo_request()));
  EXPECT_EQ(s.dropped(Drop::kEthNotForUs), 1u);
  s.rx(packet(1, echo_request(), nullptr, other));
  EXPECT_EQ(s.above.packets.size(), 1u);
}

struct SenderRow {
  const char* name;
  MacAddress mac;
  Ipv4Address ip;
};

// (RFC826-07) S09, S10
TEST(Neighbors, ImpossibleSenders) {
  const SenderRow rows[] = {{"a group", {{1, 0, 0, 0, 0, 1}}, kPeer},
                            {"zero", {}, kPeer},
                            {"our own MAC", kOurMac, kPeer},
                            {"0/8", kPeerMac, Ipv4Address::of(0, 0, 0, 5)},
                            {"class E", kPeerMac, Ipv4Address::of(250, 0, 0, 1)}};
  for (const SenderRow& row : rows) {
    LinkScript s;
    Octets frame(60);
    wire::ethernet::emit(frame, {kOurMac, kPeerMac, wire::ethernet::kArp});
    wire::arp::emit(MutableBytes(frame).subspan(14), {kRequest, row.mac, row.ip, kOurMac, kUs});
    s.rx(frame);
    EXPECT_EQ(s.dropped(Drop::kArpSender), 1u) << row.name;
    EXPECT_EQ(s.link.neighbors().size(), 0u) << row.name;
    EXPECT_TRUE(s.device.sent.empty()) << row.name;
  }
}

// --- address conflicts

struct ConflictRow {
  const char* name;
  wire::arp::Operation operation;
  Ipv4Address sender, target;
  bool usable_after;
};

// (RFC5227-01, -03, -04, -05, -07): what another station says while we probe.
TEST(AddressGuard, WhileProbing) {
  const ConflictRow rows[] = {{"a reply to the probe", kReply, kUs, kUs, false},
                              {"any request from the address", kRequest, kUs, kPeer, false},
                              {"another's probe for it", kRequest, Ipv4Address::any(), kUs, false},
                              {"another's probe for another", kRequest, Ipv4Address::any(), kPeer, true},
                              {"a request for it", kRequest, kPeer, kUs, true}};
  for (const ConflictRow& row : rows) {
    SCOPED_TRACE(row.name);
    LinkScript s({.mac = kOurMac, .address_start = link::AddressGuard::Start::kProbe});
    EXPECT_TRUE(s.device.sent.empty());  // the first probe waits at random
    s.after(1500_ms);
    ASSERT_FALSE(s.device.sent.empty());
    EXPECT_EQ(wire::print_line(s.device.sent[0], wire::Layer::kEthernet), "ARP who has 192.0.2.2? tell 0.0.0.0");
    s.arp(row.operation, row.sender, row.target);
    EXPECT_FALSE(s.link.address_usable(kUs));
    s.after(20_s);
    EXPECT_EQ(s.link.address_usable(kUs), row.usable_after);
    const std::size_t sent = s.device.sent.size();
    s.after(600_s);
    EXPECT_EQ(s.device.sent.size(), sent);  // (RFC5227-02): never probed again
  }
}

// (RFC5227-08, -12): two announcements two seconds apart; answered for from the first on.
TEST(AddressGuard, AnnouncementsAndAnswers) {
  LinkScript s({.mac = kOurMac, .address_start = link::AddressGuard::Start::kProbe});
  while (!s.link.address_usable(kUs)) s.after(1_ms);
  const Instant first = s.context.now;
  s.device.sent.clear();
  s.arp(kRequest, kPeer);
  ASSERT_EQ(s.device.sent.size(), 1u);
  EXPECT_EQ(MacAddress::load(s.device.sent[0].data()), kPeerMac);  // (RFC5227-13): not broadcast
  while (s.device.sent.size() < 2) s.after(1_ms);
  EXPECT_EQ(wire::print_line(s.device.sent[1], wire::Layer::kEthernet), "ARP announcement of 192.0.2.2");
  EXPECT_GE(s.context.now - first, 1999_ms);
  EXPECT_LE(s.context.now - first, 2001_ms);
}

}  // namespace
}  // namespace sluice::test
