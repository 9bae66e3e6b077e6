// Demultiplexing, opens, ports, TIME-WAIT, and who is freed when.
#include "stack/tcp/tcp.h"

#include <memory>
#include <utility>
#include <vector>

#include "stack/base/byte_order.h"
#include "stack/tcp/impl.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

using wire::tcp::Flags;

Tcp::Impl::Impl(Tcp& t, Context& c, ip::Ip& i, buf::Pool& p, const TcpConfig& cfg)
    : tcp(t),
      context(c),
      ip(i),
      pool(p),
      config(cfg),
      rto_bounds{cfg.initial_rto, cfg.min_rto, cfg.max_rto, cfg.rto_margin},
      isn(c.rng),
      cookies(c.rng),
      fast_open_secret(c),
      fast_open_cache(c),
      flows(c.rng),
      time_wait_timer([](void* self) { static_cast<Impl*>(self)->on_time_wait_timer(); }, this),
      reaper([](void* self) { static_cast<Impl*>(self)->reap(); }, this) {}

Tcp::Impl::~Impl() {
  free_retired();
  std::vector<Connection*> connections;
  std::vector<TimeWait*> records;
  flows.for_each([&](Flow& f) {
    if (f.kind == FlowKind::kConnection) connections.push_back(static_cast<Connection*>(&f));
    if (f.kind == FlowKind::kTimeWait) records.push_back(static_cast<TimeWait*>(&f));
  });
  while (Listener* l = ports.any_listener()) {
    ports.remove(*l);
    delete l;
  }
  for (Connection* c : connections) delete c;
  for (TimeWait* t : records) delete t;
}

Tcp::Tcp(Context& context, ip::Ip& ip, buf::Pool& pool, const TcpConfig& config)
    : impl_(new Impl(*this, context, ip, pool, config)) {
  ip.register_transport(ip::Protocol::kTcp, *this);
}
Tcp::~Tcp() {
  delete impl_;
}

// --- demultiplexing
// -------------------------------------------------------------------------------------------------------

void Tcp::on_datagram(ip::Datagram datagram) {
  impl_->on_segment(std::move(datagram));
}

void Tcp::Impl::on_segment(ip::Datagram d) {
  context.counters.add(Counter::kTcpSegmentsReceived);  // IP options end in the layer below (RFC9293-MUST-50)
  if (d.cast != ip::Cast::kUnicast) return context.drop(Drop::kTcpCast, d.packet);  // (RFC9293-MUST-57)
  const bool trusted = d.checksum != buf::ChecksumState::kAbsent;  // partial: from this machine, never on a wire
  const auto parsed = wire::tcp::parse(d.buffer.bytes(), d.source, d.destination,
                                       trusted ? wire::ChecksumPolicy::kTrust : wire::ChecksumPolicy::kVerify);
  if (!parsed) return context.drop(parsed.error(), d.packet);
  Arriving s;
  s.bytes = d.buffer.bytes();
  s.header = parsed->header;
  s.options = wire::tcp::parse_options(parsed->options);
  // A malformed option does not reset; what stands before it counts (RFC9293-MUST-7).
  if (s.options.malformed) context.counters.add(Drop::kTcpOptions);
  s.seq = Seq(s.header.seq);
  s.ack = Seq(s.header.ack);
  s.gso_size = d.gso_size;
  s.ecn = d.tos & kEcnMask;
  const FourTuple tuple{{d.destination, s.header.dst_port}, {d.source, s.header.src_port}};
  d.buffer.trim_front(d.buffer.size() - parsed->payload.size());
  s.payload = std::move(d.buffer);
  Flow* flow = flows.find(tuple);
  if (flow == nullptr) return no_flow(s, tuple, d.packet);
  const bool may_fail = flow->has_key || s.options.md5_at != 0;
  if (may_fail && flow->kind != FlowKind::kHalfOpen && !check_signature(s, tuple, key_of(*flow))) return;
  switch (flow->kind) {
    case FlowKind::kConnection: {
      auto* c = static_cast<Connection*>(flow);
      c->input(s);
      return c->check_invariants();
    }
    case FlowKind::kHalfOpen: {
      auto* h = static_cast<HalfOpen*>(flow);
      return h->listener.input_half_open(*h, s);
    }
    case FlowKind::kTimeWait:
      return time_wait_input(*static_cast<TimeWait*>(flow), s);
  }
}

void Tcp::Impl::no_flow(Arriving& s, const FourTuple& tuple, Bytes packet) {
  if (Listener* l = find_listener(tuple); l != nullptr) return l->input(s, tuple);
  context.drop(Drop::kTcpNoPort, packet);
  if (s.options.md5_at == 0) refuse(s, tuple, nullptr);  // else the peer would not believe it
}

const Md5Key* Tcp::Impl::key_of(const Flow& flow) const {
  if (!flow.has_key) return nullptr;
  if (flow.kind == FlowKind::kConnection) return static_cast<const Connection&>(flow).md5_key();
  return time_wait_keys.at(static_cast<const TimeWait*>(&flow))->find(flow.tuple.peer.address);
}

// RFC 2385 §2.0, §4.1: nothing answers what is dropped here.
bool Tcp::Impl::check_signature(const Arriving& s, const FourTuple& tuple, const Md5Key* key) {
  const std::uint8_t at = s.options.md5_at;
  if (key == nullptr) return at == 0 || (context.drop(Drop::kTcpSigned, s.bytes), false);
  if (at == 0) return context.drop(Drop::kTcpUnsigned, s.bytes), false;
  const std::size_t header = s.bytes.size() - s.payload.size();
  const Bytes payload = s.payload.bytes();
  const Md5::Digest right = sign(tuple.peer.address, tuple.local.address, s.bytes.first(header), {&payload, 1}, *key);
  const Bytes shown = s.bytes.subspan(wire::tcp::kHeaderSize + at, right.size());
  std::uint8_t differs = 0;
  for (std::size_t i = 0; i < right.size(); ++i) differs |= static_cast<std::uint8_t>(right[i] ^ shown[i]);
  return differs == 0 || (context.drop(Drop::kTcpSignature, s.bytes), false);
}

// RFC 9293 §3.10.7.1 (RFC9293-RST-01, -RST-02).
void Tcp::Impl::refuse(const Arriving& s, const FourTuple& tuple, const Md5Key* key) {
  if (s.header.flags.rst()) return;
  wire::tcp::Header h{.src_port = tuple.local.port, .dst_port = tuple.peer.port, .flags = {}};
  if (s.header.flags.ack()) {
    h.seq = s.ack.value();
    h.flags = Flags(Flags::kRst);
  } else {
    h.ack = (s.seq + s.length()).value();
    h.flags = Flags(Flags::kRst | Flags::kAck);
  }
  context.counters.add(Counter::kTcpResetsSent);
  send_bare(tuple, h, {}, {.key = key});
}

Listener* Tcp::Impl::find_listener(const FourTuple& tuple) const {
  return ports.listener_for(tuple.local, ports.shared(tuple.local.port) ? flows.hash_of(tuple) : 0);
}

void Tcp::Impl::send_bare(const FourTuple& tuple, const wire::tcp::Header& header, const wire::tcp::Options& options,
                          const Manner& manner) {
  const auto route = ip.route(tuple.peer.address, tuple.local.address);
  if (!route) return context.drop(Drop::kIpNoRoute);
  wire::tcp::Options all = options;
  if (manner.key != nullptr) all.md5_at = wire::tcp::Options::kMd5At;
  buf::TxPacket packet;
  const MutableBytes room = packet.prepend(wire::tcp::kHeaderSize + wire::tcp::options_size(all));
  wire::tcp::emit(room, header, all);
  if (manner.key != nullptr) {
    wire::tcp::store_md5(room, sign(tuple.local.address, tuple.peer.address, room, {}, *manner.key));
  }
  auto sum = wire::Checksum::pseudo_header(tuple.local.address, tuple.peer.address, 6, room.size());
  wire::tcp::store_checksum(room, sum.add(room).finish());
  ip::SendOptions o{.source = tuple.local.address, .destination = tuple.peer.address, .protocol = ip::Protocol::kTcp};
  if (manner.ttl != 0) o.ttl = manner.ttl;
  o.tos = manner.tos;
  context.counters.add(Counter::kTcpSegmentsSent);
  (void)ip.send(packet, o, *route);
}

void Tcp::on_batch_end() {
  impl_->flush_connections();
}

void Tcp::Impl::flush_connections() {
  std::vector<Connection*> now = std::exchange(to_flush, std::move(flushed));
  for (Connection* c : now) {
    c->flush_listed = false;
    c->flush();
  }
  now.clear();
  flushed = std::move(now);
}

void Tcp::Impl::list_for_flush(Connection& c) {
  if (!std::exchange(c.flush_listed, true)) to_flush.push_back(&c);
}

void Tcp::on_icmp_error(const ip::IcmpError& e) {
  if (e.quoted.size() < 8) return;
  const FourTuple tuple{{e.source, load_be16(e.quoted.data())}, {e.destination, load_be16(e.quoted.data() + 2)}};
  Flow* flow = impl_->flows.find(tuple);
  if (flow == nullptr || flow->kind == FlowKind::kTimeWait) return impl_->context.drop(Drop::kIcmpQuote);
  if (flow->kind == FlowKind::kConnection)
    return static_cast<Connection*>(flow)->on_icmp_error(e);  // (RFC9293-MUST-54)
  auto* half = static_cast<HalfOpen*>(flow);
  half->listener.on_icmp_error(*half, e);
}

// --- TIME-WAIT
// --------------------------------------------------------------------------------------------------------------

void Tcp::Impl::replace_by_time_wait(Connection& connection, TimeWait& record) {
  flows.remove(connection);
  flows.insert(record);
  record.counted = std::exchange(connection.counted, false);
  record.has_key = connection.has_key;
  if (record.has_key) time_wait_keys[&record] = connection.options().md5_keys;
  start_time_wait(record);
}

void Tcp::Impl::start_time_wait(TimeWait& t) {
  t.expires = context.now + config.msl * 2;
  t.newer = nullptr;
  t.older = newest_time_wait;
  (newest_time_wait != nullptr ? newest_time_wait->newer : oldest_time_wait) = &t;
  newest_time_wait = &t;
  if (!time_wait_timer.armed()) context.timers.schedule(time_wait_timer, t.expires);
}

void Tcp::Impl::stop_time_wait(TimeWait& t) {
  (t.older != nullptr ? t.older->newer : oldest_time_wait) = t.newer;
  (t.newer != nullptr ? t.newer->older : newest_time_wait) = t.older;
}

void Tcp::Impl::remove_time_wait(TimeWait& t) {
  stop_time_wait(t);
  unlist(t);
  if (t.has_key) time_wait_keys.erase(&t);
  delete &t;
}

void Tcp::Impl::forget_time_wait(const Connection& connection) {
  Flow* flow = flows.find(connection.tuple);
  if (flow == nullptr || flow->kind != FlowKind::kTimeWait) return;
  auto* record = static_cast<TimeWait*>(flow);
  if (connection.info().snd_nxt == record->snd_nxt.value()) remove_time_wait(*record);
}

void Tcp::Impl::on_time_wait_timer() {  // (RFC9293-TMO-03)
  while (oldest_time_wait != nullptr && oldest_time_wait->expires <= context.now) remove_time_wait(*oldest_time_wait);
  if (oldest_time_wait != nullptr) context.timers.schedule(time_wait_timer, oldest_time_wait->expires);
}

void Tcp::Impl::time_wait_input(TimeWait& t, Arriving& s) {
  const TimeWaitVerdict verdict = judge(t, s);
  if (verdict == TimeWaitVerdict::kIgnore) return context.drop(Drop::kTcpState);
  if (verdict == TimeWaitVerdict::kReopen) {
    const FourTuple tuple = t.tuple;
    const Seq used = t.snd_nxt;
    Listener* l = find_listener(tuple);
    if (l == nullptr) refuse(s, tuple, key_of(t));
    remove_time_wait(t);
    if (l != nullptr) l->input(s, tuple, used);
    return;
  }
  if (verdict == TimeWaitVerdict::kAck) {  // (RFC5961-10)
    if (t.challenges >= config.challenge_acks) return context.drop(Drop::kTcpState);
    ++t.challenges;
    context.counters.add(Counter::kTcpChallengeAcks);
  }
  const FourTuple tuple = t.tuple;
  wire::tcp::Options o;
  o.has_timestamps = t.timestamps;
  o.timestamps = {static_cast<std::uint32_t>(context.now.to_nanos() / 1'000'000) + t.ts_offset, t.ts_recent};
  send_bare(tuple,
            {.src_port = tuple.local.port,
             .dst_port = tuple.peer.port,
             .seq = t.snd_nxt.value(),
             .ack = t.rcv_nxt.value(),
             .flags = Flags(Flags::kAck),
             .window = t.window},
            o, {.key = key_of(t)});
  if (verdict != TimeWaitVerdict::kRestart) return;
  stop_time_wait(t);
  t.challenges = 0;
  start_time_wait(t);
}

// --- life and death
// -----------------------------------------------------------------------------------------------------------

Connection* Tcp::Impl::make_connection(const FourTuple& tuple, const ip::Route& route,
                                       const ConnectionOptions& options) {
  auto* c = new Connection(*this, tuple, route, options, next_number);
  if (++next_number == 0) next_number = 1;
  list(*c);
  return c;
}

void Tcp::Impl::list(Flow& flow) {
  flows.insert(flow);
  ports.count(flow);
}

void Tcp::Impl::unlist(Flow& flow) {
  if (!flow.listed) return;
  flows.remove(flow);
  ports.discount(flow);
  ++releases;
}

// Somebody may still be inside one of its methods: it is freed by a timer that is due at once.
void Tcp::Impl::retire(Connection& c) {
  if (std::exchange(c.retired, true)) return;
  graveyard.push_back(&c);
  if (!reaper.armed()) context.timers.schedule(reaper, context.now);
}

void Tcp::Impl::reap() {
  flush_connections();  // what is freed shall be on no list
  free_retired();
}

void Tcp::Impl::free_retired() {
  while (!graveyard.empty()) {
    const Connection* c = graveyard.back();
    graveyard.pop_back();
    delete c;
  }
}

// --- the user's calls
// -----------------------------------------------------------------------------------------------------------

Result<ConnectionHandle*> Tcp::connect(const Endpoint& local, const Endpoint& peer, const ConnectionOptions& options,
                                       ConnectionUser* user, Opening opening) {
  Impl& im = *impl_;
  if (peer.port == 0 || peer.address.is_any()) return fail(Errno::kInvalid);  // (RFC9293-OPEN-01)
  if (im.table_full()) return fail(Errno::kNoBuffers);                        // (RFC9293-OPEN-03)
  const auto route = im.ip.route(peer.address, local.address);                // (RFC9293-MUST-43, -44)
  if (!route) return fail(route.error());
  if (route->cast != ip::Cast::kUnicast) return fail(Errno::kNetworkUnreachable);  // (RFC9293-MUST-46)
  FourTuple tuple{{route->source, local.port}, peer};
  if (local.port == 0) {
    const auto port = im.ephemeral_port(tuple.local, peer);
    if (!port) return fail(port.error());
    tuple.local.port = *port;
  }
  if (Flow* old = im.flows.find(tuple); old != nullptr) {
    if (old->kind != FlowKind::kTimeWait) return fail(Errno::kAddressInUse);
    return fail(Errno::kAddressNotAvailable);
  }
  Connection* c = im.make_connection(tuple, *route, options);
  im.context.counters.add(Counter::kTcpActiveOpens);
  c->set_user(user);
  c->open_active(im.isn.isn(tuple.local, peer, im.context.now), opening);
  return c;
}

// Only another listener is in the way, not a connection on the port, in whatever state (RFC9293-MUST-41, -42).
Result<ListenerHandle*> Tcp::listen(const Endpoint& local, PortSharing sharing, int backlog,
                                    const ConnectionOptions& options, ListenerUser* user) {
  auto l = std::make_unique<Listener>(*impl_, local, sharing, backlog, options, user);
  if (const Status added = impl_->ports.add(*l); !added) return fail(added.error());
  return l.release();
}

// --- ports
// ------------------------------------------------------------------------------------------------------------------------

// Random start (RFC6056-03), then the next that is free for this peer: the 4-tuple is new (RFC6056-04) and nobody
// listens there (RFC6056-01). Whoever has found none is told so at once until something has become free.
Result<std::uint16_t> Tcp::Impl::ephemeral_port(const Endpoint& local, const Endpoint& peer) {
  if (exhausted.releases == releases && exhausted.local == local && exhausted.peer == peer) {
    return fail(Errno::kAddressNotAvailable);
  }
  const std::uint32_t range = config.port_last - config.port_first + 1u;
  const std::uint32_t start = context.rng.below(range);
  for (std::uint32_t i = 0; i < range; ++i) {
    const auto port = static_cast<std::uint16_t>(config.port_first + (start + i) % range);
    const Endpoint candidate{local.address, port};
    if (!ports.occupied(candidate, {}) && flows.find({candidate, peer}) == nullptr) return port;
  }
  exhausted = {local, peer, releases};
  return fail(Errno::kAddressNotAvailable);
}

Result<Endpoint> Tcp::claim_port(const Endpoint& local, PortSharing sharing) {
  Impl& im = *impl_;
  if (!local.address.is_any() && !im.ip.is_local(local.address)) return fail(Errno::kAddressNotAvailable);
  Endpoint wanted = local;
  if (wanted.port == 0) {
    const auto port = im.ephemeral_port(local, {});
    if (!port) return fail(Errno::kAddressInUse);
    wanted.port = *port;
  } else if (im.ports.occupied(wanted, sharing)) {
    return fail(Errno::kAddressInUse);
  }
  im.ports.claim(wanted, sharing);
  return wanted;
}

void Tcp::release_port(const Endpoint& local, PortSharing sharing) {
  impl_->ports.release(local, sharing);
  ++impl_->releases;
}

const TcpConfig& Tcp::config() const {
  return impl_->config;
}
void Tcp::set_config(const TcpConfig& config) {
  impl_->config = config;
}
void Tcp::forget_fast_open() {
  impl_->fast_open_cache.clear();
}

void Tcp::visit_connections(Visitor visit, void* arg) const {
  impl_->flows.for_each([&](Flow& f) {
    Info info;
    switch (f.kind) {
      case FlowKind::kConnection:
        info = static_cast<Connection&>(f).info();
        break;
      case FlowKind::kHalfOpen: {
        const Connection::Handshake& h = static_cast<HalfOpen&>(f).handshake;
        info.state = State::kSynReceived;
        info.snd_una = h.iss.value();
        info.snd_nxt = (h.iss + 1).value();
        info.rcv_nxt = (h.irs + 1).value();
        break;
      }
      case FlowKind::kTimeWait:
        info.state = State::kTimeWait;
        info.snd_una = info.snd_nxt = static_cast<TimeWait&>(f).snd_nxt.value();
        info.rcv_nxt = static_cast<TimeWait&>(f).rcv_nxt.value();
        break;
    }
    visit(arg, f.tuple.local, f.tuple.peer, info);
  });
  struct Way {
    Visitor visit;
    void* arg;
  } way{visit, arg};
  impl_->ports.visit_listeners(
      [](void* to, const Listener& l) {
        Info info;
        info.state = State::kListen;
        info.receive_queued = l.waiting();
        info.send_queued = l.backlog();
        static_cast<Way*>(to)->visit(static_cast<Way*>(to)->arg, l.local(), Endpoint(), info);
      },
      &way);
}

}  // namespace sluice::tcp
