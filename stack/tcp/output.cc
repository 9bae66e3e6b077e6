// Sending: RFC 9293 §3.7.4 (Nagle), §3.8.6 (windows, silly-window avoidance), RFC 5681 §3.1, RFC 3042.
#include <algorithm>
#include <cassert>
#include <utility>

#include "stack/tcp/connection.h"
#include "stack/tcp/fast_open_io.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr std::uint32_t kFixedHeaders = 40;  // IPv4 and TCP without options
constexpr std::uint32_t kTimestampBytes = 12;
constexpr std::uint32_t kSignatureBytes = wire::tcp::Options::kMd5At + wire::tcp::Options::kMd5Size;
constexpr std::size_t kSackHead = 4;  // the option's padding, kind and length
constexpr std::size_t kSackBlock = 8;
constexpr Duration kOverride = 200_ms;  // RFC 9293 §3.8.6.2.1: 0.1 to 1 s (RFC9293-SWS-01)
constexpr int kMaxSegmentsAtOnce = 64;  // super-segments sent in one call: bounds the work
}  // namespace

// --- sizes
// ------------------------------------------------------------------------------------------------------------

// Of a segment with data, IP's too.
std::uint32_t Connection::header_bytes() const {
  return kFixedHeaders + (negotiated_.timestamps ? kTimestampBytes : 0) + (has_key ? kSignatureBytes : 0);
}

// min(what the peer takes, what the path is known to carry): IP packets, bytes.
std::uint32_t Connection::largest_packet() const {
  std::uint32_t mss = std::min<std::uint32_t>(negotiated_.peer_mss, route_.mtu - kFixedHeaders);
  if (options_->max_segment != 0) mss = std::min(mss, options_->max_segment);
  return mss + kFixedHeaders;
}

// That, or what probes have shown, less option bytes (RFC9293-MUST-16): a full segment (RFC9293-SHLD-28).
void Connection::update_mss() {
  std::uint32_t packet = largest_packet();
  if (rare_ != nullptr && rare_->mtu_search.on()) {
    rare_->mtu_search.set_limit(packet);
    packet = rare_->mtu_search.effective();
  }
  const std::uint32_t mss = packet - header_bytes();
  if (mss == send_mss_) return;
  send_mss_ = mss;
  full_size_arrived_ = false;
  if (cc_ != nullptr) cc_->on_mss_change(mss);
}

void Connection::follow_route() {
  if (route_.generation != tcp_.ip.route_generation()) refresh_route();
}

void Connection::refresh_route() {
  const auto route = tcp_.ip.route(tuple.peer.address, tuple.local.address);
  if (!route) {  // it may come back; until then retransmission goes nowhere, also not over the old one
    route_.interface = ip::kNoInterface;
    return;
  }
  const std::uint32_t before = largest_packet();
  const std::uint32_t link_before = route_.link_mtu;
  route_ = *route;
  follow_path_mtu(before, link_before);
  update_mss();  // larger or smaller, nothing is sent again for that alone (RFC1191-07)
}

std::uint32_t Connection::unsent() const {
  return snd_nxt_ < data_end() ? data_end() - snd_nxt_ : 0;
}

// In recovery it is what PRR or, without SACK, inflation allows (RFC5681-30), unless the controller wants to rule there
// too.
std::uint32_t Connection::congestion_window() const {
  if (!recovery_.window_falls() || cc_->rules_recovery()) return cc_->cwnd();
  if (!negotiated_.sack) return recovery_.active() ? rare_view().recovery_window.window() : cc_->cwnd();
  return tcp_.config.prr == Switch::kOn && out_ != nullptr ? out_->prr.window() : cc_->cwnd();  // (RFC8985-26)
}

// min(cwnd, rwnd) from snd_una (RFC5681-01, -03; RFC7323-13), with a segment more for each of the first two duplicate
// ACKs while cwnd stays (RFC 3042, RFC5681-24). A window that shrank leaves nothing (RFC9293-MUST-34, -SHLD-15).
std::uint32_t Connection::usable_window() const {
  const std::uint32_t sent = snd_nxt_ - snd_una_;
  if (negotiated_.sack && out_ != nullptr) {
    std::uint32_t room = std::min(congestion_room(), sent < snd_wnd_ ? snd_wnd_ - sent : 0);
    if (out_->frto != Frto::kOff) {  // two segments at most beyond what the timeout is about (RFC5682-03)
      const Seq most = recovery_.point() + (out_->frto == Frto::kSecondAck ? 2 * send_mss_ : 0);
      room = std::min(room, snd_nxt_ < most ? most - snd_nxt_ : 0);
    }
    return room;
  }
  std::uint32_t congestion = congestion_window();
  if (!recovery_.active() && tcp_.config.limited_transmit == Switch::kOn) {
    congestion += static_cast<std::uint32_t>(std::min(recovery_.duplicates(), 2)) * send_mss_;
  }
  const std::uint32_t window = std::min(congestion, snd_wnd_);
  return sent < window ? window - sent : 0;
}

// RFC 9293 §3.8.6.2.1 (RFC9293-MUST-38) with Nagle's rule (RFC9293-SHLD-7): a full segment; or all there is, if it may
// go alone; or half of the largest window the peer ever offered.
bool Connection::worth_sending(std::uint32_t size, std::uint32_t available) const {
  if (size >= send_mss_) return true;
  if (size == 0) return false;
  const bool all = size == available;
  if (all && (fin_queued_ || rare_view().urgent_pointer.on())) return true;
  const bool full_ones_out =
      tcp_.config.minshall == Switch::kOn && out_ != nullptr && out_->short_end <= snd_una_ && snd_nxt_ == snd_max_;
  const bool alone = snd_nxt_ == snd_una_ || options_->no_delay == Switch::kOn || full_ones_out;
  if (all && alone && !held_ && options_->cork == Switch::kOff) return true;  // else it is kept (RFC9293-MAY-16)
  if (snd_nxt_ < snd_max_) return true;                                       // sent before: Nagle was asked then
  return size >= max_snd_wnd_ / 2 && options_->cork == Switch::kOff;
}

Connection::Plan Connection::plan_next() const {
  const std::uint32_t available = unsent();
  const std::uint32_t limit = std::min(available, usable_window());
  Plan plan;
  const std::uint32_t piece = until_boundary(snd_nxt_);
  plan.size = std::min({limit, most_at_once(), piece});
  const bool whole_piece = plan.size == piece;  // nothing can be added to it
  // A short end that must wait, or that is not the end, is left for later.
  if (plan.size > send_mss_ && !whole_piece &&
      !(plan.size == available && worth_sending(plan.size % send_mss_, plan.size % send_mss_))) {
    plan.size -= plan.size % send_mss_;
  }
  plan.go = whole_piece || worth_sending(plan.size, available);
  if (!plan.go) plan.size = 0;
  // The FIN follows the last byte (RFC9293-CLOSE-02).
  const bool at_end = plan.size == available && (!fin_sent_ || snd_nxt_ <= data_end());
  plan.fin = fin_queued_ && at_end && snd_nxt_ + plan.size == data_end();
  plan.go |= plan.fin;
  return plan;
}

// --- the loop
// -----------------------------------------------------------------------------------------------------------

// Once for all segments of a batch: what several ACKs allow goes in few large segments.
void Connection::want_output() {
  output_due_ = true;
  tcp_.list_for_flush(*this);
}

void Connection::output() {
  if (cc_ == nullptr) return;
  follow_route();
  if (flight() == 0 && context_.now - last_sent_at_ > rto_.rto() && last_sent_at_ != Instant::past() && unsent() > 0 &&
      tcp_.config.idle_restart == Switch::kOn) {
    cc_->on_idle({context_.now});  // RFC 5681 §4.1
  }
  for (int i = 0; i < kMaxSegmentsAtOnce; ++i) {
    if (resend_lost()) continue;
    if (const MtuProbe probe = send_mtu_probe(); probe != MtuProbe::kNone) {
      if (probe == MtuProbe::kSent) continue;
      break;
    }
    const Plan plan = plan_next();
    if (!plan.go && resend_doubtful()) continue;  // after new data (RFC6675-05)
    if (!plan.go) break;
    if (!pacer_.may_send(context_.now)) {
      timers_.set(TimerKind::kPacing, pacer_.next());
      break;
    }
    // The end of a burst is pushed too: a receiver that joins segments need not wait for more.
    int flags = Flags::kAck;
    if (plan.size > send_mss_ || (plan.size > 0 && ends_push(snd_nxt_ + plan.size))) flags |= Flags::kPsh;
    if (plan.fin) flags |= Flags::kFin;
    transmit(snd_nxt_, plan.size, Flags(flags));
  }
  after_output();
}

LimitTimes::Reason Connection::what_limits(std::uint32_t rest) const {
  using enum LimitTimes::Reason;
  if (rest == 0) return flight() == 0 ? kIdle : refused_ ? kSendBuffer : kPath;
  const std::uint32_t out = snd_nxt_ - snd_una_;
  const std::uint32_t wanted = std::min(rest, send_mss_);
  return (out >= snd_wnd_ || snd_wnd_ - out < wanted) && in_flight() + wanted <= congestion_window() ? kPeerWindow
                                                                                                     : kPath;
}

// What is left decides which timer watches it.
void Connection::after_output() {
  const std::uint32_t rest = unsent() + to_be_resent();
  const std::uint32_t pipe = in_flight();
  const bool limited_by_cwnd = cc_->cwnd() <= pipe || (rest > 0 && cc_->cwnd() <= pipe + send_mss_);
  cwnd_usage_.on_output(limited_by_cwnd, flight(), snd_una_, snd_nxt_);
  limit_times_.set(what_limits(rest), context_.now);
  tell_of_room();
  if (out_ != nullptr && rest == 0 && pipe < congestion_window()) out_->rate.on_app_limited(pipe);
  if (out_ != nullptr && negotiated_.sack && synchronized() && timers_.armed(TimerKind::kRetransmit)) arm_loss_timer();
  if (rest == 0 || timers_.armed(TimerKind::kRetransmit) || timers_.armed(TimerKind::kPacing)) {
    timers_.cancel(TimerKind::kPersist);
    if (rest == 0) timers_.cancel(TimerKind::kOverride);
    return;
  }
  if (snd_wnd_ == 0 || usable_window() == 0) {  // a closed window: probe it (RFC9293-MUST-36, -MUST-35, -SHLD-29)
    if (!timers_.armed(TimerKind::kPersist)) {
      progress_at_ = context_.now;
      timers_.set(TimerKind::kPersist, context_.now + rto_.rto());
    }
  } else if (!timers_.armed(TimerKind::kOverride)) {  // held back by Nagle, cork or a small window, but not for ever
    timers_.set(TimerKind::kOverride, context_.now + kOverride);  // (RFC9293-MUST-60)
  }
}

void Connection::note_sent(Seq seq, std::uint32_t length, Pushed pushed) {
  const Seq end = seq + length;
  SendState& o = outgoing();
  if (seq < snd_max_) {
    const std::uint32_t again = min(end, snd_max_) - seq;
    rare().bytes_retransmitted += again;
    ++rare().retransmits;
    context_.counters.add(Counter::kTcpRetransmits);
    if (recovery_.repairing()) o.undo.on_retransmit(seq + again, again, now_ticks());
    // Sent again, it says nothing of the path MTU any more.
    if (mtu_probe_out() && seq < rare_->mtu_search.end() && end > rare_->mtu_search.begin()) {
      rare_->mtu_search.forget_probe();
    }
  }
  if (snd_una_ == snd_max_) progress_at_ = context_.now;
  o.board.sent(seq, length, o.rate.stamp(context_.now), pushed);
  if (recovery_.window_falls()) o.prr.on_sent(length);
  const bool head_again = negotiated_.sack && seq == snd_una_ && seq < snd_max_;
  snd_max_ = max(snd_max_, end);
  last_sent_at_ = context_.now;
  schedule_tail_probe();
  if (!timers_.armed(TimerKind::kRetransmit) || head_again) start_retransmit_timer();  // (RFC6298-14, RFC6675-16)
}

void Connection::transmit(Seq seq, std::uint32_t size, Flags flags) {
  wire::tcp::Header header{
      .src_port = tuple.local.port, .dst_port = tuple.peer.port, .seq = seq.value(), .flags = flags};
  const std::uint32_t length = size + (flags.fin() ? 1 : 0);
  if (flags.fin()) fin_sent_ = true;
  wire::tcp::Options options = data_options();
  if (size < send_mss_) {
    add_sack(options, send_mss_ - size);
    add_accurate_ecn(options, std::min<std::size_t>(wire::tcp::kMaxOptionSize, send_mss_ - size));
  }
  emit(header, options, seq - data_base_, size);
  if (data_segments_out_ >= tcp_.config.unpaced_segments) pacer_.on_sent(context_.now, size);
  const bool fresh = seq >= snd_max_;
  note_sent(seq, length, size > 0 && ends_push(seq + size) ? Pushed::kYes : Pushed::kNo);
  if (fresh) out_->short_end = size % send_mss_ != 0 ? seq + size : max(out_->short_end, snd_una_);
  if (seq == snd_nxt_) snd_nxt_ += length;
  if (send_marks_ != nullptr) tell_progress();
  bytes_sent_ += size;
  data_segments_out_ += (size + send_mss_ - 1) / send_mss_;
  context_.counters.add(Counter::kTcpBytesSent, size);
}

// Fills in what every segment carries: ACK, window, checksum; and hands it to IP. `offset` counts in the send queue.
void Connection::emit(const wire::tcp::Header& wanted, const wire::tcp::Options& options, std::uint32_t offset,
                      std::uint32_t size) {
  follow_route();
  wire::tcp::Header header = wanted;
  if (header.flags.ack()) header.ack = rcv_nxt_.value();
  const bool bare_reset = header.flags.rst() && !header.flags.ack();  // takes nothing more
  if (!header.flags.syn() && !bare_reset) header.window = window_field();
  add_urgent_pointer(header);
  const std::uint8_t ecn = add_ecn(header, size);
  buf::TxPacket packet;
  const std::size_t gathered = send_queue_.gather(offset, size, packet);
  assert(gathered == size);
  (void)gathered;
  const MutableBytes room = packet.prepend(wire::tcp::kHeaderSize + wire::tcp::options_size(options));
  wire::tcp::emit(room, header, options);
  if (has_key) {
    const Md5::Digest digest = sign(tuple.local.address, tuple.peer.address, room, packet.payload(), *md5_key());
    wire::tcp::store_md5(room, digest);
  }
  auto sum = wire::Checksum::pseudo_header(tuple.local.address, tuple.peer.address, 6, packet.size());
  const bool super = size > send_mss_;
  if (super || route_.tx_checksum) {
    wire::tcp::store_checksum(room, sum.sum());
    packet.offload = {.checksum = buf::ChecksumState::kPartial, .checksum_offset = wire::tcp::kChecksumOffset};
    if (super) {
      packet.offload.gso = buf::GsoType::kTcp4;
      packet.offload.gso_size = static_cast<std::uint16_t>(send_mss_);
    }
  } else {
    sum.add(room);
    for (Bytes piece : packet.payload()) sum.add(piece);
    wire::tcp::store_checksum(room, sum.finish());  // (RFC9293-MUST-2)
  }
  // Always the address the connection began with (RFC9293-MUST-45). DF is set wherever discovery is on: no fragments,
  // whose identification wraps sooner than timestamps can tell old from new (RFC7323-36).
  ip::SendOptions ip{.source = tuple.local.address, .destination = tuple.peer.address, .protocol = ip::Protocol::kTcp};
  if (options_->ttl != 0) ip.ttl = options_->ttl;                         // (RFC9293-MUST-49)
  ip.tos = static_cast<std::uint8_t>((options_->tos & ~kEcnMask) | ecn);  // (RFC9293-MUST-48, -SHLD-22)
  if (!discovers_path_mtu()) ip.path_mtu = ip::PathMtuUse::kDont;
  context_.counters.add(Counter::kTcpSegmentsSent);
  segments_out_ += std::max((size + send_mss_ - 1) / send_mss_, 1u);
  // An ACK that was due rides on it (RFC9293-SEG-13). Data leaves no room to say what is out of order: the ACK that
  // does follows.
  if (header.flags.ack() && (size == 0 || options.sack_count > 0 || reassembly_.empty())) clear_ack();
  (void)tcp_.ip.send(packet, ip,
                     route_);  // a segment that is not sent is a lost one: counted there, retransmitted here
}

wire::tcp::Options Connection::data_options() const {
  wire::tcp::Options o;
  if (has_key) o.md5_at = wire::tcp::Options::kMd5At;
  o.has_timestamps = negotiated_.timestamps;                       // on every segment once agreed (RFC7323-18)
  if (o.has_timestamps) o.timestamps = {now_ticks(), ts_recent_};  // (RFC7323-15)
  return o;
}

// What arrived beyond a hole, in `room` bytes of options (RFC2018-04, -09), if the peer's SYN allowed that
// (RFC2018-02).
void Connection::add_sack(wire::tcp::Options& o, std::size_t room) {
  if (!negotiated_.sack || !reassembly_.something_to_report()) return;
  const std::size_t left = std::min(room, wire::tcp::kMaxOptionSize - wire::tcp::options_size(o));
  if (left < kSackHead + kSackBlock) return;
  const std::size_t blocks = std::min((left - kSackHead) / kSackBlock, o.sack.size());
  o.sack_count = static_cast<std::uint8_t>(reassembly_.report(std::span(o.sack).first(blocks)));
}

std::uint32_t Connection::ticks_at(Instant time) const {
  return static_cast<std::uint32_t>(time.to_nanos() / 1'000'000) + ts_offset_;  // 1 ms (RFC7323-23, -33, -34)
}

std::uint16_t Connection::window_field() {
  const std::uint16_t field = window_.offer(rcv_nxt_, receive_room(), offered_buffer(), receive_mss_);
  receive_tuning_.on_offer(context_.now, rcv_nxt_ + window_.size(rcv_nxt_));
  return field;
}

// --- segments without data
// ----------------------------------------------------------------------------------------------

std::uint16_t Connection::advertised_mss() const {
  const std::uint32_t mss = route_.link_mtu - kFixedHeaders;  // (RFC9293-MUST-67, RFC6691-01)
  return static_cast<std::uint16_t>(options_->max_segment != 0 ? std::min(mss, options_->max_segment) : mss);
}

// MSS always (RFC9293-MUST-14, -SHLD-5, -MAY-3) and in SYNs only (RFC9293-MUST-65), whatever the way to the peer
// (RFC1191-09); scale and timestamps as configured, in an answer only if the peer had them (RFC7323-01, -02, -06, -17).
wire::tcp::Options Connection::syn_options(bool answer) const {
  const TcpConfig& c = tcp_.config;
  wire::tcp::Options o;
  if (has_key) o.md5_at = wire::tcp::Options::kMd5At;
  o.has_mss = true;
  o.mss = advertised_mss();
  o.has_window_scale = answer ? negotiated_.window_scaling : c.window_scaling == Switch::kOn;
  if (o.has_window_scale) o.window_scale = ReceiveWindow::scale_for(receive_range(*options_, c).most);
  o.has_timestamps = answer ? negotiated_.timestamps : c.timestamps == Switch::kOn && !has_key;
  o.timestamps = {now_ticks(), answer ? ts_recent_ : 0};                 // (RFC7323-16)
  o.sack_permitted = answer ? negotiated_.sack : c.sack == Switch::kOn;  // (RFC2018-01)
  return o;
}

void Connection::send_syn() {
  const bool answer = state_ == State::kSynReceived;
  wire::tcp::Header header{.src_port = tuple.local.port, .dst_port = tuple.peer.port, .seq = iss_.value(), .flags = {}};
  header.flags = Flags(answer ? Flags::kSyn | Flags::kAck : Flags::kSyn);
  wire::tcp::set_ace(header, ecn_setup(answer));
  header.window = static_cast<std::uint16_t>(std::min<std::size_t>(offered_buffer(), 0xffff));
  wire::tcp::Options options = syn_options(answer);
  std::uint32_t data = 0;
  if (fast_open_ != nullptr) {  // once (RFC7413-07)
    options.fast_open = std::exchange(fast_open_->option, {});
    data = std::exchange(fast_open_->data, 0);
  }
  emit(header, options, 0, data);
  if (!timing_ && syn_repeats_ == 0) {
    timing_ = true;
    progress_at_ = context_.now;
  }
}

// A number that the peer takes: SND.NXT, but not beyond its window, where a probe or what is in flight under a window
// that shrank has brought it. There both ends would stop to hear each other when both windows are closed
// (RFC9293-SEG-14).
Seq Connection::acceptable_number() const {
  return synchronized() ? min(snd_max_, snd_una_ + snd_wnd_) : snd_max_;
}

void Connection::send_ack() {
  const wire::tcp::Header header{.src_port = tuple.local.port,
                                 .dst_port = tuple.peer.port,
                                 .seq = acceptable_number().value(),
                                 .flags = Flags(Flags::kAck)};
  wire::tcp::Options options = data_options();
  add_sack(options, wire::tcp::kMaxOptionSize);
  add_accurate_ecn(options, wire::tcp::kMaxOptionSize);
  emit(header, options, 0, 0);
}

// RFC 5961 §7 (RFC5961-10, -11), with a limit of each connection's own: a common one would tell an outsider about
// others (RFC5961-12).
void Connection::send_challenge_ack() {
  RareState& r = rare();
  if (r.challenge_interval == Instant::past() ||
      context_.now - r.challenge_interval >= tcp_.config.challenge_interval) {
    r.challenge_interval = context_.now;
    r.challenge_acks = 0;
  }
  if (r.challenge_acks >= tcp_.config.challenge_acks) return;
  ++r.challenge_acks;
  context_.counters.add(Counter::kTcpChallengeAcks);
  send_ack();
}

void Connection::send_rst(Seq seq, Flags flags) {
  const wire::tcp::Header header{
      .src_port = tuple.local.port, .dst_port = tuple.peer.port, .seq = seq.value(), .flags = flags};
  context_.counters.add(Counter::kTcpResetsSent);
  context_.emit({.kind = EventKind::kTcpReset, .flow = number_, .detail = "by us"});
  wire::tcp::Options options;
  if (has_key) options.md5_at = wire::tcp::Options::kMd5At;
  options.has_timestamps = negotiated_.timestamps && synchronized();
  options.timestamps = {now_ticks(), ts_recent_};  // (RFC7323-22)
  emit(header, options, 0, 0);
}

// What was sent before, `length` sequence numbers of it.
void Connection::retransmit(Seq seq, std::uint32_t length, const char* why) {
  const std::uint32_t data = data_end() - seq;
  const std::uint32_t size = std::min(data, length);
  context_.emit({.kind = EventKind::kTcpRetransmit, .flow = number_, .a = seq.value(), .b = size, .detail = why});
  int flags = Flags::kAck;
  if (size > send_mss_ || (size > 0 && ends_push(seq + size))) flags |= Flags::kPsh;
  if (size < length) flags |= Flags::kFin;
  const Seq next = snd_nxt_;
  transmit(seq, size, Flags(flags));
  snd_nxt_ = max(next, snd_nxt_);
}

// One segment from snd_una on, also when the window has shrunk onto it (RFC9293-SHLD-16); snd_nxt stays.
void Connection::retransmit_first(const char* why) {
  const std::uint32_t data = data_end() - snd_una_;
  const std::uint32_t size = std::min({data, send_mss_, snd_max_ - snd_una_, until_boundary(snd_una_)});
  retransmit(snd_una_, fin_sent_ && size == data ? size + 1 : size, why);
}

// An empty segment that is not in the window draws an ACK, which says how large the window is.
void Connection::probe_below_window() {
  const wire::tcp::Header header{.src_port = tuple.local.port,
                                 .dst_port = tuple.peer.port,
                                 .seq = (snd_una_ - 1).value(),
                                 .flags = Flags(Flags::kAck)};
  emit(header, data_options(), 0, 0);
}

// One byte beyond the closed window (RFC 9293 §3.8.6.1), or the FIN when that is all there is; nothing waits for its
// acknowledgement.
void Connection::probe_window() {
  context_.counters.add(Counter::kTcpZeroWindowProbes);
  context_.emit({.kind = EventKind::kTcpProbe, .flow = number_, .detail = "zero window"});
  if (tcp_.config.probe_with_data == Switch::kOff && flight() == 0) return probe_below_window();
  const std::uint32_t size = data_end() > snd_una_ ? 1 : 0;
  const bool fin = size == 0 && fin_sent_;
  const wire::tcp::Header header{.src_port = tuple.local.port,
                                 .dst_port = tuple.peer.port,
                                 .seq = snd_una_.value(),
                                 .flags = Flags(fin ? Flags::kAck | Flags::kFin : Flags::kAck)};
  emit(header, data_options(), 0, size);
  snd_max_ = max(snd_max_, snd_una_ + size + (fin ? 1 : 0));
}

// --- acknowledgements
// ---------------------------------------------------------------------------------------------------

// At most one ACK for a batch of segments (RFC9293-MUST-58, -MUST-59, RFC5681-36): sent when the batch ends, unless
// data carries it first, or when the timer fires (RFC5681-35).
void Connection::want_ack(Ack when) {
  if (when <= ack_due_) return;
  if (when == Ack::kNow) tcp_.list_for_flush(*this);
  if (when == Ack::kDelayed) timers_.set(TimerKind::kDelayedAck, context_.now + tcp_.config.delayed_ack_time);
  ack_due_ = when;
}

void Connection::flush() {
  if (std::exchange(output_due_, false) && synchronized() && state_ != State::kTimeWait) output();
  if (ack_due_ == Ack::kNow) send_ack();
}

void Connection::clear_ack() {
  ack_due_ = Ack::kNone;
  if (accurate_ecn()) rare_->accurate_ecn->on_ack_sent();
  unacked_bytes_ = 0;
  last_ack_sent_ = rcv_nxt_;
  timers_.cancel(TimerKind::kDelayedAck);
}

}  // namespace sluice::tcp
