// The congestion window while losses are repaired without SACK: inflated by each duplicate ACK, which says that a
// segment has left the network, and deflated by what a partial ACK covers (RFC 5681 §3.2, RFC 6582 §3.2). All in bytes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp {

class InflatedWindow {
 public:
  // The three segments whose duplicate ACKs were counted have left (RFC5681-27). Until something is acknowledged no
  // more can leave than the `flight` that there is now, however many duplicate ACKs a peer makes up (RFC5681-29).
  void enter(std::uint32_t ssthresh, std::uint32_t mss, std::uint32_t flight) {
    ssthresh_ = ssthresh;
    window_ = ssthresh + 3 * mss;
    most_ = std::max(ssthresh + flight, window_);
  }
  // (RFC5681-28)
  void on_duplicate_ack(std::uint32_t mss) { window_ = std::max(window_, std::min(window_ + mss, most_)); }

  // Deflate by what was acknowledged, add back one segment if that was at least one (RFC6582-05).
  void on_partial_ack(std::uint32_t acked, std::uint32_t mss, std::uint32_t flight) {
    window_ -= std::min(acked, window_ - std::min(mss, window_));
    if (acked >= mss) window_ += mss;
    most_ = window_ + flight;
  }
  // What to go on with when all is repaired: RFC 6582 §3.2 step 3, option 1 (RFC6582-03): no burst when little is in
  // flight (RFC5681-31, RFC6582-04).
  [[nodiscard]] std::uint32_t at_the_end(std::uint32_t flight, std::uint32_t mss) const {
    return std::min(ssthresh_, std::max(flight, mss) + mss);
  }
  [[nodiscard]] std::uint32_t window() const { return window_; }

 private:
  std::uint32_t ssthresh_ = 0;
  std::uint32_t window_ = 0;
  std::uint32_t most_ = 0;  // of the window, before the next ACK for something new
};

}  // namespace sluice::tcp
