#include "stack/tcp/listener.h"

#include <algorithm>

#include "stack/base/byte_order.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr std::uint32_t kFixedHeaders = 40;
constexpr std::uint16_t kMinPeerMss = 88;
constexpr std::uint32_t kLargestWindow = 0xffff;  // unscaled: of what may still be on its way
constexpr Duration kFirstRetry = 1_s;             // RFC 6298 §2.1
}  // namespace

Listener::Listener(Tcp::Impl& tcp, const Endpoint& local, PortSharing sharing, int backlog,
                   const ConnectionOptions& options, ListenerUser* user)
    : tcp_(tcp),
      context_(tcp.context),
      local_(local),
      sharing_(sharing),
      options_(options),
      user_(user),
      backlog_(0),
      timer_([](void* self) { static_cast<Listener*>(self)->on_timer(); }, this) {
  set_backlog(backlog);
  if (tcp.config.fast_open_all_listeners == Switch::kOn) set_fast_open_limit(static_cast<std::uint32_t>(backlog_));
}

Listener::~Listener() {
  while (oldest_ != nullptr) remove(*oldest_);
}

void Listener::set_backlog(int backlog) {
  backlog_ = static_cast<std::size_t>(std::clamp(backlog, 1, 65535));
}

Result<ConnectionHandle*> Listener::accept() {
  if (waiting_.empty()) return fail(Errno::kAgain);
  Connection* c = waiting_.front();
  waiting_.pop_front();
  c->forget_listener();
  return c;
}

void Listener::close() {
  for (Connection* c : waiting_) {
    c->forget_listener();
    c->reset_silently();
  }
  tcp_.ports.remove(*this);
  ++tcp_.releases;
  delete this;
}

void Listener::on_connection_gone(Connection& gone) {
  std::erase(waiting_, &gone);
}

// --- LISTEN (RFC 9293 §3.10.7.2)
// ------------------------------------------------------------------------------------------

void Listener::input(Arriving& s, const FourTuple& tuple, std::optional<Seq> used) {
  if (!tcp_.check_signature(s, tuple, key_for(tuple.peer.address))) return;
  const Flags flags = s.header.flags;
  if (flags.rst()) return context_.drop(Drop::kTcpState);  // (RFC9293-LIS-01)
  if (flags.ack()) return take_ack(s, tuple);
  if (!flags.syn() || flags.fin()) return context_.drop(Drop::kTcpState);  // (RFC9293-LIS-04); SYN+FIN makes no state
  if (accept_queue_full()) return context_.drop(Drop::kTcpAcceptQueueFull);
  if (tcp_.table_full()) return context_.drop(Drop::kTcpTableFull);
  take_syn(s, tuple, used);
}

// (RFC9293-LIS-03). Data on the SYN is not kept, but for Fast Open: it is not acknowledged and comes again
// (RFC9293-DATA-01).
void Listener::take_syn(Arriving& s, const FourTuple& tuple, std::optional<Seq> used) {
  const auto route = tcp_.ip.route(tuple.peer.address, tuple.local.address);
  if (!route) return context_.drop(Drop::kIpNoRoute);
  if (answer_with_cookie()) {
    HalfOpen half(tuple, *this);
    negotiate(s, *route, half);
    return send_cookie(half);
  }
  const EarlyData early = judge_fast_open(s, tuple);
  if (early.taken) {
    HalfOpen half(tuple, *this);
    negotiate(s, *route, half);
    half.handshake.iss = choose_iss(tuple, used);
    return open_early(s, half, *route, early.answer);
  }
  if (half_open_ >= tcp_.config.max_syn_queue) {  // a flood: the oldest has had its chance (RFC4987-04)
    context_.drop(Drop::kTcpSynQueueFull);
    remove(*oldest_);
  }
  auto* half = new HalfOpen(tuple, *this);
  negotiate(s, *route, *half);
  half->handshake.iss = choose_iss(tuple, used);
  keep(*half);
  send_syn_ack(*half, clock_of(*half), early.answer);
}

Seq Listener::choose_iss(const FourTuple& tuple, std::optional<Seq> used) const {
  const Seq iss = tcp_.isn.isn(tuple.local, tuple.peer, context_.now);
  if (used && iss <= *used + kLargestWindow)
    return *used + kLargestWindow + 1;  // beyond the last one's (RFC9293-MAY-2)
  return iss;
}

bool Listener::answer_with_cookie() {
  const SynCookieUse use = tcp_.config.syn_cookies;
  const bool full = half_open_ >= tcp_.config.max_syn_queue;
  if (use == SynCookieUse::kNever || (use == SynCookieUse::kWhenFull && !full)) return false;  // (RFC4987-03)
  context_.counters.add(Counter::kTcpSynCookiesSent);
  context_.emit({.kind = EventKind::kTcpSynCookie,
                 .a = local_.port,
                 .detail = full ? "sent: the SYN queue is full" : "sent: always, by configuration"});
  return true;
}

void Listener::negotiate(const Arriving& s, const ip::Route& route, HalfOpen& half) const {
  const TcpConfig& c = tcp_.config;
  Connection::Handshake& h = half.handshake;
  h.irs = s.seq;
  h.answered_at = context_.now;
  Negotiated& n = h.negotiated;
  n.peer_mss = s.options.has_mss ? std::max(s.options.mss, kMinPeerMss) : std::uint16_t{536};
  n.window_scaling = s.options.has_window_scale && c.window_scaling == Switch::kOn;
  if (n.window_scaling) {
    n.send_scale = std::min(s.options.window_scale, ReceiveWindow::kMaxScale);
    n.receive_scale = ReceiveWindow::scale_for(receive_range(options_, c).most);
  }
  n.sack = s.options.sack_permitted && c.sack == Switch::kOn;
  // Beside a signature and timestamps there is no room for a SACK block.
  const bool crowded = n.sack && key_for(half.tuple.peer.address) != nullptr;
  n.timestamps = s.options.has_timestamps && c.timestamps == Switch::kOn && !crowded;
  n.ecn = ecn_agreed(s.header, options_, c);
  h.syn_codepoint = s.ecn;
  h.ts_recent = s.options.timestamps.value;
  h.offered_window = first_window();
  half.peer_window = s.header.window;
  half.ts_offset = tcp_.isn.timestamp_offset(half.tuple.local, half.tuple.peer);
  std::uint32_t mss = route.link_mtu - kFixedHeaders;
  if (options_.max_segment != 0) mss = std::min(mss, options_.max_segment);
  half.our_mss = static_cast<std::uint16_t>(mss);
}

std::uint16_t Listener::first_window() const {
  const std::size_t buffer = receive_range(options_, tcp_.config).first;
  return static_cast<std::uint16_t>(std::min<std::size_t>({buffer, options_.window_clamp, 0xffff}));
}

void Listener::keep(HalfOpen& half) {
  half.next_retry = context_.now + kFirstRetry;
  half.older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = &half;
  newest_ = &half;
  ++half_open_;
  tcp_.list(half);
  arm(half.next_retry);
}

// --- SYN cookies (RFC 4987 §3.6)

// `half` is forgotten after this.
void Listener::send_cookie(HalfOpen& half) {
  Connection::Handshake& h = half.handshake;
  if (!h.negotiated.timestamps) {  // no place for what the peer offers
    h.negotiated.window_scaling = h.negotiated.sack = false;
    h.negotiated.ecn = EcnMode::kNone;
    h.negotiated.send_scale = h.negotiated.receive_scale = 0;
  }
  if (h.negotiated.ecn == EcnMode::kAccurate) h.negotiated.ecn = EcnMode::kClassic;  // one bit is all there is for it
  h.iss = tcp_.cookies.make(half.tuple, h.irs, h.negotiated.peer_mss, context_.now);
  last_cookie_at_ = context_.now;
  send_syn_ack(half, put_in_timestamp(clock_of(half), h.negotiated));
}

// Of a handshake that nobody remembers. It can be one of ours only while cookies are about.
void Listener::take_ack(Arriving& s, const FourTuple& tuple) {
  const bool expected = !s.header.flags.syn() && context_.now - last_cookie_at_ < SynCookies::kLifetime;
  const auto mss = expected ? tcp_.cookies.check(tuple, s.seq - 1, s.ack - 1, context_.now) : std::nullopt;
  if (!mss) {
    if (expected) context_.drop(Drop::kTcpCookie);
    return tcp_.refuse(s, tuple, key_for(tuple.peer.address));  // (RFC9293-LIS-02)
  }
  if (accept_queue_full()) return context_.drop(Drop::kTcpAcceptQueueFull);
  if (tcp_.table_full()) return context_.drop(Drop::kTcpTableFull);
  Connection::Handshake h{.iss = s.ack - 1, .irs = s.seq - 1, .negotiated = {}};
  Negotiated& n = h.negotiated;
  n.peer_mss = *mss;
  n.timestamps = s.options.has_timestamps && tcp_.config.timestamps == Switch::kOn;
  if (n.timestamps) take_from_echo(s.options.timestamps.echo, n);
  if (n.window_scaling) n.receive_scale = ReceiveWindow::scale_for(receive_range(options_, tcp_.config).most);
  h.ts_recent = s.options.timestamps.value;
  h.offered_window = first_window();
  s.options.timestamps.echo = 0;  // no clock: it gives no round-trip time
  context_.counters.add(Counter::kTcpSynCookiesTaken);
  context_.emit({.kind = EventKind::kTcpSynCookie, .a = local_.port, .detail = "accepted"});
  complete(tuple, h, s);
}

void Listener::remove(HalfOpen& half) {
  (half.older != nullptr ? half.older->newer : oldest_) = half.newer;
  (half.newer != nullptr ? half.newer->older : newest_) = half.older;
  --half_open_;
  tcp_.unlist(half);
  delete &half;
}

void Listener::send_from(const HalfOpen& half, const wire::tcp::Header& header, const wire::tcp::Options& options) {
  tcp_.send_bare(half.tuple, header, options,
                 {.ttl = options_.ttl, .tos = options_.tos, .key = key_for(half.tuple.peer.address)});
}

std::uint32_t Listener::clock_of(const HalfOpen& half) const {
  return static_cast<std::uint32_t>(context_.now.to_nanos() / 1'000'000) + half.ts_offset;
}

// What it says about Fast Open it says once (RFC7413-07).
void Listener::send_syn_ack(const HalfOpen& half, std::uint32_t clock, const FastOpenOption& fast_open) {
  const Connection::Handshake& h = half.handshake;
  wire::tcp::Options o;
  o.has_mss = true;
  o.mss = half.our_mss;
  o.has_window_scale = h.negotiated.window_scaling;
  o.window_scale = h.negotiated.receive_scale;
  o.has_timestamps = h.negotiated.timestamps;
  o.sack_permitted = h.negotiated.sack;
  o.timestamps = {clock, h.ts_recent};
  o.fast_open = fast_open;
  wire::tcp::Header header{.src_port = half.tuple.local.port,
                           .dst_port = half.tuple.peer.port,
                           .seq = h.iss.value(),
                           .ack = (h.irs + 1).value(),
                           .flags = Flags(Flags::kSyn | Flags::kAck),
                           .window = static_cast<std::uint16_t>(h.offered_window)};
  wire::tcp::set_ace(header, ecn_answer(h.negotiated.ecn, h.syn_codepoint));
  send_from(half, header, o);
}

// --- SYN-RECEIVED of a passive open
// ---------------------------------------------------------------------------------------

void Listener::challenge(HalfOpen& half) {
  if (half.challenges >= tcp_.config.challenge_acks) return;
  ++half.challenges;
  context_.counters.add(Counter::kTcpChallengeAcks);
  const Connection::Handshake& h = half.handshake;
  wire::tcp::Options o;
  o.has_timestamps = h.negotiated.timestamps;
  o.timestamps = {clock_of(half), h.ts_recent};
  send_from(half,
            {.src_port = half.tuple.local.port,
             .dst_port = half.tuple.peer.port,
             .seq = (h.iss + 1).value(),
             .ack = (h.irs + 1).value(),
             .flags = Flags(Flags::kAck),
             .window = static_cast<std::uint16_t>(h.offered_window >> h.negotiated.receive_scale)},
            o);
}

// The steps before the ACK, as in segment_input.cc; false when the segment is done with.
bool Listener::half_open_acceptable(HalfOpen& half, const Arriving& s) {
  const Connection::Handshake& h = half.handshake;
  const Flags flags = s.header.flags;
  if (flags.syn() && !flags.ack() && s.seq == h.irs) {  // the SYN again: our answer was lost
    send_syn_ack(half);
    return false;
  }
  const bool stale = h.negotiated.timestamps && s.options.has_timestamps && !flags.rst() &&
                     static_cast<std::int32_t>(s.options.timestamps.value - h.ts_recent) < 0;
  if (stale || !tcp::acceptable(s.seq, s.length(), h.irs + 1, h.offered_window)) {
    context_.drop(stale ? Drop::kTcpPaws : Drop::kTcpSequence);
    if (!flags.rst()) challenge(half);
    return false;
  }
  if (flags.rst()) {
    if (s.seq != h.irs + 1) return challenge(half), context_.drop(Drop::kTcpRst), false;
    context_.counters.add(Counter::kTcpResetsReceived);
    remove(half);  // quietly back to LISTEN (RFC9293-SYNR-01)
    return false;
  }
  if (flags.syn()) {  // back to LISTEN: whoever sends it begins anew (RFC9293-SYNR-03)
    context_.drop(Drop::kTcpSyn);
    remove(half);
    return false;
  }
  if (!flags.ack()) return context_.drop(Drop::kTcpNoAck), false;
  if (s.ack != h.iss + 1) {  // (RFC9293-SYNR-02)
    context_.drop(Drop::kTcpAck);
    tcp_.refuse(s, half.tuple, key_for(half.tuple.peer.address));
    return false;
  }
  const bool required = h.negotiated.timestamps && tcp_.config.require_timestamps == Switch::kOn;
  if (required && !s.options.has_timestamps) return context_.drop(Drop::kTcpNoTimestamp), false;
  return true;
}

void Listener::input_half_open(HalfOpen& half, Arriving& s) {
  if (!tcp_.check_signature(s, half.tuple, key_for(half.tuple.peer.address))) return;
  if (!half_open_acceptable(half, s)) return;
  if (half.retries < options_.defer_accept && s.length() == 0) {
    half.acknowledged = true;
    return context_.drop(Drop::kTcpDeferred);
  }
  // No place to put it: the SYN-ACK is sent again later, and the client's data with it (as Linux).
  if (accept_queue_full()) return context_.drop(Drop::kTcpAcceptQueueFull);
  const FourTuple tuple = half.tuple;
  const Connection::Handshake handshake = half.handshake;
  remove(half);
  complete(tuple, handshake, s);
}

void Listener::complete(const FourTuple& tuple, const Connection::Handshake& handshake, Arriving& s) {
  const auto route = tcp_.ip.route(tuple.peer.address, tuple.local.address);
  if (!route) return context_.drop(Drop::kIpNoRoute);
  Connection* c = tcp_.make_connection(tuple, *route, options_);
  wait_for_accept(*c);
  c->open_passive(handshake, this);
  c->input(s);
  if (user_ != nullptr && acceptable()) user_->on_tcp_acceptable();
}

void Listener::wait_for_accept(Connection& c) {
  context_.counters.add(Counter::kTcpPassiveOpens);
  waiting_.push_back(&c);
}

// A router says that there is nobody to whom we sent a SYN-ACK, as in a flood with invented sources: forgotten, as on
// Linux. Whoever is real sends the SYN again. Other errors are hints (RFC 5927 §5.2).
void Listener::on_icmp_error(HalfOpen& half, const ip::IcmpError& e) {
  const bool of_syn_ack = load_be32(e.quoted.data() + 4) == half.handshake.iss.value();
  const bool nobody = e.kind == ip::ErrorKind::kNetUnreachable || e.kind == ip::ErrorKind::kHostUnreachable;
  if (!of_syn_ack) return context_.drop(Drop::kIcmpQuote);
  if (!nobody || e.reporter == e.source) return context_.drop(Drop::kIcmpIgnored);
  remove(half);
}

void Listener::arm(Instant at) {
  if (at < timer_.deadline()) context_.timers.schedule(timer_, at);
}

void Listener::on_timer() {
  Instant soonest = Instant::never();
  for (HalfOpen* h = oldest_; h != nullptr;) {
    HalfOpen* newer = h->newer;
    if (h->next_retry <= context_.now)
      retry(*h);
    else
      soonest = std::min(soonest, h->next_retry);
    h = newer;
  }
  arm(soonest);
}

// The SYN-ACK again, a few times (RFC6298-18), then the half-open connection is forgotten. One that is acknowledged and
// waits for data is not answered again, but at the end of that time: then the ACK for it is enough.
void Listener::retry(HalfOpen& half) {
  const std::uint8_t limit = options_.syn_count != 0 ? options_.syn_count : kRetries;
  const bool defers = half.acknowledged && half.retries < options_.defer_accept;
  if (half.retries >= limit && !defers) return remove(half);
  ++half.retries;
  half.next_retry = context_.now + std::min(kFirstRetry * (std::int64_t{1} << half.retries), tcp_.config.max_rto);
  arm(half.next_retry);
  if (half.acknowledged && half.retries < options_.defer_accept) return;
  ++half.handshake.syn_repeats;
  context_.counters.add(Counter::kTcpRetransmits);
  send_syn_ack(half);
}

}  // namespace sluice::tcp
