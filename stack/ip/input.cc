// An IPv4 packet on its way up: RFC 791, RFC 1122 §3.2.1, in the order in which its fields can be trusted.
#include <algorithm>

#include "stack/ip/impl.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"

namespace sluice::ip {

namespace ipv4 = wire::ipv4;
using link::LinkCast;

namespace {
// The device's metadata must speak of the packet that it came with.
bool offload_fits(const buf::Offload& offload, const ipv4::Packet& packet) {
  const auto protocol = static_cast<Protocol>(packet.header.protocol);
  const std::size_t header_size = ipv4::kHeaderSize + packet.options.size();
  if (offload.checksum == buf::ChecksumState::kPartial) {
    const std::size_t field = protocol == Protocol::kTcp ? wire::tcp::kChecksumOffset : wire::udp::kChecksumOffset;
    const bool known = protocol == Protocol::kTcp || protocol == Protocol::kUdp;
    if (!known || offload.checksum_start != header_size || offload.checksum_offset != field) return false;
  }
  switch (offload.gso) {
    case buf::GsoType::kNone:
      return true;
    case buf::GsoType::kTcp4:
      return protocol == Protocol::kTcp && !packet.header.is_fragment();
    case buf::GsoType::kUdp:
      return protocol == Protocol::kUdp && !packet.header.is_fragment();
    case buf::GsoType::kTcp6:
      break;
  }
  return false;
}
}  // namespace

void Ip::Impl::on_packet(link::Link& link, buf::Buffer packet, LinkCast cast, const buf::Offload& offload) {
  input(std::move(packet), interface_of(link).id, Arrival::From::kLink, cast, offload);
}

void Ip::Impl::input(buf::Buffer packet, InterfaceId id, Arrival::From from, LinkCast link_cast,
                     const buf::Offload& offload) {
  context_.counters.add(Counter::kIpReceived);
  const Bytes bytes = packet.bytes();
  if (!bytes.empty() && bytes[0] >> 4 == 6) return context_.drop(Drop::kIpv6Unsupported, bytes);
  const auto parsed = ipv4::parse(bytes);
  if (!parsed) return context_.drop(parsed.error(), bytes);
  if (!offload_fits(offload, *parsed)) return context_.drop(Drop::kDeviceOffload, bytes);
  const Interface* in = std::as_const(*this).interface(id);
  Arrival arrival{parsed->header, bytes.first(parsed->header.total_length), id,
                  from,           cast_of(parsed->header.destination, in),  link_cast};
  if (const auto ok = check_source(arrival); !ok) return context_.drop(ok.error(), bytes);
  if (const auto ok = check_destination(arrival); !ok) return context_.drop(ok.error(), bytes);
  const ipv4::OptionResult options = ipv4::check_options(parsed->options);
  if (options.check != ipv4::OptionCheck::kFine) {
    if (options.check == ipv4::OptionCheck::kMalformed) {  // the octet at fault (RFC792-06, RFC1122-ICMP-20)
      send_error(arrival, wire::icmp::kParameterProblem, 0, std::uint32_t{options.pointer} << 24);
    }
    return context_.drop(Drop::kIpOptions, bytes);
  }
  std::size_t header_size = ipv4::kHeaderSize + parsed->options.size();
  packet.truncate(arrival.header.total_length);  // what follows is link padding (RFC791-02, IEEE802.3-10)
  // Without fragments its identification means nothing (RFC6864-01, -03).
  if (!arrival.header.is_fragment()) return deliver(std::move(packet), arrival, header_size, offload);
  buf::Buffer whole = reassembler_.add(std::move(packet), *parsed, id);  // (RFC1122-FRAG-01, -02; RFC791-03)
  if (!whole) return;
  const auto joined = ipv4::parse(whole.bytes(), wire::ChecksumPolicy::kTrust);
  if (!joined) return context_.drop(joined.error(), whole.bytes());
  arrival.packet = whole.bytes();
  arrival.header = joined->header;  // of the first fragment, not of the one that came last
  header_size = ipv4::kHeaderSize + joined->options.size();
  deliver(std::move(whole), arrival, header_size, {});
}

// Sources that no host can have (RFC1122-IP-10), so that no transport sees them (RFC1122-UDP-12, RFC9293-MUST-63). What
// we sent to ourselves comes in over the loopback.
Result<void, Drop> Ip::Impl::check_source(const Arrival& a) const {
  if (a.from == Arrival::From::kOurselves) return {};
  const wire::Ipv4Address s = a.header.source;
  const Interface& in = *interface(a.interface);
  if (s.is_multicast() || s.is_class_e() || s.is_loopback() || s.is_this_network() || is_subnet_broadcast(s, in) ||
      is_local(s)) {
    return fail(Drop::kIpSource);
  }
  return {};
}

// Ours are: our unicast addresses, broadcasts valid on the interface, groups joined there (RFC1122-IP-09).
Result<void, Drop> Ip::Impl::check_destination(const Arrival& a) const {
  if (a.from == Arrival::From::kOurselves) return {};
  const wire::Ipv4Address d = a.header.destination;
  if (d.is_loopback()) return fail(Drop::kIpDestination);  // (RFC1122-IP-13)
  switch (a.cast) {
    case Cast::kBroadcast:
      return {};
    case Cast::kMulticast:
      if (in_group(d, a.interface)) return {};
      return fail(Drop::kIpNotForUs);
    case Cast::kUnicast:
      break;
  }
  if (a.link_cast != LinkCast::kUnicast) return fail(Drop::kIpLinkCast);  // (RFC1122-BC-03, -04)
  if (!is_local(d)) return fail(Drop::kIpNotForUs);  // nothing is forwarded, however many interfaces (RFC1122-IP-03)
  return {};
}

// A TTL of 0 or 1 does not matter to the host it is for (RFC1122-IP-18).
void Ip::Impl::deliver(buf::Buffer buffer, Arrival arrival, std::size_t header_size, const buf::Offload& offload) {
  context_.counters.add(Counter::kIpDelivered);
  const bool heard = !raw_users_.empty() && deliver_raw(arrival, header_size);
  Datagram d;
  d.source = arrival.header.source;
  d.destination = arrival.header.destination;
  d.interface = arrival.interface;
  d.protocol = static_cast<Protocol>(arrival.header.protocol);
  d.cast = arrival.cast;
  if (d.cast == Cast::kUnicast && arrival.link_cast != LinkCast::kUnicast) d.cast = Cast::kBroadcast;
  d.ttl = arrival.header.ttl;
  d.tos = arrival.header.tos;  // (RFC1122-IP-16)
  d.checksum = offload.checksum;
  d.gso_size = offload.gso_size;
  d.packet = arrival.packet;
  buffer.trim_front(header_size);
  d.buffer = std::move(buffer);
  if (d.protocol == Protocol::kIcmp) return icmp_input(d, arrival);
  if (d.protocol == Protocol::kIgmp) return igmp_input(d);
  if (Transport* t = transport(d.protocol); t != nullptr) {
    context_.arriving = arrival.packet.data();
    t->on_datagram(std::move(d));
    context_.arriving = nullptr;
    return;
  }
  if (heard) return;
  context_.drop(Drop::kIpProtocol, arrival.packet);
  send_error(arrival, wire::icmp::kUnreachable, wire::icmp::kProtocolUnreachable, 0);  // (RFC1122-ICMP-11)
}

// Whether a raw socket wanted it.
bool Ip::Impl::deliver_raw(const Arrival& a, std::size_t header_size) {
  const RawPacket packet{a.header.source, a.header.destination, a.interface, a.header.ttl,
                         a.header.tos,    header_size,          a.packet};
  bool wanted = false;
  for (const RawEntry& e : raw_users_) {
    if (e.protocol == a.header.protocol && e.user->on_raw_packet(packet)) wanted = true;
  }
  return wanted;
}

void Ip::Impl::igmp_input(const Datagram& d) {
  const auto message = wire::igmp::parse(d.buffer.bytes());
  if (!message) return context_.drop(message.error(), d.packet);
  if (Interface* in = interface(d.interface); in != nullptr) in->igmp.on_message(*message);
}

void Ip::Impl::batch_end() {
  for (const Protocol p : {Protocol::kTcp, Protocol::kUdp}) {
    if (Transport* t = transport(p); t != nullptr) t->on_batch_end();
  }
}

void Ip::Impl::on_reassembly_timeout(Bytes first, InterfaceId id) {
  if (first.empty()) return;  // fragment zero never came: nothing to quote (RFC1122-FRAG-05)
  const auto quoted = wire::icmp::parse_quote(first);
  if (!quoted) return;
  Arrival arrival{quoted->header,
                  first,
                  id,
                  Arrival::From::kLink,
                  cast_of(quoted->header.destination, std::as_const(*this).interface(id)),
                  LinkCast::kUnicast};
  send_error(arrival, wire::icmp::kTimeExceeded, wire::icmp::kReassemblyTimeExceeded, 0);
}

// The next hop of one of our packets is silent: its sender hears the same as if a router had said so.
void Ip::Impl::on_unreachable(link::Link&, Bytes packet) {
  const auto quote = wire::icmp::parse_quote(packet);
  if (!quote) return;
  IcmpError error;
  error.kind = ErrorKind::kHostUnreachable;
  error.type = wire::icmp::kUnreachable;
  error.code = wire::icmp::kHostUnreachable;
  error.reporter = error.source = quote->header.source;
  error.destination = quote->header.destination;
  error.quoted = quote->transport;
  report(error, static_cast<Protocol>(quote->header.protocol));
}

}  // namespace sluice::ip
