// Loss recovery where SACK was agreed: what an ACK says (RFC 2018, RFC 2883), what is lost by it (RFC 8985 or RFC
// 6675), what the sender does then (RFC 6675 §5, RFC 9937), and whether it was for nothing (RFC 3522, RFC 3708, RFC
// 5682).
#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr Duration kMaxAckDelay = 200_ms;   // of a peer that delays its ACK (RFC 8985 §7.2)
constexpr Duration kProbeUnmeasured = 1_s;  // (RFC8985-16)

bool older(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b) < 0;
}
}  // namespace

SendState& Connection::outgoing() {
  if (out_ == nullptr) {
    out_ = tcp_.send_states.take();
    out_->board.start(snd_nxt_);
    out_->short_end = snd_una_;
  }
  if (out_->board.empty()) out_->rate.start(context_.now, delivered_);
  return *out_;
}

void Connection::let_go_of_send_state() {
  if (out_ != nullptr && !out_->worth_keeping()) tcp_.send_states.give_back(std::move(out_));
}

std::uint32_t Connection::in_flight() const {
  return negotiated_.sack && out_ != nullptr ? out_->board.in_flight() : flight();
}

// What congestion control reduces when something was lost while so much was in flight.
std::uint32_t Connection::to_be_reduced(std::uint32_t flight) const {
  return tcp_.config.reduce_flight == Switch::kOn ? flight : cc_->cwnd();
}

std::uint32_t Connection::to_be_resent() const {
  return negotiated_.sack && out_ != nullptr ? out_->board.lost() : 0;
}

// For info().
void Connection::describe_recovery(Info& i) const {
  i.phase = recovery_.phase();
  i.in_network = in_flight();
  i.min_rtt = min_rtt_.get();
  i.delivered = delivered_;
  i.delivery_rate = best_rate_.bytes_per_second();
  i.delivery_app_limited = best_rate_.app_limited();
  i.duplicates_reported = rare_view().duplicates_reported;
  if (out_ == nullptr) return;
  const Scoreboard& board = out_->board;
  i.sacked = board.sacked();
  i.lost = board.lost();
  i.reordering_seen = out_->rack.reordering_seen();
  i.reordering = out_->rack.distance();
  i.reordering_events = out_->rack.events();
  for (std::uint32_t k = 0; k < board.records(); ++k) {
    const Sent& r = board.record(k);
    if (!r.retransmitted || r.state != Sent::State::kInFlight) continue;
    i.retransmitted += r.length;
    if (!r.twice) i.repaired += r.length;
  }
}

// --- what an ACK says
// -------------------------------------------------------------------------------------------------

// A first block below the ACK number of its own packet, or inside the second one, reports a duplicate (RFC2883-04).
// True when the first block is such a one.
bool Connection::take_duplicate_report(const Arriving& s) {
  if (s.options.sack_count == 0) return false;
  const Seq left(s.options.sack[0].left);
  const Seq right(s.options.sack[0].right);
  const bool inside =
      s.options.sack_count > 1 && Seq(s.options.sack[1].left) <= left && right <= Seq(s.options.sack[1].right);
  if (left >= right || (right > s.ack && !inside)) return false;
  SendState& o = *out_;
  const bool possible = right <= snd_max_ && (left >= snd_una_ || snd_una_ - left <= max_snd_wnd_);
  if (!possible) {
    context_.counters.add(Counter::kTcpSackIgnored);
    return true;
  }
  context_.counters.add(Counter::kTcpDuplicatesReported);
  ++rare().duplicates_reported;
  o.rack.on_duplicate(s.ack, snd_nxt_);
  if (o.probe.outstanding && o.probe.retransmission && right + 1 >= o.probe.end) {
    o.probe.outstanding = false;
  } else if (o.undo.armed()) {
    o.rack.on_reordering(0);  // the first transmission was late, and is not seen to be so
  }
  if (o.undo.on_duplicate(left, right)) undo("all that was sent again is reported as duplicate");
  return true;
}

// (RFC6675-08). Blocks that cannot be true say nothing (S55).
void Connection::take_blocks(const Arriving& s, std::size_t first, Delivery& d) {
  for (std::size_t i = first; i < s.options.sack_count; ++i) {
    const Seq left(s.options.sack[i].left);
    const Seq right(s.options.sack[i].right);
    if (left < right && right <= snd_una_) continue;  // an old ACK
    if (left >= right || right > out_->board.end() || left < snd_una_ - max_snd_wnd_) {
      context_.counters.add(Counter::kTcpSackIgnored);
      continue;
    }
    out_->board.sack(max(left, snd_una_), right, send_mss_, d);
  }
}

void Connection::ack_with_sack(const Arriving& s) {
  SendState& o = *out_;
  const std::uint32_t before = o.board.in_flight();
  const std::uint32_t sacked_before = o.board.sacked();
  const cc::Phase phase = recovery_.phase();
  const bool repeated = take_duplicate_report(s);
  Delivery d;
  const std::uint32_t acked = s.ack > snd_una_ ? advance(s.ack, d) : 0;
  take_blocks(s, repeated ? 1 : 0, d);
  if (acked > 0) recovery_.on_advance();
  if (acked == 0 && d.sacked > 0) {  // (RFC6675-09)
    recovery_.count_duplicate();
    context_.counters.add(Counter::kTcpDuplicateAcks);
  }
  cc::Ack ack = account(s, d, acked, before);
  learn_from_delivery(s, d);
  if (acked > 0) look_for_needless(s);
  step_frto(d, acked);
  ack.phase = phase_seen(s);
  const Scoreboard::Found found = find_losses();
  ack.lost = found.bytes;
  if (d.bytes > 0) cc_->on_ack(ack);
  turn(found, flight() + acked - std::min(sacked_before, flight() + acked));  // RecoverFS (RFC9937-01)
  hear_echo(s, phase, acked);
  if (recovery_.window_falls() && tcp_.config.prr == Switch::kOn) {
    o.prr.on_ack(d.bytes, o.board.in_flight(), acked > 0 && found.bytes == 0, send_mss_);
  }
  step_tail_probe(s, d, acked, repeated);
  tune_send_buffer();
  window_changed();
  if (acked > 0) {
    after_advance();
  } else if (flight() > 0) {
    arm_loss_timer();
  }
}

// RFC 8985 §6.2 steps 2 and 3. A segment that was sent again may have arrived the first time: then it says nothing
// about when.
void Connection::learn_from_delivery(const Arriving& s, const Delivery& d) {
  if (d.latest.length == 0) return;
  const Sent* latest = &d.latest;
  if (latest->retransmitted) {
    const bool old_echo = negotiated_.timestamps && older(s.options.timestamps.echo, ticks_at(latest->stamp.at));
    if (old_echo || context_.now - latest->stamp.at < min_rtt_.get()) latest = &d.latest_fresh;
  }
  if (latest->length > 0) out_->rack.on_delivered(*latest, context_.now);
  if (d.reordered > 0) out_->rack.on_reordering(d.reordered);
}

// --- what is lost
// -----------------------------------------------------------------------------------------------------

// RACK needs SACK and the scoreboard (RFC8985-01): nobody else comes here.
Scoreboard::Found Connection::find_losses() {
  SendState& o = *out_;
  Scoreboard::Found found;
  const char* rule = "RACK";
  o.reorder_at = Instant::never();
  if (tcp_.config.rack == Switch::kOn) {
    if (!o.rack.valid()) return found;
    const bool enough = recovery_.duplicates() >= Scoreboard::kDupThresh ||
                        o.board.sacked() >= std::uint32_t{Scoreboard::kDupThresh} * send_mss_;
    const bool sure = recovery_.repairing() || enough;
    const Duration wait = o.rack.rtt() + o.rack.window(sure, min_rtt_.get(), rto_.srtt());
    found = o.board.lose_sent_before(o.rack.latest(), context_.now - wait);
    if (found.waiting) o.reorder_at = o.rack.latest().stamp.at + wait + tcp_.config.timer_slack;  // (RFC8985-13)
  } else {
    rule = "SACKed above";
    found.bytes = o.board.lose_below_sacks(send_mss_);  // (RFC6675-11)
    const bool third = recovery_.duplicates() >= Scoreboard::kDupThresh && !recovery_.repairing();
    if (third && o.board.lost() == 0) found.bytes += o.board.lose_first(send_mss_);  // (RFC2018-13)
  }
  if (found.bytes == 0) return found;
  if (only_mtu_probe_lost(found.bytes)) {  // too large, or by chance: in neither case a sign of congestion
    mtu_probe_lost();
    return {};
  }
  o.rate.on_lost(found.bytes);
  context_.emit(
      {.kind = EventKind::kTcpLoss, .flow = number_, .a = found.bytes, .b = o.board.in_flight(), .detail = rule});
  return found;
}

// --- what the sender does then
// ----------------------------------------------------------------------------------------

// From one phase to the next. After a timeout no recovery begins until all that was sent before it is acknowledged
// (RFC6675-14).
void Connection::turn(const Scoreboard::Found& found, std::uint32_t recover_fs) {
  const bool reduced = recovery_.phase() == cc::Phase::kReducing && flight() == 0;
  if (reduced || recovery_.over(snd_una_)) end_repair();
  if (found.bytes == 0) return;
  if (recovery_.phase() == cc::Phase::kReducing) return repair_while_reducing();
  if (recovery_.phase() == cc::Phase::kOpen) return begin_recovery(recover_fs);
  // Without PRR a lost retransmission is another sign of congestion (RFC8985-25).
  if (recovery_.active() && found.retransmission && tcp_.config.prr == Switch::kOff) {
    cc_->on_congestion({.now = context_.now, .flight = to_be_reduced(in_flight() + found.bytes)});
  }
}

// (RFC6675-10)
void Connection::begin_recovery(std::uint32_t recover_fs) {
  SendState& o = *out_;
  context_.counters.add(Counter::kTcpFastRetransmits);
  recovery_.enter(snd_max_);
  context_.emit({.kind = EventKind::kTcpRecoveryEnter,
                 .flow = number_,
                 .a = recovery_.point().value(),
                 .detail = tcp_.config.rack == Switch::kOn ? "RACK" : "SACK"});
  o.undo.start(snd_una_);
  o.rescued = false;
  o.send_one = true;
  // FlightSize without limited-transmit data (RFC5681-26), whether there was any to send or not.
  const std::uint32_t flight_size = std::max(recover_fs, std::min(flight(), cc_->cwnd()));
  const std::uint32_t before = to_be_reduced(flight_size);
  cc_->on_congestion({.now = context_.now, .flight = before});
  o.prr.start(cc_->ssthresh(), tcp_.config.reduce_flight == Switch::kOn ? recover_fs : before, o.board.in_flight());
}

// The window falls already: once for each window of data.
void Connection::repair_while_reducing() {
  context_.counters.add(Counter::kTcpFastRetransmits);
  recovery_.enter(snd_max_);
  context_.emit({.kind = EventKind::kTcpRecoveryEnter,
                 .flow = number_,
                 .a = recovery_.point().value(),
                 .detail = "a loss while the window falls"});
  out_->rescued = false;
  out_->send_one = true;
}

// All that was outstanding when it began is acknowledged (RFC6675-12, RFC9937-09).
void Connection::end_repair() {
  SendState& o = *out_;
  const bool by_acks = recovery_.window_falls();
  if (recovery_.phase() != cc::Phase::kReducing) o.rack.on_recovery_done();
  recovery_.leave();
  o.frto = Frto::kOff;
  context_.emit({.kind = EventKind::kTcpRecoveryExit, .flow = number_, .a = snd_una_.value()});
  if (by_acks) cc_->on_recovery_done({context_.now, std::min(cc_->cwnd(), cc_->ssthresh())});
}

// A duplicate ACK without new blocks changes nothing here (RFC5681-25).
std::uint32_t Connection::congestion_room() const {
  const std::uint32_t window = congestion_window();
  std::uint32_t used = out_ != nullptr ? out_->board.in_flight() : 0;
  const bool cautious = !recovery_.repairing() && tcp_.config.limited_transmit == Switch::kOff;
  if (cautious && out_ != nullptr) used += out_->board.sacked();  // no new data for what a SACK says has left
  return used < window ? window - used : 0;
}

// One piece of what is lost, if the window allows it (RFC8985-24, RFC6675-13); false when there is nothing to do.
bool Connection::resend_lost() {
  if (!negotiated_.sack || out_ == nullptr || snd_wnd_ == 0) return false;
  SendState& o = *out_;
  if (o.frto != Frto::kOff && !o.send_one) return false;  // new data will tell whether it is lost
  const Sent* lost = o.board.next_lost();
  if (lost == nullptr) return false;
  const std::uint32_t room = congestion_room();
  const std::uint32_t least = std::min(lost->length, send_mss_);
  const bool allowed = o.send_one || room >= least || o.board.in_flight() == 0;
  if (!allowed) return false;
  if (!o.send_one && !pacer_.may_send(context_.now)) {
    timers_.set(TimerKind::kPacing, pacer_.next());
    return false;
  }
  const std::uint32_t whole = o.send_one ? 0 : std::min(room, most_at_once()) / send_mss_ * send_mss_;
  const char* why = lost->retransmitted ? "lost again" : o.send_one ? "first lost" : "lost";
  if (lost->retransmitted) context_.counters.add(Counter::kTcpLostRetransmits);
  o.send_one = false;
  retransmit(lost->begin, std::min(lost->length, std::max(whole, send_mss_)), why);
  return true;
}

// RFC 6675 §4 NextSeg rules 3 and 4, which have no place beside RACK (RFC8985-23).
bool Connection::resend_doubtful() {
  const bool by_sack = negotiated_.sack && out_ != nullptr && tcp_.config.rack == Switch::kOff;
  if (!by_sack || !recovery_.active() || snd_wnd_ == 0 || congestion_room() < send_mss_) return false;
  SendState& o = *out_;
  if (const Sent* doubtful = o.board.next_doubtful()) {
    retransmit(doubtful->begin, std::min(doubtful->length, send_mss_), "in doubt");
    return true;
  }
  const Sent* last = o.board.last_unsacked();
  if (o.rescued || last == nullptr || last->retransmitted) return false;
  o.rescued = true;  // (RFC6675-07)
  const std::uint32_t size = std::min(last->length, send_mss_);
  retransmit(last->end() - size, size, "rescue");
  return true;
}

// --- was it for nothing?
// ----------------------------------------------------------------------------------------------

// RFC 3522: the ACK that the first retransmission drew echoes a timestamp from before it: the first one had arrived.
void Connection::look_for_needless(const Arriving& s) {
  if (!negotiated_.timestamps || !s.options.has_timestamps || s.options.timestamps.echo == 0) return;
  if (!recovery_.repairing() || (recovery_.active() && out_->board.lost() > 0)) return;
  if (!out_->undo.proven_by_echo(s.options.timestamps.echo, snd_una_)) return;
  undo("the timestamp echoed is older than the first retransmission");
}

// RFC 4015: back to where it was; what was taken for lost is in flight.
void Connection::undo(const char* proof) {
  SendState& o = *out_;
  o.undo.stop();
  o.rack.on_reordering(0);
  if (tcp_.config.undo == Switch::kOff) return;  // the reduction stands (RFC5682-07)
  context_.counters.add(Counter::kTcpUndos);
  context_.emit({.kind = EventKind::kTcpUndo, .flow = number_, .a = snd_una_.value(), .detail = proof});
  if (recovery_.phase() == cc::Phase::kLoss) {
    context_.counters.add(Counter::kTcpSpuriousTimeouts);
    rto_.reset_backoff();
  }
  if (recovery_.repairing()) o.board.forget_losses();
  o.frto = Frto::kOff;
  recovery_.leave();
  cc_->on_undo({context_.now});
}

// RFC 5682 §3.1, after the first segment was sent again (RFC5682-06).
void Connection::step_frto(const Delivery& d, std::uint32_t acked) {
  SendState& o = *out_;
  if (o.frto == Frto::kOff) return;
  if (recovery_.over(snd_una_)) {  // (RFC5682-02)
    o.frto = Frto::kOff;
  } else if (o.frto == Frto::kFirstAck) {  // (RFC5682-03)
    if (acked == 0) return;
    const bool can_send = unsent() > 0 && snd_nxt_ - snd_una_ < snd_wnd_;
    o.frto = can_send ? Frto::kSecondAck : Frto::kOff;
  } else if (d.bytes > 0) {  // (RFC5682-04)
    o.frto = Frto::kOff;
    const bool original =
        d.first_fresh.length > 0 || (d.latest_fresh.length > 0 && d.latest_fresh.begin < recovery_.point());
    if (original) undo("what was never sent again has arrived after the timeout");
  }
}

// --- timers
// -----------------------------------------------------------------------------------------------------------

// One of them at a time watches what is in flight (RFC8985-22).
void Connection::arm_loss_timer() {
  SendState& o = *out_;
  loss_timer_ = LossTimer::kRetransmit;
  Instant at = o.retransmit_at;
  if (!o.reorder_at.is_never()) {
    loss_timer_ = LossTimer::kReorder;
    at = o.reorder_at;
  } else if (may_probe_tail()) {
    loss_timer_ = LossTimer::kTailProbe;
    at = std::min(at, o.probe.at);
  }
  timers_.set(TimerKind::kRetransmit, at);
}

// (RFC8985-15, -17)
bool Connection::may_probe_tail() const {
  const SendState& o = *out_;
  return negotiated_.sack && tcp_.config.tail_probe == Switch::kOn && !recovery_.repairing() && o.board.sacked() == 0 &&
         o.board.lost() == 0 && !o.probe.outstanding && o.probe.sampled && snd_wnd_ > 0 && timeouts_in_row_ == 0 &&
         flight() > 0;
}

// After new data or an ACK that advances (RFC8985-16).
void Connection::schedule_tail_probe() {
  Duration wait = kProbeUnmeasured;
  if (rto_.has_sample()) {
    wait = rto_.srtt() * 2 + (flight() <= send_mss_ ? kMaxAckDelay : tcp_.config.timer_slack);
  }
  out_->probe.at = context_.now + wait;
}

void Connection::on_reorder_timeout() {
  SendState& o = *out_;
  const Scoreboard::Found found = find_losses();
  o.prr.on_lost(found.bytes);
  turn(found, flight() - o.board.sacked());
  window_changed();
  output();
  if (flight() > 0) arm_loss_timer();
}

// (RFC8985-18)
void Connection::on_tail_probe_timeout() {
  SendState& o = *out_;
  o.probe.outstanding = true;
  o.probe.sampled = false;
  context_.counters.add(Counter::kTcpTailProbes);
  const std::uint32_t out = snd_nxt_ - snd_una_;
  const std::uint32_t fresh =
      std::min({unsent(), send_mss_, snd_wnd_ > out ? snd_wnd_ - out : 0, until_boundary(snd_nxt_)});
  o.probe.retransmission = fresh == 0;
  context_.emit({.kind = EventKind::kTcpProbe,
                 .flow = number_,
                 .a = snd_nxt_.value(),
                 .detail = fresh > 0 ? "tail loss, new data" : "tail loss"});
  if (fresh > 0) {
    transmit(snd_nxt_, fresh, Flags(Flags::kAck | (ends_push(snd_nxt_ + fresh) ? Flags::kPsh : 0)));
  } else if (const Sent* last = o.board.last_unsacked()) {
    const std::uint32_t size = std::min(last->length, send_mss_);
    retransmit(last->end() - size, size, "tail loss probe");
  }
  o.probe.end = snd_nxt_;
  start_retransmit_timer();  // (RFC8985-19)
}

// RFC 8985 §7.4.2. A probe that was sent again and not needed draws a duplicate ACK or a D-SACK; if neither comes
// before later data is acknowledged, it has repaired a loss (RFC8985-20), and that is a sign of congestion
// (RFC8985-21).
void Connection::step_tail_probe(const Arriving& s, const Delivery& d, std::uint32_t acked, bool repeated) {
  SendState& o = *out_;
  if (!o.probe.outstanding || s.ack < o.probe.end) return;
  const bool plain_duplicate = acked == 0 && d.sacked == 0 && !repeated && s.options.sack_count == 0;
  if (!o.probe.retransmission || plain_duplicate) {
    o.probe.outstanding = false;
  } else if (s.ack > o.probe.end) {
    o.probe.outstanding = false;
    if (recovery_.phase() != cc::Phase::kOpen) return;
    context_.emit({.kind = EventKind::kTcpRecoveryEnter,
                   .flow = number_,
                   .a = o.probe.end.value(),
                   .detail = "the tail loss probe repaired a loss"});
    cc_->on_congestion({.now = context_.now, .flight = to_be_reduced(flight() + acked)});
    cc_->on_recovery_done({context_.now, std::min(cc_->cwnd(), cc_->ssthresh())});
    context_.emit({.kind = EventKind::kTcpRecoveryExit, .flow = number_, .a = o.probe.end.value()});
  }
}

// What is outstanding is taken for lost; the first of it goes again, the rest as the window allows and without what
// SACKs report from now on (RFC6675-15).
void Connection::lose_by_timeout() {
  SendState& o = *out_;
  const bool again = recovery_.phase() == cc::Phase::kLoss;
  const bool plain = !recovery_.repairing();
  if (o.board.first_is_sacked()) {
    context_.counters.add(Counter::kTcpReneged);
    o.board.forget_sacks();  // (RFC2018-11, -12, -14)
  } else if (again) {
    o.board.forget_sacks();
  }
  if (!again) o.undo.start(snd_una_);
  o.frto = plain && tcp_.config.frto == Switch::kOn ? Frto::kFirstAck : Frto::kOff;  // (RFC5682-01)
  std::uint32_t lost = 0;
  if (tcp_.config.rack == Switch::kOn && o.rack.valid() && !again) {  // (RFC8985-14)
    const Duration wait = o.rack.rtt() + o.rack.window(true, min_rtt_.get(), rto_.srtt());
    const Sent later{.stamp = {.at = context_.now + Duration::nanos(1)}};
    lost = o.board.lose_first(send_mss_) + o.board.lose_sent_before(later, context_.now - wait).bytes;
  } else {
    lost = o.board.lose_all();
  }
  o.rate.on_lost(lost);
  o.reorder_at = Instant::never();
  o.probe.outstanding = false;
  o.send_one = true;
}

}  // namespace sluice::tcp
