// ICMP: RFC 792, RFC 1122 §3.2.2, RFC 1191, RFC 6633.
#include <algorithm>
#include <array>

#include "stack/ip/impl.h"

namespace sluice::ip {

namespace icmp = wire::icmp;
namespace ipv4 = wire::ipv4;

namespace {

constexpr std::uint32_t kMinMtu = 68;         // RFC 791 §3.2: every link carries that much
constexpr std::size_t kMaxErrorPacket = 576;  // RFC 1812 §4.3.2.3: quote as much as fits (RFC1812-01)

// The kind of an unreachable message, by its code (RFC 1122 §3.2.2.1).
ErrorKind kind_of_unreachable(std::uint8_t code) {
  switch (code) {
    case 1:
    case 5:
    case 7:
    case 8:
    case 12:
      return ErrorKind::kHostUnreachable;
    case icmp::kProtocolUnreachable:
      return ErrorKind::kProtocolUnreachable;
    case icmp::kPortUnreachable:
      return ErrorKind::kPortUnreachable;
    case icmp::kFragmentationNeeded:
      return ErrorKind::kFragmentationNeeded;
    case 9:
    case 10:
    case 13:
      return ErrorKind::kProhibited;
    default:
      return ErrorKind::kNetUnreachable;
  }
}

std::uint8_t code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kProtocolUnreachable:
      return icmp::kProtocolUnreachable;
    case ErrorKind::kPortUnreachable:
      return icmp::kPortUnreachable;
    case ErrorKind::kHostUnreachable:
      return icmp::kHostUnreachable;
    default:
      return icmp::kNetUnreachable;
  }
}

bool is_icmp_error(const Arrival& a) {
  if (a.header.protocol != static_cast<std::uint8_t>(Protocol::kIcmp)) return false;
  const std::size_t header_size = static_cast<std::size_t>(a.packet[0] & 0xf) * 4;
  if (a.packet.size() <= header_size) return true;  // cannot be told: be silent
  return icmp::Message{.type = a.packet[header_size]}.is_error();
}

}  // namespace

// RFC 1122 §3.2.2: not about an ICMP error (RFC1122-ICMP-05), nor about a packet to many (RFC1122-ICMP-06) or that came
// as a link-layer broadcast (RFC1122-ICMP-07), nor about a later fragment (RFC1122-ICMP-08), nor to a source that is
// not one host (RFC1122-ICMP-09). A loopback address is one host only over the loopback.
bool icmp_error_forbidden(const Arrival& a) {
  const wire::Ipv4Address s = a.header.source;
  return is_icmp_error(a) || a.cast != Cast::kUnicast || a.link_cast != link::LinkCast::kUnicast ||
         a.header.fragment_offset != 0 || s.is_this_network() || s.is_multicast() || s.is_class_e() ||
         (s.is_loopback() && a.interface != kLoopback);
}

bool Ip::Impl::error_allowed(const Arrival& a) const {
  return !icmp_error_forbidden(a) && cast_of(a.header.source, nullptr) == Cast::kUnicast;
}

// Quotes the packet as it came (RFC1122-ICMP-02), up to 576 bytes in all (RFC1122-ICMP-38), with no TOS
// (RFC1122-ICMP-04). The errors that exist are unreachable, time
// exceeded and parameter problem (RFC1122-ICMP-10): never redirect (RFC1122-ICMP-16), never source quench (RFC6633-01).
void Ip::Impl::send_error(const Arrival& a, std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
  if (!error_allowed(a)) return context_.drop(Drop::kIcmpForbidden, a.packet);
  const bool to_ourselves = a.interface == kLoopback;  // nobody else can make them many
  if (!to_ourselves && !error_limit_.allow(a.header.source)) return context_.drop(Drop::kIcmpRateLimited, a.packet);
  context_.counters.add(Counter::kIcmpErrorsSent);
  const std::size_t quoted = std::min(a.packet.size(), kMaxErrorPacket - ipv4::kHeaderSize - icmp::kHeaderSize);
  const bool local = is_local(a.header.destination);
  send_icmp({type, code, rest, a.packet.first(quoted)}, local ? Address(a.header.destination) : Address(),
            a.header.source, 0);
}

void Ip::Impl::send_icmp(const icmp::Message& message, const Address& source, const Address& destination,
                         std::uint8_t tos) {
  const auto way = route(destination, source, kNoInterface);
  if (!way) return context_.drop(Drop::kIpNoRoute);
  buf::TxPacket packet;
  if (!packet.append(message.body)) return;
  icmp::emit(packet.prepend(icmp::kHeaderSize), message);
  SendOptions options{.source = way->source, .destination = destination, .protocol = Protocol::kIcmp};
  options.ttl = config_.default_ttl;
  options.tos = tos;
  options.path_mtu = PathMtuUse::kDont;
  (void)send(packet, options, *way);  // nobody to tell: drops are counted where they happen
}

void Ip::reject(const Datagram& d, ErrorKind kind) {
  const auto parsed = ipv4::parse(d.packet, wire::ChecksumPolicy::kTrust);
  if (!parsed) return;
  const Arrival arrival{parsed->header, d.packet, d.interface, Arrival::From::kLink, d.cast, link::LinkCast::kUnicast};
  impl_->send_error(arrival, icmp::kUnreachable, code_of(kind), 0);
}

void Ip::Impl::icmp_input(const Datagram& d, const Arrival& arrival) {
  context_.counters.add(Counter::kIcmpReceived);
  const Bytes l4 = d.buffer.bytes();
  const bool trusted = d.checksum == buf::ChecksumState::kVerified;
  const auto parsed = icmp::parse(l4, trusted ? wire::ChecksumPolicy::kTrust : wire::ChecksumPolicy::kVerify);
  if (!parsed) return context_.drop(parsed.error(), d.packet);
  switch (parsed->type) {
    case icmp::kEchoRequest:
      return answer_echo(*parsed, d, arrival);
    case icmp::kEchoReply:
      return echo_reply_input(*parsed, d);
    case icmp::kUnreachable:
    case icmp::kTimeExceeded:
    case icmp::kParameterProblem:
      return icmp_error_input(*parsed, d);
    default:  // unknown types (RFC1122-ICMP-01), source quench (RFC6633-02), redirect, timestamp, mask, information
      return context_.drop(Drop::kIcmpIgnored, d.packet);
  }
}

// (RFC1122-ICMP-22, -25, -26; RFC792-02; RFC1122-MH-01). Not for a broadcast or multicast request (RFC1122-ICMP-24).
// The reply has the DSCP of the request (RFC 1349 §5.1), not its ECN bits.
void Ip::Impl::answer_echo(const icmp::Message& request, const Datagram& d, const Arrival& arrival) {
  if (arrival.cast != Cast::kUnicast || arrival.link_cast != link::LinkCast::kUnicast || request.code != 0) {
    return context_.drop(Drop::kIcmpIgnored, d.packet);
  }
  context_.counters.add(Counter::kIcmpEchoReplies);
  constexpr std::uint8_t kDscp = 0xfc;
  send_icmp({icmp::kEchoReply, 0, request.rest, request.body}, d.destination, d.source, d.tos & kDscp);
}

void Ip::Impl::echo_reply_input(const icmp::Message& message, const Datagram& d) {  // (RFC1122-ICMP-27)
  for (const IcmpUserEntry& entry : icmp_users_) {
    if (entry.user != nullptr && entry.identifier == message.identifier()) {
      return entry.user->on_echo_reply(d.source, d.ttl, d.buffer.bytes());
    }
  }
  context_.drop(Drop::kIcmpIgnored, d.packet);
}

// What RFC 1191 §5 lets a too-big message mean: its next-hop MTU, or a plateau below the packet it quotes
// (RFC1191-05).
std::uint32_t Ip::Impl::too_big_mtu(const icmp::Message& message, const icmp::Quote& quote) const {
  const std::uint32_t said = message.next_hop_mtu();
  const std::uint32_t mtu = said != 0 ? said : plateau_below(quote.header.total_length);
  return std::max(mtu, kMinMtu);  // (RFC1191-03)
}

// Whether we can have sent what is quoted, and this can be about it. What we sent to ourselves never left; an error
// from a network about it is forged.
bool Ip::Impl::quotes_us(const icmp::Quote& quote, const Datagram& d) const {
  if (!is_local(quote.header.source) || d.cast != Cast::kUnicast) return false;
  const bool looped = quote.header.source.is_loopback() || is_local(quote.header.destination);
  return looped == (d.interface == kLoopback);
}

void Ip::Impl::icmp_error_input(const icmp::Message& message, const Datagram& d) {
  const auto quote = icmp::parse_quote(message.body);
  if (!quote || !quotes_us(*quote, d)) return context_.drop(Drop::kIcmpQuote, d.packet);
  IcmpError error;
  error.type = message.type;
  error.code = message.code;
  error.ttl = d.ttl;
  error.tos = d.tos;
  error.interface = d.interface;
  error.reporter = d.source;
  error.source = quote->header.source;
  error.destination = quote->header.destination;
  error.quoted = quote->transport;
  if (message.type == icmp::kUnreachable) {
    error.kind = kind_of_unreachable(message.code);
  } else {
    error.kind = message.type == icmp::kTimeExceeded ? ErrorKind::kTimeExceeded : ErrorKind::kParameterProblem;
  }
  if (error.kind == ErrorKind::kFragmentationNeeded) error.mtu = too_big_mtu(message, *quote);
  report(error, static_cast<Protocol>(quote->header.protocol));  // (RFC1122-ICMP-03)
}

// (RFC1122-ICMP-13, -19, -21; RFC1122-IF-04)
void Ip::Impl::report(const IcmpError& error, Protocol protocol) {
  for (const RawEntry& e : raw_users_) {
    if (e.protocol == static_cast<std::uint8_t>(protocol)) e.user->on_raw_error(error);
  }
  if (protocol != Protocol::kIcmp) {
    if (Transport* t = transport(protocol); t != nullptr) t->on_icmp_error(error);
    return;
  }
  // One of our own echo requests: type, code, checksum, identifier.
  if (error.quoted[0] != icmp::kEchoRequest) return;
  const auto identifier = static_cast<std::uint16_t>(error.quoted[4] << 8 | error.quoted[5]);
  for (const IcmpUserEntry& entry : icmp_users_) {
    if (entry.user != nullptr && entry.identifier == identifier) return entry.user->on_icmp_error(error);
  }
}

Result<std::uint16_t> Ip::register_icmp_user(IcmpUser& user, std::uint16_t wanted) {
  Impl::IcmpUserEntry* free = nullptr;
  const auto taken = [this](std::uint16_t id) {
    return std::any_of(impl_->icmp_users_.begin(), impl_->icmp_users_.end(),
                       [id](const Impl::IcmpUserEntry& e) { return e.user != nullptr && e.identifier == id; });
  };
  for (Impl::IcmpUserEntry& e : impl_->icmp_users_) {
    if (e.user == nullptr) free = &e;
  }
  if (free == nullptr) return fail(Errno::kNoBuffers);
  if (wanted != 0 && taken(wanted)) return fail(Errno::kAddressInUse);
  while (wanted == 0 || taken(wanted)) wanted = static_cast<std::uint16_t>(impl_->context_.rng.next_u32());
  *free = {wanted, &user};
  return wanted;
}

void Ip::unregister_icmp_user(std::uint16_t identifier) {
  for (Impl::IcmpUserEntry& e : impl_->icmp_users_) {
    if (e.user != nullptr && e.identifier == identifier) e = {};
  }
}

Status Ip::send_echo(const Address& destination, const Address& source, std::uint8_t ttl, std::uint16_t identifier,
                     std::uint16_t sequence, Bytes payload) {  // (RFC1122-ICMP-23)
  const auto way = impl_->route(destination, source, kNoInterface);
  if (!way) return fail(way.error());
  buf::TxPacket packet;
  (void)packet.append(payload);
  const icmp::Message message{icmp::kEchoRequest, 0, static_cast<std::uint32_t>(identifier) << 16 | sequence, payload};
  icmp::emit(packet.prepend(icmp::kHeaderSize), message);
  SendOptions options{.source = way->source, .destination = destination, .protocol = Protocol::kIcmp};
  options.ttl = ttl != 0 ? ttl : impl_->config_.default_ttl;  // (RFC1122-IP-19)
  options.path_mtu = PathMtuUse::kDont;
  return impl_->send(packet, options, *way);
}

}  // namespace sluice::ip
