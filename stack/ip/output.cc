// A packet on its way down: routing, fragmentation, local delivery. RFC 791 §3.2, RFC 1122 §3.3.
#include <algorithm>
#include <cassert>

#include "stack/base/byte_order.h"
#include "stack/ip/impl.h"
#include "stack/link/segmenter.h"

namespace sluice::ip {

namespace ipv4 = wire::ipv4;

namespace {
constexpr std::uint16_t kLargestPacket = 65535;  // RFC 791: also the loopback MTU

link::LinkCast link_cast_of(Cast cast) {
  switch (cast) {
    case Cast::kBroadcast:
      return link::LinkCast::kBroadcast;
    case Cast::kMulticast:
      return link::LinkCast::kMulticast;
    case Cast::kUnicast:
      break;
  }
  return link::LinkCast::kUnicast;
}
}  // namespace

Result<Route> Ip::Impl::route(const Address& destination, const Address& source, InterfaceId id) {
  if (!destination.is_v4()) return fail(Errno::kFamilyNotSupported);
  const wire::Ipv4Address d = destination.v4();
  if (d.is_this_network() || (d.is_class_e() && !d.is_broadcast())) return fail(Errno::kInvalid);  // (RFC1122-IP-11)
  if (!source.is_any() && !is_local(source)) return fail(Errno::kAddressNotAvailable);             // (RFC1122-IP-08)
  if (is_local(destination)) return route_local(destination, source);
  if (d.is_broadcast() || d.is_multicast()) {  // straight to an interface (RFC1122-RT-01)
    return route_to_group(destination, source, id != kNoInterface ? id : pick_for_group(destination, source));
  }
  const RouteEntry* entry = routes_.find(destination, id);
  if (entry == nullptr) return fail(Errno::kNetworkUnreachable);
  return route_over(*interface(entry->interface), destination, source,
                    entry->gateway.is_any() ? destination : entry->gateway, entry->mtu);
}

Result<Route> Ip::Impl::route_local(const Address& destination, const Address& source) const {
  Route r;
  r.interface = kLoopback;
  const Address own = destination.is_loopback() ? Address(kLoopbackAddress) : destination;  // as on Linux
  r.source = source.is_any() ? own : source;
  r.next_hop = destination;
  r.mtu = r.link_mtu = r.max_gso_bytes = kLargestPacket;
  r.tx_checksum = true;
  r.generation = generation_;
  return r;
}

// The interface that has the source; where there is a route to; or the first that has an address.
InterfaceId Ip::Impl::pick_for_group(const Address& group, const Address& source) const {
  const InterfaceId owner = interface_with(source);
  if (owner != kNoInterface && (owner != kLoopback || group.is_multicast())) return owner;
  if (const RouteEntry* entry = routes_.find(group, kNoInterface)) return entry->interface;
  const auto end = interfaces_.begin() + static_cast<std::ptrdiff_t>(interface_count_);
  const auto any = std::find_if(interfaces_.begin(), end, [](const Interface* i) {
    return i->address_count > 0 && i->link.state() != link::LinkState::kDown;
  });
  return any != end ? (*any)->id : kNoInterface;
}

Result<Route> Ip::Impl::route_to_group(const Address& destination, const Address& source, InterfaceId id) {
  if (id == kLoopback && destination.is_multicast()) {
    auto r = route_local(destination, source.is_any() ? Address(kLoopbackAddress) : source);
    r->cast = Cast::kMulticast;
    return r;
  }
  const Interface* out = interface(id);
  const bool up = out != nullptr && out->link.state() != link::LinkState::kDown;
  return up ? route_over(*out, destination, source, destination, 0) : fail(Errno::kNetworkUnreachable);
}

// The address on the next hop's subnet if there is one (RFC1122-MH-02); never a broadcast or loopback address
// (RFC1122-IP-12, -13).
Result<Address> Ip::Impl::choose_source(const Interface& out, const Address& source, const Address& next_hop) const {
  if (!source.is_any()) {
    if (source.is_loopback()) return fail(Errno::kInvalid);
    return source;
  }
  const Prefix* best = nullptr;
  for (const Prefix& p : out.all_addresses()) {
    if (!out.link.address_usable(p.address.v4())) continue;
    if (best == nullptr || p.contains(next_hop)) best = &p;
    if (p.contains(next_hop)) break;
  }
  if (best == nullptr) return fail(Errno::kNetworkUnreachable);
  return best->address;
}

Result<Route> Ip::Impl::route_over(const Interface& out, const Address& destination, const Address& source,
                                   const Address& next_hop, std::uint32_t own_mtu) {
  const auto chosen = choose_source(out, source, next_hop);
  if (!chosen) return fail(chosen.error());
  Route r;
  r.interface = out.id;
  r.source = *chosen;
  r.next_hop = next_hop;
  r.cast = cast_of(destination, &out);
  r.own_mtu = own_mtu != 0;
  const std::uint32_t most = r.own_mtu ? std::min(own_mtu, out.link.mtu()) : out.link.mtu();
  r.link_mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(most, kLargestPacket));
  const PathMtu path = r.cast == Cast::kUnicast ? path_mtu_.get(destination, r.link_mtu) : PathMtu{r.link_mtu};
  r.mtu = path.mtu;
  r.below_floor = path.below_floor;
  r.max_gso_bytes =
      static_cast<std::uint16_t>(std::clamp<std::uint32_t>(out.link.max_gso_bytes(), r.mtu, kLargestPacket));
  r.rx_queue_frames =
      static_cast<std::uint16_t>(std::min<std::uint32_t>(out.link.device().capabilities().rx_queue_frames, UINT16_MAX));
  r.tx_checksum = out.link.device().capabilities().tx_checksum;
  r.udp_segmentation = out.link.device().capabilities().uso;
  r.generation = generation_;
  return r;
}

namespace {
bool may_be_cut(PathMtuUse use) {
  return use <= PathMtuUse::kWant || use == PathMtuUse::kOmit;
}
}  // namespace

Status Ip::Impl::send(buf::TxPacket& packet, const SendOptions& options, const Path& route) {
  const bool multicast = route.cast == Cast::kMulticast;
  if (options.ttl == 0 && !multicast) return fail(Errno::kInvalid);
  const std::size_t size = packet.size() + ipv4::kHeaderSize;
  if (size > ipv4::kMaxSize) return fail(Errno::kMessageSize);
  if (multicast) loop_to_members(packet, options, route);
  if (multicast && (options.ttl == 0 || route.interface == kLoopback)) return {};  // (RFC1122-IP-17)
  const bool cut_below = packet.offload.gso_size > 0;
  if (size > route.mtu_for(options.path_mtu) && !cut_below) {
    if (may_be_cut(options.path_mtu)) return send_fragments(packet, options, route);
    return context_.drop(Drop::kIpTooBig), fail(Errno::kMessageSize);  // (RFC791-08)
  }
  const std::size_t datagrams = cut_below ? packet.payload_size() / packet.offload.gso_size + 1 : 1;
  ipv4::Header header = header_for(options, route, datagrams);
  header.total_length = static_cast<std::uint16_t>(size);
  return send_one(packet, header, route);
}

// The fields that do not depend on the size. The identification is the first of `datagrams` in a row.
// DEVIATION(RFC1191-10): ICMP goes without DF unless it asks for it: nobody would send an echo reply again that was
// too large for the path.
ipv4::Header Ip::Impl::header_for(const SendOptions& options, const Path& route, std::size_t datagrams) {
  const bool discover = options.path_mtu == PathMtuUse::kWant && route.cast == Cast::kUnicast &&
                        config_.path_mtu_discovery == IpConfig::Discovery::kOn;
  const bool probe = options.path_mtu == PathMtuUse::kProbe;
  const bool wanted = discover || options.path_mtu == PathMtuUse::kDo;
  ipv4::Header h{.tos = options.tos,
                 .dont_fragment = probe || (wanted && !route.below_floor),
                 .ttl = options.ttl,
                 .protocol = static_cast<std::uint8_t>(options.protocol),
                 .source = options.source.v4(),
                 .destination = options.destination.v4()};
  // Atomic datagrams need no identification (RFC6864-02).
  if (!h.dont_fragment) {
    h.identification = identification_.next(options.source, options.destination, h.protocol, datagrams);
  }
  return h;
}

Status Ip::Impl::send_one(buf::TxPacket& packet, const ipv4::Header& header, const Path& route) {
  packet.offload.header_length = static_cast<std::uint16_t>(packet.header_size() + ipv4::kHeaderSize);
  packet.offload.checksum_start = static_cast<std::uint16_t>(packet.offload.checksum_start + ipv4::kHeaderSize);
  ipv4::emit(packet.prepend(ipv4::kHeaderSize), header);
  return send_ready(packet, route);
}

// With its IP header.
Status Ip::Impl::send_ready(buf::TxPacket& packet, const Path& route) {
  context_.counters.add(Counter::kIpSent);
  if (route.interface == kLoopback) return loop_back(packet, kLoopback);
  Interface* out = interface(route.interface);
  if (out == nullptr) return context_.drop(Drop::kIpNoRoute), fail(Errno::kNetworkDown);
  out->link.send(packet, route.next_hop, link_cast_of(route.cast));
  return {};
}

Status Ip::Impl::send_as_it_is(MutableBytes bytes, const Route& route) {
  const std::size_t header_size = bytes.empty() ? 0 : static_cast<std::size_t>(bytes[0] & 0xf) * 4;
  if (header_size < ipv4::kHeaderSize || bytes.size() < header_size) return fail(Errno::kInvalid);
  if (bytes.size() > route.mtu) return fail(Errno::kMessageSize);
  std::uint8_t* field = bytes.data();
  store_be16(field + 2, static_cast<std::uint16_t>(bytes.size()));
  if (load_be32(field + 12) == 0) route.source.v4().store(field + 12);
  const Address destination = wire::Ipv4Address::load(field + 16);
  if (load_be16(field + 4) == 0) store_be16(field + 4, identification_.next(route.source, destination, field[9], 1));
  store_be16(field + 10, 0);
  store_be16(field + 10, wire::checksum(bytes.first(header_size)));
  buf::TxPacket packet;
  const MutableBytes header = packet.prepend(header_size);
  std::copy_n(bytes.begin(), header_size, header.begin());
  (void)packet.append(bytes.subspan(header_size));
  return send_ready(packet, route);
}

// RFC 2236 §2: to the next router and no further, which is to look at it whoever it is for.
void Ip::Impl::send_igmp(InterfaceId id, wire::Ipv4Address destination, const wire::igmp::Message& message) {
  Interface* out = interface(id);
  const Prefix* own = out != nullptr && out->address_count > 0 ? out->addresses.data() : nullptr;
  if (own == nullptr || !out->link.address_usable(own->address.v4())) return;
  buf::TxPacket packet;
  wire::igmp::emit(packet.prepend(wire::igmp::kSize), message);
  constexpr std::size_t kHeader = ipv4::kHeaderSize + ipv4::kRouterAlert.size();
  const ipv4::Header header{.tos = 0xc0,  // network control
                            .total_length = kHeader + wire::igmp::kSize,
                            .dont_fragment = true,
                            .ttl = 1,
                            .protocol = static_cast<std::uint8_t>(Protocol::kIgmp),
                            .source = own->address.v4(),
                            .destination = destination};
  ipv4::emit(packet.prepend(kHeader), header, ipv4::kRouterAlert);
  Path route;
  route.interface = id;
  route.next_hop = destination;
  route.cast = Cast::kMulticast;
  (void)send_ready(packet, route);  // it is repeated
}

namespace {
// Appends the bytes [from, from + size) of a header and its payload pieces.
void append_range(buf::TxPacket& to, Bytes header, std::span<const Bytes> payload, std::size_t from, std::size_t size) {
  const auto take = [&](Bytes piece) {
    if (from >= piece.size()) {
      from -= piece.size();
      return;
    }
    const Bytes part = piece.subspan(from, std::min(size, piece.size() - from));
    const bool fits = to.append(part);
    assert(fits);
    (void)fits;
    size -= part.size();
    from = 0;
  };
  take(header);
  for (Bytes piece : payload) {
    if (size > 0) take(piece);
  }
}
}  // namespace

// (RFC1122-FRAG-08). The transport's checksum is completed first: it covers the whole.
Status Ip::Impl::send_fragments(buf::TxPacket& packet, const SendOptions& options, const Path& route) {
  if (packet.offload.checksum == buf::ChecksumState::kPartial) {
    link::complete_checksum(packet.header(), packet.payload(), packet.offload);
  }
  const std::size_t total = packet.size();
  const std::size_t step = (route.mtu_for(options.path_mtu) - ipv4::kHeaderSize) / 8 * 8;
  SendOptions fragmentable = options;
  fragmentable.path_mtu = PathMtuUse::kDont;  // and, if it must be, cut again on the way
  ipv4::Header header = header_for(fragmentable, route, 1);
  for (std::size_t offset = 0; offset < total; offset += step) {
    const std::size_t size = std::min(step, total - offset);
    buf::TxPacket fragment;
    append_range(fragment, packet.header(), packet.payload(), offset, size);
    header.total_length = static_cast<std::uint16_t>(size + ipv4::kHeaderSize);
    header.fragment_offset = static_cast<std::uint16_t>(offset);
    header.more_fragments = offset + size < total;
    context_.counters.add(Counter::kFragmentsSent);
    if (const Status sent = send_one(fragment, header, route); !sent) return sent;
  }
  return {};
}

// A packet to ourselves is copied into a queue that the next poll delivers. Bounded: a full queue drops, as a link
// would.
Status Ip::Impl::loop_back(const buf::TxPacket& packet, InterfaceId interface) {
  if (loopback_.size() == kLoopbackPackets) return context_.drop(Drop::kDeviceFull), fail(Errno::kNoBuffers);
  buf::Buffer copy = pool_.allocate(packet.size());
  if (!copy) return context_.drop(Drop::kBufferExhausted), fail(Errno::kNoBuffers);
  copy.set_view(0, packet.frame().copy_to(copy.storage()));
  loopback_.push({std::move(copy), interface});
  return {};
}

// A multicast that is heard on this host too comes in by the interface that it leaves by (RFC 1112 §6.1). What is sent
// over the loopback can be heard nowhere else.
void Ip::Impl::loop_to_members(buf::TxPacket& packet, const SendOptions& options, const Path& route) {
  const bool wanted = options.to_members_here || route.interface == kLoopback;
  if (!wanted || !in_group(options.destination, route.interface)) return;
  SendOptions whole = options;
  whole.path_mtu = PathMtuUse::kDo;
  ipv4::Header header = header_for(whole, route, 1);
  header.total_length = static_cast<std::uint16_t>(packet.size() + ipv4::kHeaderSize);
  ipv4::emit(packet.prepend(ipv4::kHeaderSize), header);
  (void)loop_back(packet, route.interface);  // as on a link, what is lost is not told
  packet.strip_front(ipv4::kHeaderSize);
}

std::size_t Ip::Impl::poll_loopback(std::size_t budget) {
  std::size_t n = 0;
  for (; n < budget && !loopback_.empty(); ++n) {
    Looped next = loopback_.pop();
    input(std::move(next.packet), next.interface, Arrival::From::kOurselves, link::LinkCast::kUnicast,
          {.checksum = buf::ChecksumState::kVerified});
  }
  if (n > 0) batch_end();
  return n;
}

}  // namespace sluice::ip
