// What happens when a timer fires: RFC 6298 §5, RFC 9293 §3.8.3 (giving up), §3.8.4 (keep-alive), §3.8.6.1 (probes),
// §3.10.8.
#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
// R1: retransmissions in a row after which the way to the peer is in doubt (RFC9293-SHLD-10).
constexpr std::uint32_t kDoubtful = 3;
constexpr Duration kOrphanPatience = 120_s;  // for a closed window, once nobody reads here any more (RFC 6429)
}  // namespace

void Connection::on_timer() {
  const Instant now = context_.now;
  if (timers_.take_due(TimerKind::kDelayedAck, now) && ack_due_ == Ack::kDelayed) send_ack();
  if (timers_.take_due(TimerKind::kOverride, now) && synchronized()) {  // also what is queued before our FIN
    const std::uint32_t size = std::min({unsent(), usable_window(), send_mss_, until_boundary(snd_nxt_)});
    if (size > 0) transmit(snd_nxt_, size, Flags(Flags::kAck | Flags::kPsh));
    output();
  }
  if (timers_.take_due(TimerKind::kPacing, now)) output();
  if (timers_.take_due(TimerKind::kPersist, now)) on_persist_timeout();
  if (timers_.take_due(TimerKind::kRetransmit, now)) on_loss_timeout();
  if (timers_.take_due(TimerKind::kKeepAlive, now)) on_keep_alive_timeout();
  if (timers_.take_due(TimerKind::kFinWait2, now) && state_ == State::kFinWait2) finish();
  if (state_ != State::kClosed && state_ != State::kTimeWait) timers_.rearm();
}

// From now on: nothing is sent again sooner than one RTO after it was sent last (RFC6298-13), nor more often than the
// doubling RTO allows (RFC6298-01, RFC9293-MUST-19).
void Connection::start_retransmit_timer() {
  Instant at = context_.now + rto_.rto();
  if (options_->user_timeout != 0) {  // who waits no longer than this is told then, not when the RTO is over
    at = std::min(at, std::max(context_.now, progress_at_ + Duration::millis(options_->user_timeout)));
  }
  if (out_ == nullptr || !negotiated_.sack || !synchronized()) {
    loss_timer_ = LossTimer::kRetransmit;
    return timers_.set(TimerKind::kRetransmit, at);
  }
  out_->retransmit_at = at;
  arm_loss_timer();
}

void Connection::on_loss_timeout() {
  switch (loss_timer_) {
    case LossTimer::kRetransmit:
      return on_retransmit_timeout();
    case LossTimer::kReorder:
      return on_reorder_timeout();
    case LossTimer::kTailProbe:
      return on_tail_probe_timeout();
  }
}

bool Connection::gave_up(Duration limit) const {
  if (options_->user_timeout != 0) limit = Duration::millis(options_->user_timeout);  // RFC 5482 (RFC9293-MUST-21)
  return context_.now - progress_at_ >= limit;
}

// An ICMP error that came meanwhile says more than that time is over, as on Linux (RFC9293-MUST-47).
void Connection::give_up() {
  const Errno heard = take_soft_error();
  fail_with(heard != Errno::kOk ? heard : Errno::kTimedOut);
}

void Connection::on_retransmit_timeout() {
  context_.counters.add(Counter::kTcpTimeouts);
  context_.emit({.kind = EventKind::kTcpTimeout,
                 .flow = number_,
                 .a = static_cast<int>(TimerKind::kRetransmit),
                 .b = rto_.backoff(),
                 .detail = "retransmission"});
  ++rare().timeouts;
  timing_ = false;
  if (!synchronized()) {  // SYN or SYN-ACK (RFC9293-MUST-22, -23)
    const bool enough = options_->syn_count != 0 && rare_view().timeouts > options_->syn_count;
    const bool over = enough || gave_up(options_->syn_count != 0 ? Duration::max() : tcp_.config.r2_syn);
    fast_open_timed_out(over);
    if (over) return give_up();
    ++syn_repeats_;
    rto_.back_off();
    context_.counters.add(Counter::kTcpRetransmits);
    send_syn();
    return start_retransmit_timer();
  }
  if (flight() == 0) return;
  const bool with_sack = negotiated_.sack && out_ != nullptr;
  // A window that closed over data in flight is probed like any other (RFC9293-MUST-35), for as long as the probes are
  // answered (RFC9293-SHLD-17).
  if (snd_wnd_ == 0) {
    if (with_sack) {
      (void)out_->board.lose_all();
    } else {
      snd_nxt_ = snd_una_;
    }
    return on_persist_timeout();
  }
  if (gave_up(tcp_.config.r2)) return give_up();  // R2 (RFC9293-MUST-20, -TMO-01, -SHLD-11)
  if (rare_view().doubtful_mtu != 0) believe_path_mtu();
  cc_->on_timeout({.now = context_.now, .flight = to_be_reduced(flight()), .first = timeouts_in_row_ == 0});
  window_changed();
  if (timeouts_in_row_ < UINT8_MAX) ++timeouts_in_row_;
  if (timeouts_in_row_ == kDoubtful) tcp_.ip.doubt_reachable(route_);  // (RFC9293-MUST-20)
  suspect_black_hole();
  fast_open_timed_out(false);
  if (with_sack) lose_by_timeout();
  recovery_.on_timeout(snd_max_);  // (RFC6582-07)
  rto_.back_off();                 // (RFC6298-18)
  // The earliest unacknowledged segment goes now (RFC6298-17, RFC9293-TMO-02), what follows as ACKs open the window.
  if (with_sack) {
    output();
  } else {
    snd_nxt_ = snd_una_;
    retransmit_first("timeout");
  }
  start_retransmit_timer();  // (RFC6298-19)
}

void Connection::on_persist_timeout() {
  if (detached_ && context_.now - last_sent_at_ > kOrphanPatience) return give_up();
  if (gave_up(tcp_.config.r2)) return give_up();  // answered probes count as progress (RFC9293-MAY-8)
  probe_window();
  ++rare().probe_backoff;
  Duration wait = rto_.rto();  // (RFC9293-SHLD-30)
  for (int i = 0; i < rare_view().probe_backoff && wait < tcp_.config.max_rto; ++i) wait = wait * 2;
  timers_.set(TimerKind::kPersist, context_.now + std::min(wait, tcp_.config.max_rto));
}

// RFC 9293 §3.8.4 (RFC9293-MAY-5): off unless asked for (RFC9293-MUST-24, -MUST-25), after a time that can be chosen
// (RFC9293-MUST-27); a probe is an empty segment just below the window, which draws an ACK (RFC9293-SHLD-12).
void Connection::restart_keep_alive() {
  if (options_->keep_alive == Switch::kOff || !synchronized()) return timers_.cancel(TimerKind::kKeepAlive);
  timers_.set(TimerKind::kKeepAlive, last_received_at_ + Duration::seconds(options_->keep_idle));
}

// Never after the first one (RFC9293-MUST-29). A user timeout takes the place of the number of probes.
bool Connection::keep_alive_gave_up(Duration silence) const {
  if (options_->user_timeout == 0) return keep_alive_probes_ >= options_->keep_count;
  return keep_alive_probes_ > 0 && silence >= Duration::millis(options_->user_timeout);
}

void Connection::on_keep_alive_timeout() {
  const Duration silence = context_.now - last_received_at_;
  if (silence < Duration::seconds(options_->keep_idle)) return restart_keep_alive();
  if (flight() > 0 || unsent() > 0) {  // other timers see to it that it is answered (RFC9293-MUST-26)
    return timers_.set(TimerKind::kKeepAlive, context_.now + Duration::seconds(options_->keep_idle));
  }
  if (keep_alive_gave_up(silence)) return give_up();
  if (keep_alive_probes_ < UINT8_MAX) ++keep_alive_probes_;
  context_.counters.add(Counter::kTcpKeepAlives);
  context_.emit({.kind = EventKind::kTcpProbe, .flow = number_, .detail = "keep-alive"});
  probe_below_window();
  timers_.set(TimerKind::kKeepAlive, context_.now + Duration::seconds(options_->keep_interval));
}

}  // namespace sluice::tcp
