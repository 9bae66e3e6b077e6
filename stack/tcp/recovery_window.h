// The congestion window while losses are repaired without SACK: inflated by each duplicate ACK, which says that a
// segment has left the network, and deflated by what a partial ACK covers (RFC 5681 §3.2, RFC 6582 §3.2). All in bytes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp {

class InflatedWindow {
 public:
  // The three segments whose duplicate ACKs were counted have left (RFC5681-27).
  void enter(std::uint32_t ssthresh, std::uint32_t mss) {
    ssthresh_ = ssthresh;
    window_ = ssthresh + 3 * mss;
  }
  void on_duplicate_ack(std::uint32_t mss) { window_ = std::min(window_ + mss, kMost); }  // (RFC5681-28)

  // Deflate by what was acknowledged, add back one segment if that was at least one (RFC6582-05).
  void on_partial_ack(std::uint32_t acked, std::uint32_t mss) {
    window_ -= std::min(acked, window_ - std::min(mss, window_));
    if (acked >= mss) window_ += mss;
  }
  // What to go on with when all is repaired: RFC 6582 §3.2 step 3, option 1 (RFC6582-03): no burst when little is in
  // flight (RFC5681-31).
  [[nodiscard]] std::uint32_t at_the_end(std::uint32_t flight, std::uint32_t mss) const {
    return std::min(ssthresh_, std::max(flight, mss) + mss);
  }
  [[nodiscard]] std::uint32_t window() const { return window_; }

 private:
  static constexpr std::uint32_t kMost = 1u << 30;  // the largest window there is (RFC 7323 §2.3)
  std::uint32_t ssthresh_ = 0;
  std::uint32_t window_ = 0;
};

}  // namespace sluice::tcp
