#include "stack/link/link.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "stack/link/coalescer.h"
#include "stack/link/segmenter.h"
#include "stack/wire/arp.h"
#include "stack/wire/crc32.h"

namespace sluice::link {

using wire::MacAddress;
namespace ethernet = wire::ethernet;

namespace {
constexpr std::size_t kMinWithFcs = ethernet::kMinSize + ethernet::kFcsSize;
constexpr std::uint32_t kSoftwareGsoBytes = 65535;
}  // namespace

bool offload_valid(const buf::Offload& o, std::size_t size) {
  if (o.checksum == buf::ChecksumState::kPartial && std::size_t{o.checksum_start} + o.checksum_offset + 2 > size) {
    return false;
  }
  if (o.gso == buf::GsoType::kNone) return o.gso_size == 0;
  return o.gso_size > 0 && o.header_length < size && o.header_length >= o.checksum_start;
}

Link::Link(Context& context, buf::Pool& pool, NetDevice& device, LinkUser& user, const LinkConfig& config)
    : context_(context),
      pool_(pool),
      device_(device),
      user_(user),
      config_(config),
      ethernet_(device.capabilities().medium == Medium::kEthernet),
      fcs_(ethernet_ && device.capabilities().fcs == Fcs::kPresent),
      neighbors_(context, pool, *this, config.neighbors),
      guard_(context, *this, config.mac) {}

std::uint32_t Link::max_gso_bytes() const {
  const Capabilities& c = device_.capabilities();
  return c.tso4 ? c.max_gso_bytes : kSoftwareGsoBytes;
}

void Link::set_state(LinkState state) {
  if (state_ == state) return;
  state_ = state;
  if (state == LinkState::kDown) return neighbors_.forget_learned();
  announce_again();
}

void Link::set_mac(const MacAddress& mac) {
  config_.mac = mac;
  guard_.set_mac(mac);
  announce_again();
}

void Link::announce_again() {
  if (config_.address_start != AddressGuard::Start::kQuiet) guard_.announce_again();
}

Status Link::join(const MacAddress& group) {
  Group* free = nullptr;
  for (Group& g : groups_) {
    if (g.users > 0 && g.mac == group) return ++g.users, Status();
    if (g.users == 0) free = &g;
  }
  if (free == nullptr) return fail(Errno::kNoBuffers);
  *free = {group, 1};
  return {};
}

void Link::leave(const MacAddress& group) {
  for (Group& g : groups_) {
    if (g.users > 0 && g.mac == group) --g.users;
  }
}

bool Link::joined(const MacAddress& group) const {
  return std::any_of(groups_.begin(), groups_.end(), [&](const Group& g) { return g.users > 0 && g.mac == group; });
}

// --- in ------------------------------------------------------------------------------------------------------------

// The batch keeps its place between calls: emptying n of its frames costs less than making 64.
std::size_t Link::poll(std::size_t budget) {
  const std::size_t most = std::min(budget, kRxBatch);
  const auto batch = std::span(batch_).first(device_.rx(context_.now, pool_, std::span(batch_).first(most)));
  context_.counters.add(Counter::kLinkRxFrames, batch.size());
  for (const buf::RxFrame& frame : batch) context_.counters.add(Counter::kLinkRxBytes, frame.buffer.size());
  if (batch.size() > 1 && config_.coalescing == LinkConfig::Coalescing::kOn && !fcs_) {
    context_.counters.add(Counter::kLinkCoalesced, coalesce(pool_, device_.capabilities().medium, batch));
  }
  for (buf::RxFrame& slot : batch) {
    buf::RxFrame frame = std::exchange(slot, {});
    if (frame.buffer) receive(std::move(frame));
  }
  return batch.size();
}

void Link::receive(buf::RxFrame frame) {
  const Bytes bytes = frame.buffer.bytes();
  if (state_ == LinkState::kDown) return context_.drop(Drop::kLinkDown, bytes);
  if (frame.wire_length > bytes.size()) return context_.drop(Drop::kDeviceTruncated, bytes);
  if (!offload_valid(frame.offload, bytes.size())) return context_.drop(Drop::kDeviceOffload, bytes);
  if (fcs_ && !strip_fcs(frame)) return;
  if (watcher_ != nullptr) watcher_->on_frame(*this, {frame.buffer.bytes(), {}, {}}, FrameWatcher::Direction::kIn);
  if (!ethernet_) return receive_bare(std::move(frame));
  const auto parsed = ethernet::parse(frame.buffer.bytes());
  if (!parsed) return context_.drop(parsed.error(), bytes);
  LinkCast cast{};
  if (!accept_frame(*parsed, bytes, cast)) return;
  if (parsed->payload.size() > config_.mtu && frame.offload.gso == buf::GsoType::kNone) {
    return context_.drop(Drop::kEthGiant, bytes);  // (IEEE802.3-07)
  }
  if (parsed->header.type == ethernet::kArp) return receive_arp(parsed->payload);
  if (parsed->header.type != ethernet::kIpv4 && parsed->header.type != ethernet::kIpv6) {
    return context_.drop(Drop::kEthType, bytes);
  }
  const std::size_t header_size = parsed->header_size;
  const std::size_t payload_size = parsed->payload.size();
  frame.buffer.trim_front(header_size);
  frame.buffer.truncate(payload_size);
  if (frame.offload.checksum == buf::ChecksumState::kPartial) {
    if (frame.offload.checksum_start < header_size) return context_.drop(Drop::kDeviceOffload, frame.buffer.bytes());
    frame.offload.checksum_start = static_cast<std::uint16_t>(frame.offload.checksum_start - header_size);
  }
  user_.on_packet(*this, std::move(frame.buffer), cast, frame.offload);
}

void Link::receive_bare(buf::RxFrame frame) {
  if (frame.buffer.size() > config_.mtu && frame.offload.gso == buf::GsoType::kNone) {
    return context_.drop(Drop::kEthGiant, frame.buffer.bytes());
  }
  user_.on_packet(*this, std::move(frame.buffer), LinkCast::kUnicast, frame.offload);
}

bool Link::strip_fcs(buf::RxFrame& frame) {
  const Bytes bytes = frame.buffer.bytes();
  if (bytes.size() < kMinWithFcs) {  // (IEEE802.3-02)
    context_.drop(Drop::kEthRunt, bytes);
    return false;
  }
  if (!ethernet::fcs_matches(bytes)) {  // (IEEE802.3-04)
    context_.drop(Drop::kEthFcs, bytes);
    return false;
  }
  frame.buffer.trim_back(ethernet::kFcsSize);
  return true;
}

LinkCast Link::cast_of(const MacAddress& destination) const {
  if (destination.is_broadcast()) return LinkCast::kBroadcast;
  return destination.is_group() ? LinkCast::kMulticast : LinkCast::kUnicast;
}

bool Link::vlan_matches(const ethernet::Header& header) const {
  const std::uint16_t vid = header.tagged ? header.tag.vid : 0;  // VID 0 is a priority tag: as if untagged
  return vid == config_.vlan;
}

// The destination filter (IEEE802.3-08) and what no station may send from (IEEE802.3-09).
bool Link::accept_frame(const ethernet::Frame& frame, Bytes bytes, LinkCast& cast) {
  const ethernet::Header& header = frame.header;
  if (header.source.is_group() || header.source == config_.mac) {
    context_.drop(Drop::kEthSource, bytes);
    return false;
  }
  if (!vlan_matches(header)) {
    context_.drop(Drop::kEthVlan, bytes);
    return false;
  }
  cast = cast_of(header.destination);  // IP hears of it (RFC1122-LNK-11)
  const bool ours = cast == LinkCast::kBroadcast || header.destination == config_.mac ||
                    (cast == LinkCast::kMulticast && joined(header.destination));
  if (ours || config_.promiscuity == LinkConfig::Promiscuity::kOn) return true;
  context_.drop(Drop::kEthNotForUs, bytes);
  return false;
}

// RFC 826 packet reception, with the sender checks that RFC 1122 and RFC 5227 add.
void Link::receive_arp(Bytes payload) {
  context_.counters.add(Counter::kArpReceived);
  const auto parsed = wire::arp::parse(payload);
  if (!parsed) return context_.drop(parsed.error(), payload);
  const wire::arp::Packet& p = *parsed;
  if (p.sender_mac.is_group() || p.sender_mac.is_zero() || p.sender_mac == config_.mac) {  // (RFC826-07)
    return context_.drop(Drop::kArpSender, payload);
  }
  guard_.inspect(p);
  const bool asks_us = p.operation == wire::arp::Operation::kRequest && guard_.usable(p.target_ip);
  const bool probe = p.sender_ip.is_any();  // RFC 5227: somebody checks whether the address is free
  const bool bad_ip = p.sender_ip.is_multicast() || p.sender_ip.is_class_e() || p.sender_ip.is_loopback() ||
                      (p.sender_ip.is_this_network() && !probe) || guard_.usable(p.sender_ip);
  if (bad_ip) return context_.drop(Drop::kArpSender, payload);
  if (!probe) {
    using Learn = NeighborCache::Learn;
    const bool reply_to_us = p.operation == wire::arp::Operation::kReply && p.target_mac == config_.mac;
    neighbors_.learn(p.sender_ip, p.sender_mac,
                     asks_us       ? Learn::kCreate
                     : reply_to_us ? Learn::kAnswer
                                   : Learn::kRefresh);
  }
  if (asks_us) answer_arp(p);
}

void Link::answer_arp(const wire::arp::Packet& request) {  // (RFC826-04, RFC5227-13)
  context_.counters.add(Counter::kArpRepliesSent);
  send_arp({.operation = wire::arp::Operation::kReply,
            .sender_mac = config_.mac,
            .sender_ip = request.target_ip,
            .target_mac = request.sender_mac,
            .target_ip = request.sender_ip},
           request.sender_mac);
}

// --- out -----------------------------------------------------------------------------------------------------------

void Link::send(buf::TxPacket& packet, const wire::Address& next_hop, LinkCast cast) {
  if (!ethernet_) return transmit(packet, {}, ethernet::kIpv4);
  if (cast == LinkCast::kBroadcast) return transmit(packet, MacAddress::broadcast(), ethernet::kIpv4);  // (RFC894-04)
  if (cast == LinkCast::kMulticast) return transmit(packet, wire::multicast_mac(next_hop), ethernet::kIpv4);
  // (RFC1122-LNK-10); a missing entry is no error (RFC1122-LNK-13).
  const MacAddress* mac = neighbors_.resolve(next_hop);
  if (mac == nullptr) return enqueue_unresolved(packet, next_hop);
  transmit(packet, *mac, ethernet::kIpv4);
}

// A waiting packet is kept whole, cut and with its checksum, so that it can be sent as it is later.
void Link::enqueue_unresolved(buf::TxPacket& packet, const wire::Address& next_hop) {
  if (packet.offload.gso_size > 0) {
    Segmenter segmenter(packet, 0);
    for (auto batch = segmenter.next(); !batch.empty(); batch = segmenter.next()) {
      for (const buf::TxFrame& frame : batch) neighbors_.enqueue(next_hop, frame.header, frame.payload);
    }
    return;
  }
  if (packet.offload.checksum == buf::ChecksumState::kPartial) {
    complete_checksum(packet.header(), packet.payload(), packet.offload);
  }
  neighbors_.enqueue(next_hop, packet.header(), packet.payload());
}

bool Link::device_cuts(const buf::Offload& offload) const {
  const Capabilities& c = device_.capabilities();
  switch (offload.gso) {
    case buf::GsoType::kNone:
      return true;  // nothing to cut
    case buf::GsoType::kTcp4:
      return c.tso4;
    case buf::GsoType::kTcp6:
      return c.tso6;
    case buf::GsoType::kUdp:
      return c.uso;
  }
  return false;
}

void Link::transmit(buf::TxPacket& packet, const MacAddress& destination, std::uint16_t type) {
  std::size_t ip_offset = 0;
  if (ethernet_) {
    const ethernet::Header header{destination, config_.mac, type, config_.vlan != 0, {config_.vlan}};
    ethernet::emit(packet.prepend(header.size()), header);
    ip_offset = header.size();
    packet.offload.checksum_start = static_cast<std::uint16_t>(packet.offload.checksum_start + ip_offset);
    packet.offload.header_length = static_cast<std::uint16_t>(packet.offload.header_length + ip_offset);
  }
  if (!device_cuts(packet.offload)) return transmit_cut(packet, ip_offset);
  if (packet.offload.checksum == buf::ChecksumState::kPartial && !device_.capabilities().tx_checksum) {
    complete_checksum(packet.header(), packet.payload(), packet.offload);
    packet.offload.checksum = buf::ChecksumState::kAbsent;
  }
  const buf::TxFrame frame = packet.frame();
  put({&frame, 1});
}

void Link::transmit_cut(const buf::TxPacket& packet, std::size_t ip_offset) {
  Segmenter segmenter(packet, ip_offset);
  for (auto batch = segmenter.next(); !batch.empty(); batch = segmenter.next()) {
    context_.counters.add(Counter::kLinkSoftwareSegments, batch.size());
    put(batch);
  }
}

// All frames that can go as they are go in one call; only what needs a trailer is handed over by itself. What the
// device is to cut is padded by the device.
void Link::put(std::span<const buf::TxFrame> frames) {
  for (std::size_t i = 0; watcher_ != nullptr && i < frames.size(); ++i) {
    watcher_->on_frame(*this, frames[i], FrameWatcher::Direction::kOut);
  }
  const auto needs_trailer = [this](const buf::TxFrame& f) {
    return ethernet_ && (fcs_ || (f.size() < ethernet::kMinSize && f.offload.gso == buf::GsoType::kNone));
  };
  while (!frames.empty()) {
    const auto end = std::find_if(frames.begin(), frames.end(), needs_trailer);
    const auto run = static_cast<std::size_t>(end - frames.begin());
    if (run > 0) hand_over(frames.first(run));
    if (end == frames.end()) return;
    put_with_trailer(*end);
    frames = frames.subspan(run + 1);
  }
}

void Link::hand_over(std::span<const buf::TxFrame> frames) {
  const bool up = state_ == LinkState::kUp;
  const std::size_t taken = up ? device_.tx(context_.now, frames) : 0;
  std::size_t bytes = 0;
  for (const buf::TxFrame& f : frames.first(taken)) bytes += f.size();
  context_.counters.add(Counter::kLinkTxFrames, taken);
  context_.counters.add(Counter::kLinkTxBytes, bytes);
  for (const buf::TxFrame& f : frames.subspan(taken)) context_.drop(up ? Drop::kDeviceFull : Drop::kLinkDown, f.header);
}

Status Link::send_frame(Bytes frame) {
  const auto parsed = ethernet_ ? ethernet::parse(frame) : Result<ethernet::Frame, Drop>(ethernet::Frame{});
  if (!parsed || frame.empty()) return fail(Errno::kInvalid);
  if (frame.size() - parsed->header_size > config_.mtu) return fail(Errno::kMessageSize);
  const buf::TxFrame whole{frame, {}, {}};
  put({&whole, 1});
  return {};
}

Status Link::send_payload(Bytes payload, const MacAddress& destination, std::uint16_t type) {
  if (payload.size() > config_.mtu) return fail(Errno::kMessageSize);
  buf::TxPacket packet;
  (void)packet.append(payload);
  transmit(packet, destination, type);
  return {};
}

// Up to 1500 bytes of packet (RFC894-03). Pads with zeros to the minimum (IEEE802.3-01, RFC894-02) and adds the FCS
// where the device wants one.
void Link::put_with_trailer(const buf::TxFrame& frame) {
  std::array<Bytes, buf::TxPacket::kMaxPieces + 1> pieces;
  std::copy(frame.payload.begin(), frame.payload.end(), pieces.begin());
  std::array<std::uint8_t, ethernet::kMinSize + ethernet::kFcsSize> trailer{};
  const std::size_t size = frame.size();
  const std::size_t pad = size < ethernet::kMinSize ? ethernet::kMinSize - size : 0;
  std::size_t trailer_size = pad;
  if (fcs_) {
    wire::Crc32 crc;
    crc.add(frame.header);
    for (Bytes piece : frame.payload) crc.add(piece);
    crc.add(Bytes(trailer).first(pad));
    ethernet::emit_fcs(MutableBytes(trailer).subspan(pad), crc.finish());
    trailer_size += ethernet::kFcsSize;
  }
  pieces[frame.payload.size()] = Bytes(trailer).first(trailer_size);
  const buf::TxFrame whole{frame.header, {pieces.data(), frame.payload.size() + 1}, frame.offload};
  hand_over({&whole, 1});
}

void Link::send_arp(const wire::arp::Packet& arp, const MacAddress& destination) {
  buf::TxPacket packet;
  wire::arp::emit(packet.prepend(wire::arp::kSize), arp);
  transmit(packet, destination, ethernet::kArp);
}

// --- what ARP needs ------------------------------------------------------------------------------------------------

void Link::send_solicitation(const wire::Address& address, const MacAddress* known) {  // (RFC826-05)
  context_.counters.add(Counter::kArpRequestsSent);
  send_arp({.operation = wire::arp::Operation::kRequest,
            .sender_mac = config_.mac,
            .sender_ip = guard_.source_for(address.v4()),
            .target_mac = {},
            .target_ip = address.v4()},
           known != nullptr ? *known : MacAddress::broadcast());
}

void Link::send_resolved(const MacAddress& mac, Bytes bytes) {
  buf::TxPacket packet;
  if (!packet.append(bytes)) return;
  transmit(packet, mac, ethernet::kIpv4);
}

void Link::on_unreachable(const wire::Address&, Bytes packet) {
  user_.on_unreachable(*this, packet);
}

void Link::send_probe(wire::Ipv4Address address) {  // (RFC5227-03)
  context_.counters.add(Counter::kArpRequestsSent);
  send_arp({wire::arp::Operation::kRequest, config_.mac, {}, {}, address}, MacAddress::broadcast());
}

void Link::send_announcement(wire::Ipv4Address address) {
  context_.counters.add(Counter::kArpRequestsSent);
  send_arp({wire::arp::Operation::kRequest, config_.mac, address, {}, address}, MacAddress::broadcast());
}

}  // namespace sluice::link
