// Segment input: RFC 9293 §3.10.7.3 (SYN-SENT) and §3.10.7.4 (other states), as the steps of the document in its order.
// LISTEN and SYN-RECEIVED of a passive open are in listener.cc, TIME-WAIT in time_wait.cc.
#include <algorithm>
#include <utility>

#include "stack/tcp/connection.h"
#include "stack/tcp/fast_open_io.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr Duration kPawsOutdated = Duration::seconds(24 * 24 * 3600);  // RFC 7323 §5.5 (RFC7323-35)
constexpr std::uint16_t kMinPeerMss = 88;    // below, headers would outweigh data: an attack on the sender (S35)
constexpr std::size_t kOutOfOrderShare = 2;  // what is out of order may take this often the receive buffer in memory

constexpr std::uint32_t kOvertakenTicks = 32;  // of the peer's clock, mostly milliseconds
}  // namespace

void Connection::input(Arriving& s) {
  last_received_at_ = context_.now;
  keep_alive_probes_ = 0;
  ++segments_in_;
  if (!s.payload.empty()) ++data_segments_in_;
  if (fast_path(s)) return;
  if (state_ == State::kSynSent) return input_syn_sent(s);
  if (state_ == State::kSynReceived) {
    if (answer_repeated_syn(s)) return;
    take_crossing_syn_ack(s);
  }
  const std::size_t size = s.payload.size();
  if (!check_timestamp(s) || !check_sequence(s) || !check_rst(s) || !check_syn(s) || !check_ack(s)) return;
  if (state_ == State::kClosed || state_ == State::kTimeWait) return;
  if (accurate_ecn()) count_marks(s, size);
  if (process_content(s)) want_output();
}

// Steps six to eight; false when the connection is over.
bool Connection::process_content(Arriving& s) {
  const Seq end = s.seq + static_cast<std::uint32_t>(s.payload.size());  // where a FIN stands
  check_urgent(s);
  if (!process_text(s)) return false;
  process_fin(s, end);
  return true;
}

// The SYN-ACK of a simultaneous open repeats the peer's SYN (RFC 9293 figure 8): its ACK is what we wait for. Its
// window is not scaled; the shift makes it so, rounded down. Who connects to itself comes here, too (RFC9293-SEG-14).
void Connection::take_crossing_syn_ack(Arriving& s) {
  if (!s.header.flags.has(Flags::kSyn | Flags::kAck) || s.seq != irs_ || s.ack <= iss_ || s.ack > snd_max_) return;
  s.header.flags = Flags(s.header.flags.bits() & ~Flags::kSyn);
  s.header.window = static_cast<std::uint16_t>(s.header.window >> negotiated_.send_scale);
  s.seq += 1;
}

// --- SYN-SENT (RFC 9293 §3.10.7.3)
// ------------------------------------------------------------------------------------

void Connection::input_syn_sent(Arriving& s) {
  if (!syn_sent_ack(s)) return;
  if (s.header.flags.rst()) {  // (RFC9293-SYNS-02, -RST-06, RFC5961-05)
    if (!s.header.flags.ack()) return context_.drop(Drop::kTcpState, {}, number_);
    context_.counters.add(Counter::kTcpResetsReceived);
    return fail_with(Errno::kConnectionRefused);
  }
  if (!s.header.flags.syn()) return context_.drop(Drop::kTcpState, {}, number_);  // (RFC9293-SYNS-05, -SEG-11)
  syn_sent_syn(s);
}

// First: the ACK bit (RFC9293-SYNS-01).
bool Connection::syn_sent_ack(const Arriving& s) {
  if (!s.header.flags.ack()) return true;
  // An echo of what no SYN of ours has said is as wrong as such a number; none at all is 0.
  const std::uint32_t first = ticks_at(progress_at_);
  const bool right_echo = !s.options.has_timestamps || s.options.timestamps.echo == 0 ||
                          tcp_.config.timestamps == Switch::kOff || s.header.flags.rst() ||
                          s.options.timestamps.echo - first <= now_ticks() - first;
  if (snd_una_ < s.ack && s.ack <= snd_max_ && right_echo) return true;
  context_.drop(Drop::kTcpAck, {}, number_);
  if (!s.header.flags.rst()) send_rst(s.ack, Flags::kRst);  // (RFC9293-RST-03)
  return false;
}

// Fourth: the SYN bit. With an ACK: ESTABLISHED (RFC9293-SYNS-03); without: both sides opened at the same time
// (RFC9293-SYNS-04, -MUST-10).
void Connection::syn_sent_syn(Arriving& s) {
  irs_ = s.seq;
  rcv_nxt_ = last_ack_sent_ = s.seq + 1;
  negotiate(s.options);
  settle_ecn(s);
  window_.start(rcv_nxt_, static_cast<std::uint32_t>(std::min<std::size_t>(offered_buffer(), 0xffff)),
                negotiated_.receive_scale);
  snd_wnd_ = max_snd_wnd_ = s.header.window;  // never scaled in a SYN (RFC7323-05)
  snd_wl1_ = s.seq;
  snd_wl2_ = s.ack;
  if (!s.header.flags.ack()) {
    enter(State::kSynReceived);
    send_syn();
    return start_retransmit_timer();
  }
  measure_handshake(s);
  take_syn_ack_number(s.ack);
  learn_from_syn_ack(s);
  timeouts_in_row_ = 0;
  establish();
  resend_syn_data();
  s.header.flags = Flags(s.header.flags.bits() & ~Flags::kSyn);
  s.seq = rcv_nxt_;
  want_ack(Ack::kNow);
  if (!process_content(s)) return;
  output();
  if (ack_due_ == Ack::kNow) send_ack();
}

// What the peer's SYN allows (RFC7323-03, -07; RFC9293-MUST-15); the same options on other segments change nothing
// (RFC7323-04).
void Connection::negotiate(const wire::tcp::Options& o) {
  const TcpConfig& c = tcp_.config;
  negotiated_.peer_mss = o.has_mss ? std::max(o.mss, kMinPeerMss) : std::uint16_t{536};
  negotiated_.window_scaling = o.has_window_scale && c.window_scaling == Switch::kOn;
  negotiated_.send_scale =
      negotiated_.window_scaling ? std::min(o.window_scale, ReceiveWindow::kMaxScale) : std::uint8_t{0};
  if (!negotiated_.window_scaling) negotiated_.receive_scale = 0;
  negotiated_.timestamps = o.has_timestamps && c.timestamps == Switch::kOn && !has_key;  // then we have not asked
  negotiated_.sack = o.sack_permitted && c.sack == Switch::kOn;
  if (negotiated_.timestamps) {
    ts_recent_ = o.timestamps.value;
    ts_recent_at_ = context_.now;
  }
  update_mss();
}

// --- the steps of RFC 9293 §3.10.7.4
// ----------------------------------------------------------------------------------

// RFC 7323 §5.3 R1, before the sequence check and never again on what is queued (RFC7323-30). RST is
// exempt (RFC7323-31). Where they were not agreed timestamps have no meaning (RFC7323-21).
bool Connection::check_timestamp(const Arriving& s) {
  if (!negotiated_.timestamps || s.header.flags.rst()) return true;
  if (!s.options.has_timestamps) {
    if (tcp_.config.require_timestamps == Switch::kOff) return true;
    // A SYN is answered below whatever it carries; others are dropped, and nothing else happens (RFC7323-19, -20).
    if (s.header.flags.syn()) return true;
    context_.drop(Drop::kTcpNoTimestamp, {}, number_);
    return false;
  }
  const bool outdated = context_.now - ts_recent_at_ > kPawsOutdated;
  if (!is_older(s.options.timestamps.value) || outdated) return true;
  // DEVIATION(RFC7323-29): data that fills no hole yet may be a little older than the check allows, since a
  // retransmission of what stood before it has overtaken it. Dropped, it would have to be sent again, and its
  // retransmission would overtake others. No sequence number comes again so soon.
  const bool overtaken = !s.payload.empty() && s.seq >= rcv_nxt_ && reassembly_.ranges() > 0;
  if (overtaken && ts_recent_ - s.options.timestamps.value <= kOvertakenTicks) return true;
  context_.drop(Drop::kTcpPaws, {}, number_);
  unacceptable(s);
  return false;
}

// First: the sequence number (RFC9293-SEQ-02, -RST-04; RFC5961-04).
bool Connection::check_sequence(Arriving& s) {
  const std::uint32_t window = window_.size(rcv_nxt_);
  if (acceptable(s.seq, s.length(), rcv_nxt_, window)) {
    trim(s);
    return true;
  }
  // Into a closed window nothing fits, but ACK, URG and RST still count (RFC9293-SEG-02, -MUST-66).
  const bool into_closed = window == 0 && s.seq == rcv_nxt_ && !s.header.flags.syn();
  if (into_closed || only_ack_counts(s)) {
    s.seq = rcv_nxt_;
    s.payload = {};
    s.header.flags = Flags(s.header.flags.bits() & ~Flags::kFin);
    want_ack(Ack::kNow);
    return true;
  }
  context_.drop(Drop::kTcpSequence, {}, number_);
  if (!s.header.flags.rst()) unacceptable(s);
  return false;
}

// Both ends have sent at the same time what the other could not take, and nothing but the ACK of this segment can tell
// us more (RFC9293-SEG-14): the peer's next number lies one beyond our closed window, since it has probed that; or its
// FIN comes again, with the ACK of ours.
bool Connection::only_ack_counts(const Arriving& s) const {
  if (s.header.flags.any(Flags::kSyn | Flags::kRst)) return false;
  const bool after_probe = window_.size(rcv_nxt_) == 0 && s.seq == rcv_nxt_ + 1 && s.length() == 0;
  const bool fin_again = state_ == State::kClosing && s.header.flags.fin() && s.length() == 1 && s.seq + 1 == rcv_nxt_;
  return after_probe || fin_again;
}

// An unacceptable segment is answered with an ACK. With data it may be a retransmission whose ACK was lost: always;
// else rate-limited, or two confused ends would answer each other for ever.
void Connection::unacceptable(const Arriving& s) {
  if (s.payload.empty() && !s.header.flags.fin()) return send_challenge_ack();
  const Seq end = s.seq + static_cast<std::uint32_t>(s.payload.size());
  if (s.seq < rcv_nxt_) note_duplicate(s.seq, min(end, rcv_nxt_));
  send_ack();
}

// The peer sent it again: a D-SACK tells it so.
void Connection::note_duplicate(Seq begin, Seq end) {
  if (negotiated_.sack && tcp_.config.dsack == Switch::kOn) reassembly_.report_duplicate({begin, end});
}

// Cuts off what lies outside the window (RFC9293-SEG-01).
void Connection::trim(Arriving& s) {
  if (s.seq < rcv_nxt_) {
    std::uint32_t old = rcv_nxt_ - s.seq;
    if (s.header.flags.syn()) return;  // the SYN step deals with it
    old = std::min(old, static_cast<std::uint32_t>(s.payload.size()));
    if (old > 0) {
      s.payload.trim_front(old);
      note_duplicate(s.seq, s.seq + old);  // (RFC2883-03)
      context_.counters.add(Drop::kTcpDuplicate);
      want_ack(Ack::kNow);
    }
    s.seq += old;
  }
  const Seq edge = rcv_nxt_ + window_.size(rcv_nxt_);
  const Seq end = s.seq + static_cast<std::uint32_t>(s.payload.size());
  if (end > edge) {
    s.payload.trim_back(std::min<std::size_t>(end - edge, s.payload.size()));
    s.header.flags = Flags(s.header.flags.bits() & ~Flags::kFin);
    context_.counters.add(Drop::kTcpSequence);
    want_ack(Ack::kNow);
  }
}

// Second: RST, by RFC 5961 §3 (RFC5961-01): only the exact next number resets (RFC9293-RST-05, RFC5961-02), so also the
// answer to a challenge (RFC5961-07); another one in the window is challenged (RFC5961-03). Its text does not matter
// (RFC9293-SHLD-2).
bool Connection::check_rst(const Arriving& s) {
  if (!s.header.flags.rst()) return true;
  if (s.seq != rcv_nxt_) {
    context_.drop(Drop::kTcpRst, {}, number_);
    send_challenge_ack();
    return false;
  }
  context_.counters.add(Counter::kTcpResetsReceived);
  context_.emit({.kind = EventKind::kTcpReset, .flow = number_, .detail = "by the peer"});
  if (fast_open_ != nullptr) fast_open_->place.leave_after_reset(context_.now);
  switch (state_) {
    case State::kSynReceived:  // of a simultaneous open (RFC9293-SYNR-01); or its data is at hand
      fail_with(passive_ ? Errno::kConnectionReset : Errno::kConnectionRefused);
      break;
    case State::kClosing:
    case State::kLastAck:
      finish();
      break;
    default:
      fail_with(Errno::kConnectionReset);
  }
  return false;
}

// Fourth: SYN, by RFC 5961 §4: never more than a challenge (RFC5961-06).
bool Connection::check_syn(const Arriving& s) {
  if (!s.header.flags.syn()) return true;
  context_.drop(Drop::kTcpSyn, {}, number_);
  send_challenge_ack();
  return false;
}

// Fifth: ACK, with the range check of RFC 5961 §5 (RFC9293-MAY-12; RFC5961-08, -09).
bool Connection::check_ack(const Arriving& s) {
  if (!s.header.flags.ack()) {
    context_.drop(Drop::kTcpNoAck, {}, number_);  // (RFC9293-SEG-03)
    return false;
  }
  if (state_ == State::kSynReceived) return ack_in_syn_received(s);
  const bool too_old = s.ack < snd_una_ && snd_una_ - s.ack > max_snd_wnd_;
  if (s.ack > snd_max_ || too_old) {  // (RFC9293-SEG-04)
    context_.drop(Drop::kTcpAck, {}, number_);
    if (too_old || tcp_.config.answer_unsent_ack == Switch::kOn) send_challenge_ack();
    return false;
  }
  accept_timestamp(s);
  process_ack(s);
  return true;
}

bool Connection::ack_in_syn_received(const Arriving& s) {  // (RFC9293-SYNR-02)
  if (s.ack <= iss_ || s.ack > snd_max_) {
    context_.drop(Drop::kTcpAck, {}, number_);
    send_rst(s.ack, Flags::kRst);
    return false;
  }
  accept_timestamp(s);
  measure_handshake(s);
  snd_una_ = iss_ + 1;
  snd_wnd_ = std::uint32_t{s.header.window} << negotiated_.send_scale;
  max_snd_wnd_ = std::max(max_snd_wnd_, snd_wnd_);
  snd_wl1_ = s.seq;
  snd_wl2_ = s.ack;
  timeouts_in_row_ = 0;
  establish();
  if (fin_queued_) enter(State::kFinWait1);
  handshake_done(s);
  return true;
}

void Connection::process_ack(const Arriving& s) {
  if (accurate_ecn()) rare_->accurate_ecn->forget_news();
  const bool same_window = std::uint32_t{s.header.window} << negotiated_.send_scale == snd_wnd_;
  // The definition of a duplicate ACK (RFC5681-22). The answer to a window probe is none.
  const bool outstanding = flight() > 0 && !timers_.armed(TimerKind::kPersist);
  const bool duplicate = s.ack == snd_una_ && outstanding && s.payload.empty() && !s.header.flags.fin() && same_window;
  if (negotiated_.sack && out_ != nullptr) {
    ack_with_sack(s);
  } else {
    const cc::Phase before = recovery_.phase();
    if (s.ack > snd_una_) {
      new_ack(s);
    } else if (duplicate) {
      duplicate_ack(s);
    }
    hear_echo(s, before, 0);
  }
  update_send_window(s);
}

void Connection::update_send_window(const Arriving& s) {  // (RFC9293-SEG-05)
  const bool newer = snd_wl1_ < s.seq || (snd_wl1_ == s.seq && snd_wl2_ <= s.ack);
  if (s.ack < snd_una_ || !newer) return;
  const bool opened = snd_wnd_ == 0 && s.header.window > 0;
  snd_wnd_ = std::uint32_t{s.header.window} << negotiated_.send_scale;  // (RFC7323-08)
  max_snd_wnd_ = std::max(max_snd_wnd_, snd_wnd_);
  snd_wl1_ = s.seq;
  snd_wl2_ = s.ack;
  if (timers_.armed(TimerKind::kPersist)) {
    progress_at_ = context_.now;  // it answers probes: the connection stays (RFC9293-MUST-37)
    if (opened) timers_.cancel(TimerKind::kPersist);
  }
  if (opened && rare_ != nullptr) rare_->probe_backoff = 0;
}

void Connection::fin_acknowledged() {  // (RFC9293-SEG-06)
  switch (state_) {
    case State::kFinWait1:
      enter(State::kFinWait2);
      if (detached_) wait_for_fin();
      break;
    case State::kClosing:
      return enter_time_wait();
    case State::kLastAck:
      return finish();
    default:
      break;
  }
}

// RFC 7323 §4.3: what is echoed comes from the segment that covers the last ACK sent, so a delayed ACK echoes the
// earliest and a filled hole its own (RFC7323-26, -27, -28, -32).
void Connection::accept_timestamp(const Arriving& s) {
  if (!negotiated_.timestamps || !s.options.has_timestamps) return;
  const std::uint32_t value = s.options.timestamps.value;
  const bool outdated = context_.now - ts_recent_at_ > kPawsOutdated;
  if (s.seq > last_ack_sent_ || (is_older(value) && !outdated)) return;
  ts_recent_ = value;
  ts_recent_at_ = context_.now;
}

// Seventh: the text.
bool Connection::process_text(Arriving& s) {
  if (s.payload.empty()) return true;
  if (state_ == State::kCloseWait || state_ == State::kClosing || state_ == State::kLastAck || fin_received_) {
    context_.drop(Drop::kTcpAfterFin, {}, number_);  // (RFC9293-SEG-08)
    return true;
  }
  if (negotiated_.ecn == EcnMode::kClassic) note_marks(s);
  if (detached_) {                 // nobody will read it: the peer must hear (RFC9293-SHLD-3)
    send_rst(s.ack, Flags::kRst);  // the number that the peer expects next: it must believe us
    finish();
    return false;
  }
  if (s.seq == rcv_nxt_) {
    store_in_order(s);
  } else {
    store_out_of_order(s);
  }
  notify();
  return true;
}

void Connection::accept_data(buf::Buffer data) {
  const auto size = static_cast<std::uint32_t>(data.size());
  last_data_ticks_ = now_ticks();
  rcv_nxt_ += size;
  bytes_received_ += size;
  unacked_bytes_ += size;
  context_.counters.add(Counter::kTcpBytesReceived, size);
  // Many small payloads share a block; a large one moves in by ownership.
  if (data.size() * 4 < data.capacity()) {
    const std::size_t shared = receive_queue_.append_to_back(data.bytes());
    data.trim_front(shared);
    if (data.empty()) return;
    buf::Buffer fresh = tcp_.pool.allocate(data.size());
    if (fresh && fresh.append(data.bytes())) data = std::move(fresh);
  }
  receive_queue_.push(std::move(data));
}

void Connection::store_in_order(Arriving& s) {
  const std::uint32_t segment = s.gso_size != 0 ? s.gso_size : static_cast<std::uint32_t>(s.payload.size());
  if (reassembly_.empty()) {
    accept_data(std::exchange(s.payload, {}));
  } else {  // what is held already stays as it came (S52); a full store does not matter to what is next in order
    const auto inserted = reassembly_.insert(s.seq, std::exchange(s.payload, {}), SIZE_MAX);
    note_duplicate(inserted.duplicate.begin, inserted.duplicate.end);
  }
  buf::Queue next = reassembly_.take(rcv_nxt_);
  const bool filled = !next.empty();
  while (!next.empty()) accept_data(next.pop());
  receive_mss_ = std::max(receive_mss_, std::min(segment, static_cast<std::uint32_t>(route_.link_mtu)));
  if (s.options.has_timestamps && negotiated_.timestamps) {
    receive_tuning_.on_echo(s.options.timestamps.echo, now_ticks());
  }
  receive_tuning_.on_data(context_.now, rcv_nxt_);
  // An ACK at once for a filled hole (RFC5681-20), for every second full segment (RFC9293-SHLD-19, RFC5681-34), and in
  // the beginning; else a delayed one (RFC9293-SHLD-18, RFC5681-33).
  const bool quick = quick_acks_ > 0 || tcp_.config.delayed_ack == Switch::kOff;
  if (quick_acks_ > 0) --quick_acks_;
  const bool two_segments = unacked_bytes_ >= 2 * receive_mss_;
  want_ack(filled || !reassembly_.empty() || quick || two_segments ? Ack::kNow : Ack::kDelayed);
}

// Each one is answered at once: the sender counts these duplicate ACKs (RFC5681-19, RFC9293-MAY-13), which say what
// has arrived (RFC2018-03, -05).
void Connection::store_out_of_order(Arriving& s) {
  context_.counters.add(Counter::kTcpOutOfOrder);
  ++rare().out_of_order;
  const auto [outcome, duplicate] =
      reassembly_.insert(s.seq, std::move(s.payload), receive_tuning_.buffer() * kOutOfOrderShare);
  s.payload = {};
  if (outcome == Reassembly::Outcome::kFull) context_.drop(Drop::kTcpReassemblyFull, {}, number_);
  if (outcome == Reassembly::Outcome::kDuplicate) context_.drop(Drop::kTcpDuplicate, {}, number_);
  note_duplicate(duplicate.begin, duplicate.end);
  send_ack();
}

// Eighth: FIN, standing at `end`. It counts when all data before it is there (RFC9293-SEG-09).
void Connection::process_fin(const Arriving& s, Seq end) {
  if (!synchronized() || fin_received_) return;
  if (s.header.flags.fin() && !fin_seen_) {
    fin_seen_ = true;
    fin_seq_ = end;
  }
  if (fin_seen_ && fin_seq_ == rcv_nxt_) fin_in_order();
}

void Connection::fin_in_order() {
  fin_received_ = true;
  rcv_nxt_ += 1;
  want_ack(Ack::kNow);
  notify();
  switch (state_) {
    case State::kEstablished:
      return enter(State::kCloseWait);
    case State::kFinWait1:  // (RFC9293-SEG-10, -CLOSE-05): ours was not acknowledged, or we would be in FIN-WAIT-2
      return enter(State::kClosing);
    case State::kFinWait2:
      return enter_time_wait();
    default:
      break;
  }
}

}  // namespace sluice::tcp
