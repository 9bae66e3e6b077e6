// What a connection tells of itself: RFC 9293 §3.10.6, and what TCP_INFO asks for.
#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

Info Connection::info() const {  // (RFC9293-STATUS-01)
  Info i;
  i.state = state_;
  i.snd_una = snd_una_.value();
  i.snd_nxt = snd_max_.value();
  i.snd_wnd = snd_wnd_;
  i.rcv_nxt = rcv_nxt_.value();
  i.rcv_wnd = window_.size(rcv_nxt_);
  i.send_mss = send_mss_;
  i.receive_mss = receive_mss_;
  if (cc_ != nullptr) {
    i.cwnd = congestion_window();
    i.ssthresh = cc_->ssthresh();
    i.congestion = cc_->name();
    i.pacing_rate = pacer_.rate();
    i.max_pacing_rate = options_->max_pacing_rate;
  }
  i.flight = flight();
  i.send_scale = negotiated_.send_scale;
  i.receive_scale = negotiated_.receive_scale;
  i.timestamps = negotiated_.timestamps;
  i.window_scaling = negotiated_.window_scaling;
  i.sack = negotiated_.sack;
  i.ecn = negotiated_.ecn != EcnMode::kNone;
  i.ecn_seen = accurate_ecn() ? rare_->accurate_ecn->seen() : ecn_.seen();
  i.accurate_ecn = accurate_ecn();
  if (i.accurate_ecn) i.ecn_counts = rare_->accurate_ecn->totals();
  i.srtt = rto_.srtt();
  i.rttvar = rto_.rttvar();
  i.rto = rto_.rto();
  i.timeouts_in_row = timeouts_in_row_;
  i.backoff = static_cast<std::uint32_t>(rto_.backoff());
  i.quick_ack = quick_acks_ > 0 || tcp_.config.delayed_ack == Switch::kOff;
  i.recovering = recovery_.active();
  i.syn_data_acked = syn_data_acked_;
  i.fast_open_failure = fast_open_failure_;
  i.unsent = unsent();
  i.path_mtu = route_.mtu;
  i.advertised_mss = advertised_mss();
  i.since_data_sent = last_sent_at_ == Instant::past() ? Duration() : context_.now - last_sent_at_;
  i.since_data_received = Duration::millis(cc_ != nullptr ? now_ticks() - last_data_ticks_ : 0);
  i.since_ack_received = context_.now - last_received_at_;
  i.send_queued = send_queue_.bytes();
  i.receive_queued = receive_queue_.bytes();
  i.send_buffer = send_tuning_.buffer();
  i.receive_buffer = receive_tuning_.buffer();
  i.receive_rtt = receive_tuning_.rtt();
  i.busy_time = limit_times_.busy(context_.now);
  i.peer_limited_time = limit_times_.of(LimitTimes::Reason::kPeerWindow, context_.now);
  i.buffer_limited_time = limit_times_.of(LimitTimes::Reason::kSendBuffer, context_.now);
  describe_traffic(i);
  describe_recovery(i);
  return i;
}

void Connection::describe_traffic(Info& i) const {
  i.bytes_sent = bytes_sent_;
  i.bytes_received = bytes_received_;
  i.bytes_retransmitted = rare_view().bytes_retransmitted;
  i.bytes_acked = bytes_acked_;
  i.retransmits = rare_view().retransmits;
  i.timeouts = rare_view().timeouts;
  i.probes = static_cast<std::uint32_t>(rare_view().probe_backoff + keep_alive_probes_);
  i.segments_in = segments_in_;
  i.segments_out = segments_out_;
  i.data_segments_in = data_segments_in_;
  i.data_segments_out = data_segments_out_;
  i.out_of_order = rare_view().out_of_order;
}

}  // namespace sluice::tcp
