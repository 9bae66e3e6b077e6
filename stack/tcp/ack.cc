// What an ACK changes at the sender: round trips (RFC 6298), the send queue, what congestion control is told; and,
// where SACK was not agreed, the repair of losses (RFC 5681 §3.2, RFC 6582).
#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

void Connection::duplicate_ack(const Arriving&) {
  context_.counters.add(Counter::kTcpDuplicateAcks);
  // FlightSize does not count what limited transmit sent: one segment for each of the first two (RFC5681-26).
  const std::uint32_t limited = tcp_.config.limited_transmit == Switch::kOn
                                    ? static_cast<std::uint32_t>(std::min(recovery_.duplicates(), 2)) * send_mss_
                                    : 0;
  if (recovery_.duplicates() == Recovery::kThreshold - 1 && only_mtu_probe_lost(0)) {
    recovery_.count_duplicate();
    mtu_probe_lost();
    return resend_mtu_probe();
  }
  const cc::Phase before = recovery_.phase();
  switch (recovery_.on_duplicate_ack(snd_una_, snd_max_)) {
    case Recovery::OnDuplicate::kNothing:
    case Recovery::OnDuplicate::kLimitedTransmit:  // usable_window() knows
      break;
    case Recovery::OnDuplicate::kInflate:
      rare().recovery_window.on_duplicate_ack(send_mss_);
      break;
    case Recovery::OnDuplicate::kEnter:
      context_.counters.add(Counter::kTcpFastRetransmits);
      context_.emit({.kind = EventKind::kTcpRecoveryEnter, .flow = number_, .a = recovery_.point().value()});
      if (before != cc::Phase::kReducing) {
        cc_->on_congestion({.now = context_.now, .flight = to_be_reduced(flight() - std::min(limited, flight()))});
      }
      rare().recovery_window.enter(cc_->ssthresh(), send_mss_, flight());
      window_changed();
      retransmit_first("third duplicate ACK");
      start_retransmit_timer();
      break;
  }
}

Duration Connection::echoed_rtt(const Arriving& s) const {
  if (!negotiated_.timestamps || !s.options.has_timestamps || s.options.timestamps.echo == 0) return {};
  const std::uint32_t elapsed = now_ticks() - s.options.timestamps.echo;
  return static_cast<std::int32_t>(elapsed) >= 0 ? std::max(Duration::millis(elapsed), 1_ms) : Duration();
}

// Of a SYN that was sent once; else by the timestamp (RFC6298-10, RFC9293-MUST-18).
void Connection::measure_handshake(const Arriving& s) {
  const Duration rtt = timing_ ? std::max(context_.now - progress_at_, Duration::micros(1)) : echoed_rtt(s);
  timing_ = false;
  if (rtt == Duration()) return;
  min_rtt_.sample(context_.now, rtt);
  take_rtt(rtt);
}

// From a segment that was sent once, to the nanosecond (RFC6298-10, RFC9293-MUST-18): the first that is acknowledged in
// sequence, so that the peer's delay counts, else the latest SACKed. When all were sent again, from the timestamp echo
// if the ACK advances (RFC7323-24). Either way one a round trip at least (RFC6298-11).
Duration Connection::measure_rtt(const Arriving& s, const Delivery& d, std::uint32_t acked) {
  const Sent& timed = d.first_fresh.length > 0 ? d.first_fresh : d.latest_fresh;
  Duration sample;
  if (timed.length > 0) {
    sample = std::max(context_.now - timed.stamp.at, Duration::micros(1));
  } else if (acked > 0) {
    sample = echoed_rtt(s);
  }
  if (sample == Duration()) return {};
  const Duration least = d.latest_fresh.length > 0 ? context_.now - d.latest_fresh.stamp.at : sample;
  min_rtt_.sample(context_.now, std::max(least, Duration::micros(1)));
  if (out_ != nullptr) out_->probe.sampled = true;
  take_rtt(sample);
  return std::max(least, Duration::micros(1));
}

void Connection::take_rtt(Duration sample) {
  // RFC 7323 App. G (RFC7323-25).
  const std::uint32_t per_round_trip = negotiated_.timestamps ? flight() / (2 * send_mss_) : 1;
  rto_.sample(sample, static_cast<int>(std::max<std::uint32_t>(per_round_trip, 1)));
  context_.emit({.kind = EventKind::kTcpRtt, .flow = number_, .a = sample.to_nanos(), .b = rto_.srtt().to_nanos()});
}

// SND.UNA moves to `ack`; by how much. Only this frees data: what is SACKed stays (RFC2018-15).
std::uint32_t Connection::advance(Seq ack, Delivery& d) {
  const std::uint32_t acked = ack - snd_una_;
  snd_una_ = ack;
  snd_nxt_ = max(snd_nxt_, snd_una_);
  if (snd_una_ > data_base_) {
    const auto data = std::min<std::size_t>(snd_una_ - data_base_, send_queue_.bytes());
    send_queue_.discard(data);
    data_base_ += static_cast<std::uint32_t>(data);
    bytes_acked_ += data;
  }
  if (send_marks_ != nullptr) {
    send_marks_->ends.acknowledge(ack);
    tell_progress();
  }
  if (out_ != nullptr) {
    out_->board.acknowledge(ack, d);
  } else {
    d.bytes += acked;
  }
  if (d.latest.length >= send_mss_) full_size_arrived_ = true;
  if (rare_ != nullptr) rare_->on_progress(snd_una_);
  held_ = false;
  timeouts_in_row_ = 0;
  rto_.reset_backoff();
  progress_at_ = context_.now;
  return acked;
}

// Of what an ACK acknowledges: without what had arrived before, as SACKs or, where there are none, duplicate ACKs say.
std::uint32_t Connection::delivered_by(const Delivery& d, std::uint32_t acked) const {
  if (negotiated_.sack) return std::min(acked, d.bytes);
  return acked - std::min(acked, static_cast<std::uint32_t>(recovery_.duplicates()) * send_mss_);
}

// What congestion control is told of an ACK. `before`: what was in flight.
cc::Ack Connection::account(const Arriving& s, const Delivery& d, std::uint32_t acked, std::uint32_t before) {
  const std::uint32_t marked = take_marks(s, d.bytes);
  cc::Ack ack{.now = context_.now,
              .acked = tcp_.config.count_sacked == Switch::kOn ? acked : delivered_by(d, acked),
              .delivered = d.bytes,
              .marked = marked,
              .flight = before,
              .rtt = measure_rtt(s, d, acked),
              .min_rtt = min_rtt_.get(),
              .phase = phase_seen(s),
              .cwnd_limited = cwnd_usage_.may_grow(cc_->cwnd(), cc_->ssthresh())};
  delivered_ += d.bytes;
  ack.total_delivered = delivered_;
  if (out_ != nullptr) out_->rate.on_delivery(d, ack);
  best_rate_.on_sample(ack.rate);
  return ack;
}

// In the fast path, and where SACK was not agreed.
void Connection::new_ack(const Arriving& s) {
  const std::uint32_t before = in_flight();
  Delivery d;
  const std::uint32_t acked = advance(s.ack, d);
  congestion_on_ack(account(s, d, acked, before));
  after_advance();
}

void Connection::after_advance() {
  if (mtu_probe_out() && snd_una_ >= rare_->mtu_search.end()) mtu_probe_acknowledged();
  if (flight() == 0) {
    timers_.cancel(TimerKind::kRetransmit);  // (RFC6298-15)
    let_go_of_send_state();
  } else if (!recovery_.active() || negotiated_.sack) {
    if (out_ != nullptr) schedule_tail_probe();
    start_retransmit_timer();  // (RFC6298-16)
  }
  if (fin_sent_ && snd_una_ == data_end() + 1) fin_acknowledged();
  if (route_.interface != ip::kLoopback) tcp_.ip.confirm_reachable(route_);
  if (tcp_.config.count_memory == Switch::kOff && user_ != nullptr && writable()) notify();
}

void Connection::congestion_on_ack(const cc::Ack& ack) {
  const Recovery::OnAck what = recovery_.on_ack(snd_una_);
  cc_->on_ack(ack);
  switch (what) {
    case Recovery::OnAck::kOpen:
      break;
    case Recovery::OnAck::kFirstPartial:
      start_retransmit_timer();
      [[fallthrough]];
    case Recovery::OnAck::kPartial:
      rare().recovery_window.on_partial_ack(ack.acked, send_mss_, flight());
      retransmit_first("partial ACK");
      break;
    case Recovery::OnAck::kDone:
      cc_->on_recovery_done({context_.now, rare().recovery_window.at_the_end(flight(), send_mss_)});
      context_.emit({.kind = EventKind::kTcpRecoveryExit, .flow = number_, .a = snd_una_.value()});
      break;
  }
  tune_send_buffer();
  window_changed();
}

}  // namespace sluice::tcp
