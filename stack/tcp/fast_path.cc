// Header prediction: what a segment that brings nothing unexpected takes (Jacobson, 1990).
#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

// The two commonest segments, without the steps of segment_input.cc: the next data in order, and an ACK that advances
// the window. Off unless all of this holds: ESTABLISHED; no flags but ACK and PSH; options are the expected timestamps
// or none; the segment is the next in order; the send window does not change; nothing is out of order, lost or being
// probed; no congestion mark came, or is being echoed; marks are not counted (RFC 9768).
bool Connection::fast_path(Arriving& s) {
  if (s.ecn == kEcnCongestion || ecn_.echo() || accurate_ecn()) return false;
  if (state_ != State::kEstablished || (s.header.flags.bits() & ~Flags::kPsh) != Flags::kAck || s.seq != rcv_nxt_) {
    return false;
  }
  if (s.options.has_timestamps != negotiated_.timestamps || reassembly_.something_to_report() || fin_seen_ ||
      recovery_.phase() != cc::Phase::kOpen || (out_ != nullptr && !out_->quiet())) {
    return false;
  }
  if (std::uint32_t{s.header.window} << negotiated_.send_scale != snd_wnd_ || snd_wnd_ == 0 || snd_nxt_ != snd_max_) {
    return false;
  }
  if (negotiated_.timestamps && is_older(s.options.timestamps.value)) return false;
  return s.payload.empty() ? fast_ack(s) : fast_data(s);
}

bool Connection::fast_ack(const Arriving& s) {
  if (s.ack <= snd_una_ || s.ack > snd_max_ || recovery_.duplicates() > 0 || s.options.sack_count > 0) return false;
  context_.counters.add(Counter::kTcpFastPath);
  accept_timestamp(s);
  new_ack(s);
  snd_wl1_ = s.seq;
  snd_wl2_ = s.ack;
  want_output();
  return true;
}

bool Connection::fast_data(Arriving& s) {
  if (s.ack != snd_una_ || s.payload.size() > window_.size(rcv_nxt_) || detached_) return false;
  context_.counters.add(Counter::kTcpFastPath);
  accept_timestamp(s);
  snd_wl1_ = s.seq;
  store_in_order(s);
  notify();
  return true;
}

}  // namespace sluice::tcp
