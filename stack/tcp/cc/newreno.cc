#include "stack/tcp/cc/newreno.h"

#include <algorithm>

#include "stack/tcp/cc/slow_start.h"

namespace sluice::tcp::cc {

void NewReno::start(const Init& init) {
  mss_ = init.mss;
  initial_window_ = cwnd_ = init.initial_window;
  slow_start_segments_ = init.slow_start_segments;
}

// (RFC5681-16, -17, -26)
std::uint32_t NewReno::half_of(std::uint32_t flight) const {
  return std::max(flight / 2, 2 * mss_);
}

std::uint32_t NewReno::reduced(const Congestion& event) const {
  return half_of(event.flight);
}

void NewReno::on_ack(const Ack& ack) {
  if (window_falls(ack.phase) || !ack.cwnd_limited)
    return;                 // a window that was not used is not known to be safe (RFC 7661 §1)
  if (cwnd_ < ssthresh_) {  // slow start (RFC5681-10)
    cwnd_ += slow_start_step(ack.acked, mss_, after_timeout_ ? kAfterTimeout : slow_start_segments_);
  } else {  // congestion avoidance: one SMSS for each window acknowledged (RFC5681-12, -13, -14, -15)
    after_timeout_ = false;
    bytes_acked_ += ack.acked;
    if (bytes_acked_ >= cwnd_) {
      bytes_acked_ -= cwnd_;
      cwnd_ += mss_;
    }
  }
  cwnd_ = std::min(cwnd_, kMaxWindow);
}

void NewReno::on_congestion(const Congestion& event) {
  remember();
  recovering_ = true;
  cwnd_ = ssthresh_ = reduced(event);  // (RFC5681-09)
  bytes_acked_ = 0;
}

void NewReno::on_recovery_done(const RecoveryDone& event) {
  cwnd_ = event.window;
  recovering_ = false;
  bytes_acked_ = 0;
}

void NewReno::remember() {
  prior_cwnd_ = cwnd_;
  prior_ssthresh_ = ssthresh_;
}

void NewReno::on_undo(const Undo&) {
  cwnd_ = std::max(cwnd_, prior_cwnd_);
  ssthresh_ = std::max(ssthresh_, prior_ssthresh_);
  recovering_ = after_timeout_ = false;
}

// In recovery a retransmission was lost: the second congestion (RFC5681-38). What inflation let out does not count
// then.
void NewReno::on_timeout(const Timeout& event) {
  if (event.first) {
    if (!recovering_) remember();
    ssthresh_ = half_of(recovering_ ? std::min(event.flight, ssthresh_) : event.flight);
  }
  recovering_ = false;
  cwnd_ = mss_;  // (RFC5681-18)
  after_timeout_ = true;
  bytes_acked_ = 0;
}

// The restart window (RFC5681-32); ssthresh remembers what the path took (RFC 2861 §3).
void NewReno::on_idle(const Idle&) {
  ssthresh_ = std::max(ssthresh_, cwnd_ - cwnd_ / 4);
  cwnd_ = std::min(cwnd_, initial_window_);
}

void NewReno::on_mss_change(std::uint32_t mss) {
  cwnd_ = resized(cwnd_, mss_, mss);
  initial_window_ = resized(initial_window_, mss_, mss);
  ssthresh_ = std::max(ssthresh_, mss);
  mss_ = mss;
}

}  // namespace sluice::tcp::cc
