#include "stack/udp/udp.h"

#include <algorithm>
#include <array>
#include <memory>

#include "stack/base/byte_order.h"
#include "stack/base/ring.h"
#include "stack/udp/cutter.h"
#include "stack/wire/udp.h"

namespace sluice::udp {

namespace {
constexpr std::size_t kMaxPorts = 16384;         // open at a time
constexpr std::size_t kBuckets = 1024;           // by local port
constexpr std::uint16_t kFirstEphemeral = 1024;  // all that is not reserved (RFC6056-02)
constexpr std::uint16_t kLastEphemeral = 65535;
constexpr std::size_t kMaxPayload = 65507;  // 65535 less IP and UDP header
constexpr std::uint8_t kProtocol = 17;
constexpr std::size_t kOverhead = 128;  // charged to the queue for a datagram beyond its block
}  // namespace

struct Port::State {
  State(Udp::Impl& u, Port* h, ip::Family f, PortUser* p);
  // Whether a datagram to `to` from `from` is for this port, and how exactly: 0 not at all.
  [[nodiscard]] int match(const Endpoint& to, const Endpoint& from) const {
    if (local.port != to.port || (!local.address.is_any() && local.address != to.address)) return 0;
    if (connected && !(peer == from)) return 0;
    return 1 + (local.address.is_any() ? 0 : 1) + (connected ? 2 : 0);
  }
  [[nodiscard]] bool wants_group(const Address& group, ip::InterfaceId interface) const {
    return options.other_groups == Options::Allow::kYes || memberships.has({group, interface});
  }

  [[nodiscard]] Result<ip::Route> route_to(const Address& to, const ip::Choices& choices) const;

  Udp::Impl& udp;
  Port* handle;
  PortUser* user;
  Endpoint local;
  Endpoint peer;
  bool connected = false;
  Sharing sharing = Sharing::kExclusive;
  Errno error = Errno::kOk;
  Options options;
  ip::Route route;                         // to the peer, while its generation holds
  std::unique_ptr<ip::ErrorQueue> errors;  // null: they are not kept
  ip::Memberships memberships;
  Ring<ReceivedDatagram> queue;
  std::size_t queued = 0;     // memory of what waits, bytes
  std::uint32_t dropped = 0;  // for want of room
  State* next = nullptr;      // in its bucket
};

struct Udp::Impl {
  Impl(Context& c, ip::Ip& i, buf::Pool& p) : context(c), ip(i), pool(p) {}

  Port::State*& bucket(std::uint16_t port) { return buckets[port % kBuckets]; }
  void list(Port::State& s) {
    s.next = bucket(s.local.port);
    bucket(s.local.port) = &s;
  }
  void unlist(Port::State& s) {
    Port::State** link = &bucket(s.local.port);
    while (*link != nullptr && *link != &s) link = &(*link)->next;
    if (*link != nullptr) *link = s.next;
  }
  Port::State* find(const Endpoint& to, const Endpoint& from);
  [[nodiscard]] bool conflicts(const Endpoint& local, Port::Sharing sharing);
  Result<std::uint16_t> ephemeral(const Address& address);
  void deliver_copies(const ReceivedDatagram& facts, Bytes payload, std::size_t size, const ip::Datagram& d);
  void refuse(const ip::Datagram& d);
  void enqueue(Port::State& s, ReceivedDatagram datagram);
  Status send(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to, const ip::Choices& choices);
  Status send_cut(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to, const ip::Choices& choices,
                  const ip::Route& route);
  Status send_along(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to, const ip::Choices& choices,
                    const ip::Route& route);
  Status emit(const Way& way, std::span<const Bytes> pieces, std::size_t size, std::uint16_t each);
  void send_train();

  Context& context;
  ip::Ip& ip;
  buf::Pool& pool;
  std::array<Port::State*, kBuckets> buckets{};
  std::size_t count = 0;
  Train train;
  int holds = 0;
};

Port::State::State(Udp::Impl& u, Port* h, ip::Family f, PortUser* p) : udp(u), handle(h), user(p), memberships(u.ip) {
  local.address = Address::any(f);
}

// --- Udp
// -----------------------------------------------------------------------------------------------------------------

Udp::Udp(Context& context, ip::Ip& ip, buf::Pool& pool) : impl_(new Impl(context, ip, pool)) {
  ip.register_transport(ip::Protocol::kUdp, *this);
}

Udp::~Udp() {
  for (Port::State* s : impl_->buckets) {
    while (s != nullptr) {
      Port::State* next = s->next;
      delete s->handle;
      delete s;
      s = next;
    }
  }
  delete impl_;
}

Result<Port*> Udp::open(ip::Family family, PortUser* user) {
  if (impl_->count == kMaxPorts) return fail(Errno::kTooManyFiles);
  ++impl_->count;
  auto* port = new Port(nullptr);
  port->state_ = new Port::State(*impl_, port, family, user);
  return port;
}

void Udp::close(Port* port) {
  if (port->state_->local.port != 0) impl_->unlist(*port->state_);
  --impl_->count;
  delete port->state_;
  delete port;
}

void Udp::visit_ports(PortVisitor visit, void* arg) const {
  for (const Port::State* s : impl_->buckets) {
    for (; s != nullptr; s = s->next) visit(arg, {s->local, s->connected ? &s->peer : nullptr, s->queued});
  }
}

Port::State* Udp::Impl::find(const Endpoint& to, const Endpoint& from) {
  Port::State* best = nullptr;
  int best_match = 0;
  for (Port::State* s = bucket(to.port); s != nullptr; s = s->next) {
    const int m = s->match(to, from);
    if (m > best_match) best = s, best_match = m;
  }
  return best;
}

void Udp::on_datagram(ip::Datagram d) {
  Impl& im = *impl_;
  im.context.counters.add(Counter::kUdpReceived);
  const bool trusted = d.checksum != buf::ChecksumState::kAbsent;
  const auto zero = d.source.is_v4() ? wire::udp::ZeroChecksum::kAllowed : wire::udp::ZeroChecksum::kRefused;
  const auto parsed = wire::udp::parse(d.buffer.bytes(), d.source, d.destination,
                                       trusted ? wire::ChecksumPolicy::kTrust : wire::ChecksumPolicy::kVerify, zero);
  if (!parsed) return im.context.drop(parsed.error(), d.packet);  // (RFC1122-UDP-04, -05)
  ReceivedDatagram r;
  r.source = {d.source, parsed->header.src_port};
  r.destination = {d.destination, parsed->header.dst_port};
  r.interface = d.interface;
  r.ttl = d.ttl;
  r.tos = d.tos;
  const bool several = d.gso_size != 0 && parsed->payload.size() > d.gso_size;
  Port::State* s = d.cast == ip::Cast::kUnicast ? im.find(r.destination, r.source) : nullptr;
  const bool joined = several && s != nullptr && s->options.joined == Port::Options::Allow::kYes;
  if (joined) r.segment = d.gso_size;
  if ((several && !joined) || d.cast != ip::Cast::kUnicast) {
    return im.deliver_copies(r, parsed->payload, several ? d.gso_size : SIZE_MAX, d);
  }
  if (s == nullptr) return im.refuse(d);
  const std::size_t size = parsed->payload.size();
  d.buffer.trim_front(wire::udp::kHeaderSize);
  d.buffer.truncate(size);
  r.payload = std::move(d.buffer);
  im.enqueue(*s, std::move(r));
}

void Udp::Impl::refuse(const ip::Datagram& d) {
  context.drop(Drop::kUdpNoPort, d.packet);
  if (d.cast == ip::Cast::kUnicast) ip.reject(d, ip::ErrorKind::kPortUnreachable);  // (RFC1122-UDP-01, -ICMP-12)
}

// What several get, or what is several: each socket on the port has its copy of a broadcast or multicast (RFC 1122
// §4.1.3.3); a device that coalesces hands over a row of datagrams, `size` bytes each and the last perhaps shorter.
void Udp::Impl::deliver_copies(const ReceivedDatagram& facts, Bytes payload, std::size_t size, const ip::Datagram& d) {
  bool anyone = false;
  const bool unicast = d.cast == ip::Cast::kUnicast;
  Port::State* only = unicast ? find(facts.destination, facts.source) : nullptr;
  do {
    const Bytes part = payload.first(std::min(size, payload.size()));
    payload = payload.subspan(part.size());
    if (!payload.empty()) context.counters.add(Counter::kUdpReceived);
    if (only != nullptr) enqueue(*only, facts.with(pool.copy_of(part)));
    for (Port::State* s = bucket(facts.destination.port); s != nullptr && !unicast; s = s->next) {
      if (s->match(facts.destination, facts.source) == 0) continue;
      if (d.cast == ip::Cast::kMulticast && !s->wants_group(facts.destination.address, facts.interface)) continue;
      anyone = true;
      enqueue(*s, facts.with(pool.copy_of(part)));
    }
  } while (!payload.empty());
  if (only == nullptr && !anyone) refuse(d);
}

// A queue is bounded in memory, the newest is dropped. A small payload is copied so that it does not pin a large block.
void Udp::Impl::enqueue(Port::State& s, ReceivedDatagram r) {
  if (!r.payload) return context.drop(Drop::kBufferExhausted);
  if (s.queued >= s.options.receive_buffer) {
    ++s.dropped;
    return context.drop(Drop::kUdpQueueFull, r.payload.bytes());
  }
  r.at = context.now;
  r.dropped = s.dropped;
  const bool wasteful = r.payload.size() <= buf::Pool::kTiny && r.payload.capacity() > buf::Pool::kTiny;
  if (wasteful && s.queue.size() > 0) {
    buf::Buffer small = pool.copy_of(r.payload.bytes());
    if (small) r.payload = std::move(small);
  }
  s.queued += r.payload.capacity() + kOverhead;
  s.queue.push(std::move(r));
  if (s.user != nullptr) s.user->on_udp_readable();
}

// Errors reach the port whose datagram they quote, if it is connected (RFC1122-UDP-03); a path MTU is believed when
// there is such a port at all.
void Udp::on_icmp_error(const ip::IcmpError& e) {
  if (e.quoted.size() < wire::udp::kHeaderSize) return impl_->context.drop(Drop::kIcmpQuote);
  const Endpoint from{e.source, load_be16(e.quoted.data())};
  const Endpoint to{e.destination, load_be16(e.quoted.data() + 2)};
  Port::State* s = impl_->find(from, to);
  if (s == nullptr) return impl_->context.drop(Drop::kIcmpQuote);
  if (e.kind == ip::ErrorKind::kFragmentationNeeded) impl_->ip.accept_path_mtu(e.destination, e.mtu);
  if (s->errors != nullptr) {
    s->errors->push(e, to, e.quoted.subspan(wire::udp::kHeaderSize));
  } else if (!s->connected || e.kind == ip::ErrorKind::kTimeExceeded) {
    return;
  }
  s->error = ip::errno_of(e.kind);
  if (s->user != nullptr) s->user->on_udp_error();
}

// --- ports
// -----------------------------------------------------------------------------------------------------------------

bool Udp::Impl::conflicts(const Endpoint& local, Port::Sharing sharing) {
  for (Port::State* s = bucket(local.port); s != nullptr; s = s->next) {
    if (s->local.port != local.port) continue;
    const bool overlap = s->local.address == local.address || s->local.address.is_any() || local.address.is_any();
    const bool shared = s->sharing == Port::Sharing::kReuseAddress && sharing == Port::Sharing::kReuseAddress;
    if (overlap && !shared) return true;
  }
  return false;
}

Result<std::uint16_t> Udp::Impl::ephemeral(const Address& address) {  // (RFC6056-05)
  const std::uint32_t range = kLastEphemeral - kFirstEphemeral + 1u;
  const std::uint32_t start = context.rng.below(range);
  for (std::uint32_t i = 0; i < range; ++i) {
    const auto port = static_cast<std::uint16_t>(kFirstEphemeral + (start + i) % range);
    if (!conflicts({address, port}, Port::Sharing::kExclusive)) return port;
  }
  return fail(Errno::kAddressInUse);
}

Status Port::bind(const Endpoint& local, Sharing sharing) {
  State& s = *state_;
  if (s.local.port != 0) return fail(Errno::kInvalid);
  const bool usable = local.address.is_any() || s.udp.ip.is_local(local.address) ||
                      s.udp.ip.cast_of(local.address, ip::kNoInterface) != ip::Cast::kUnicast;
  if (!usable) return fail(Errno::kAddressNotAvailable);
  Endpoint wanted = local;
  if (wanted.port == 0) {
    const auto port = s.udp.ephemeral(local.address);
    if (!port) return fail(port.error());
    wanted.port = *port;
  } else if (s.udp.conflicts(wanted, sharing)) {
    return fail(Errno::kAddressInUse);
  }
  s.local = wanted;
  s.sharing = sharing;
  s.udp.list(s);
  return {};
}

Status Port::connect(const Endpoint& peer) {
  State& s = *state_;
  if (peer.port == 0 || peer.address.is_any()) return fail(Errno::kInvalid);
  const auto route = s.route_to(peer.address, {});
  if (!route) return fail(route.error());
  if (route->cast == ip::Cast::kBroadcast && s.options.broadcast == Options::Allow::kNo) return fail(Errno::kAccess);
  if (s.local.port == 0) {
    if (const Status bound = bind({s.local.address, 0}); !bound) return bound;
  }
  if (s.local.address.is_any()) s.local.address = route->source;
  s.peer = peer;
  s.connected = true;
  s.error = Errno::kOk;
  s.route = *route;
  return {};
}

Status Port::join(const ip::Membership& membership) {
  return state_->memberships.join(membership);
}
Status Port::leave(const ip::Membership& membership) {
  return state_->memberships.leave(membership);
}

void Port::disconnect() {
  state_->connected = false;
  state_->peer = {};
}

// --- sending
// ---------------------------------------------------------------------------------------------------------------

Status Port::send(std::span<const Bytes> pieces, const Endpoint* destination, const ip::Choices& choices) {
  State& s = *state_;
  if (s.error != Errno::kOk) return fail(take_error());
  if (destination == nullptr && !s.connected) return fail(Errno::kDestinationRequired);
  if (s.local.port == 0) {
    if (const Status bound = bind({s.local.address, 0}); !bound) return bound;
  }
  return s.udp.send(s, pieces, destination != nullptr ? *destination : s.peer, choices);
}

Result<ip::Route> Port::State::route_to(const Address& to, const ip::Choices& choices) const {
  return udp.ip.route_from({local.address, options.multicast_interface}, to, choices);
}

namespace {
std::size_t size_of(std::span<const Bytes> pieces) {
  std::size_t size = 0;
  for (Bytes piece : pieces) size += piece.size();
  return size;
}
}  // namespace

Status Udp::Impl::send(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to, const ip::Choices& choices) {
  if (to.port == 0) return fail(Errno::kInvalid);
  if (size_of(pieces) > kMaxPayload) return fail(Errno::kMessageSize);
  const bool usual = s.connected && to == s.peer && choices.source.is_any() && choices.interface == ip::kNoInterface;
  if (usual && s.route.generation == ip.route_generation()) return send_cut(s, pieces, to, choices, s.route);
  const auto route = s.route_to(to.address, choices);
  if (!route) return fail(route.error());
  if (usual) s.route = *route;
  return send_cut(s, pieces, to, choices, *route);
}

// UDP_SEGMENT, as on Linux: one call for many datagrams. Once the first is sent, what becomes of the others is not
// told.
Status Udp::Impl::send_cut(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to,
                           const ip::Choices& choices, const ip::Route& route) {
  const std::size_t size = size_of(pieces);
  const std::size_t segment = choices.segment >= 0 ? static_cast<std::size_t>(choices.segment) : s.options.segment;
  if (segment == 0 || size <= segment) return send_along(s, pieces, to, choices, route);
  constexpr std::size_t kHeaders = 28;  // IP and UDP
  const std::uint32_t mtu = route.mtu_for(s.options.path_mtu);
  if (segment + kHeaders > mtu || size > segment * Port::kMaxSegments) return fail(Errno::kInvalid);
  if (pieces.size() > Cutter::kMostPieces) return fail(Errno::kMessageSize);
  Cutter cutter(pieces);
  Status first;
  ++holds;  // a device that can cut gets them as one frame
  for (std::size_t from = 0; from < size && first; from += segment) {
    const Status sent = send_along(s, cutter.next(segment), to, choices, route);
    if (from == 0) first = sent;
  }
  if (--holds == 0) send_train();
  return first;
}

Status Udp::Impl::send_along(Port::State& s, std::span<const Bytes> pieces, const Endpoint& to,
                             const ip::Choices& choices, const ip::Route& route) {
  if (route.cast == ip::Cast::kBroadcast && s.options.broadcast == Port::Options::Allow::kNo) {
    return fail(Errno::kAccess);
  }
  const std::size_t size = size_of(pieces);
  Way way{s.local.port, to.port, {}, route};
  ip::SendOptions& options = way.options;
  options = {.source = route.source, .destination = to.address, .protocol = ip::Protocol::kUdp};
  const bool multicast = route.cast == ip::Cast::kMulticast;
  if (multicast) options.ttl = s.options.multicast_ttl;
  if (!multicast && s.options.ttl != 0) options.ttl = s.options.ttl;
  if (choices.ttl != 0) options.ttl = choices.ttl;
  options.tos = choices.tos >= 0 ? static_cast<std::uint8_t>(choices.tos) : s.options.tos;  // (RFC1122-IP-15)
  options.path_mtu = s.options.path_mtu;
  options.to_members_here = s.options.multicast_loop == Port::Options::Allow::kYes;
  context.counters.add(Counter::kUdpSent);
  if (holds > 0 && Train::suits(way, size) && train.add(way, pieces, size)) return {};
  send_train();
  if (holds > 0 && Train::suits(way, size) && train.add(way, pieces, size)) return {};
  const Status sent = emit(way, pieces, size, 0);
  const bool too_big = !sent && sent.error() == Errno::kMessageSize;
  if (too_big && s.errors != nullptr)
    s.errors->push_too_big({to.address, s.peer.port}, route.mtu_for(options.path_mtu));
  return sent;
}

// One datagram, or with `each` > 0 a packet to be cut into datagrams of that payload.
Status Udp::Impl::emit(const Way& way, std::span<const Bytes> pieces, std::size_t size, std::uint16_t each) {
  buf::TxPacket packet;
  for (Bytes piece : pieces) {
    if (!packet.append(piece)) return fail(Errno::kMessageSize);
  }
  const auto length = static_cast<std::uint16_t>(size + wire::udp::kHeaderSize);
  const MutableBytes header = packet.prepend(wire::udp::kHeaderSize);
  const wire::udp::Header fields{way.source_port, way.destination_port, length};
  auto sum = wire::Checksum::pseudo_header(way.options.source, way.options.destination, kProtocol, length);
  if (each > 0 || (way.path.tx_checksum && size + 28 <= way.path.mtu_for(way.options.path_mtu))) {
    wire::udp::emit(header, fields, sum.sum());
    packet.offload = {.checksum = buf::ChecksumState::kPartial, .checksum_offset = wire::udp::kChecksumOffset};
  } else {
    wire::udp::emit(header, fields, 0);
    sum.add(header);
    for (Bytes piece : packet.payload()) sum.add(piece);
    wire::udp::emit(header, fields, wire::udp::checksum_field(sum));  // (RFC768-02)
  }
  if (each > 0) {
    packet.offload.gso = buf::GsoType::kUdp;
    packet.offload.gso_size = each;
  }
  return ip.send(packet, way.options, way.path);
}

// Whoever sent them was told that they were sent: an error now is a loss on the way.
void Udp::Impl::send_train() {
  if (train.empty()) return;
  const Bytes payload = train.payload();
  const bool several = train.count() > 1;
  if (several) context.counters.add(Counter::kUdpSentTogether, train.count());
  const Status sent = emit(train.way(), std::span(&payload, 1), payload.size(),
                           several ? static_cast<std::uint16_t>(train.size()) : std::uint16_t{0});
  if (!sent) context.drop(Drop::kIpNoRoute, payload);
  train.clear();
}

void Udp::on_batch_end() {
  impl_->send_train();
}

Hold::Hold(Udp& udp) : udp_(udp) {
  ++udp.impl_->holds;
}
Hold::~Hold() {
  if (--udp_.impl_->holds == 0) udp_.impl_->send_train();
}

// --- receiving
// ---------------------------------------------------------------------------------------------------------------

Result<ReceivedDatagram> Port::receive() {
  State& s = *state_;
  if (s.error != Errno::kOk) return fail(take_error());
  if (s.queue.empty()) return fail(Errno::kAgain);
  ReceivedDatagram r = s.queue.pop();
  s.queued = s.queue.empty() ? 0 : s.queued - std::min(s.queued, r.payload.capacity() + kOverhead);
  return r;
}

Result<std::size_t> Port::next_size() const {
  if (state_->queue.empty()) return fail(Errno::kAgain);
  return state_->queue.front().payload.size();
}

const ReceivedDatagram* Port::peek() const {
  return state_->queue.empty() ? nullptr : &state_->queue.front();
}

bool Port::readable() const {
  return !state_->queue.empty() || state_->error != Errno::kOk;
}
Errno Port::take_error() {
  return std::exchange(state_->error, Errno::kOk);
}
Errno Port::pending_error() const {
  return state_->error;
}
void Port::keep_errors(Keep what) {
  if (what == Keep::kNothing) return state_->errors.reset();
  if (state_->errors == nullptr) state_->errors = std::make_unique<ip::ErrorQueue>();
}
bool Port::keeps_errors() const {
  return state_->errors != nullptr;
}
bool Port::has_received_errors() const {
  return state_->errors != nullptr && !state_->errors->empty();
}
Result<ip::ReceivedError> Port::take_received_error() {
  return state_->errors != nullptr ? state_->errors->take(state_->error) : fail(Errno::kAgain);
}
Result<std::uint32_t> Port::path_mtu() {
  if (!state_->connected) return fail(Errno::kNotConnected);
  const auto route = state_->route_to(state_->peer.address, {});
  return route ? Result<std::uint32_t>(route->mtu) : fail(route.error());
}
Endpoint Port::local() const {
  return state_->local;
}
const Endpoint* Port::peer() const {
  return state_->connected ? &state_->peer : nullptr;
}
Port::Options& Port::options() {
  return state_->options;
}

}  // namespace sluice::udp
