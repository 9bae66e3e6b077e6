// Proportional rate reduction: how much may be sent for what an ACK has delivered while losses are repaired, so that
// the window falls evenly to ssthresh and what is sent never bursts (RFC 9937). All in bytes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp {

class Prr {
 public:
  // A reduction begins (RFC9937-01). `recover_fs`: what was outstanding and not SACKed before the ACK that showed the
  // loss; `in_flight`: without what is lost.
  void start(std::uint32_t ssthresh, std::uint32_t recover_fs, std::uint32_t in_flight) {
    ssthresh_ = ssthresh;
    recover_fs_ = std::max(recover_fs, 1u);
    delivered_ = out_ = 0;
    window_ = in_flight;
  }

  // `safe`: SND.UNA advanced, and no new loss showed (RFC9937-05).
  void on_ack(std::uint32_t delivered, std::uint32_t in_flight, bool safe, std::uint32_t mss) {
    if (delivered == 0) return;  // (RFC9937-02)
    delivered_ += delivered;
    std::uint64_t wanted = 0;  // of prr_out, and SndCnt is what is missing
    if (in_flight > ssthresh_) {
      wanted = (delivered_ * ssthresh_ + recover_fs_ - 1) / recover_fs_;  // (RFC9937-03)
    } else {                                                              // (RFC9937-04)
      wanted = std::max(delivered_, out_ + delivered) + (safe ? mss : 0);
      wanted = std::min<std::uint64_t>(wanted, out_ + (ssthresh_ - in_flight));
    }
    std::uint64_t count = wanted > out_ ? wanted - out_ : 0;
    if (out_ == 0 && count == 0) count = mss;  // a fast retransmission at least (RFC9937-06)
    window_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(in_flight + count, kMost));
  }
  // Found lost by a timer, between ACKs: it makes no room.
  void on_lost(std::uint32_t bytes) { window_ -= std::min(bytes, window_); }
  void on_sent(std::uint32_t bytes) { out_ += bytes; }  // (RFC9937-08)

  [[nodiscard]] std::uint32_t window() const { return window_; }  // cwnd until the next ACK

 private:
  static constexpr std::uint32_t kMost = 1u << 30;  // the largest window there is (RFC 7323 §2.3)
  std::uint64_t delivered_ = 0;                     // prr_delivered
  std::uint64_t out_ = 0;                           // prr_out
  std::uint32_t ssthresh_ = 0;
  std::uint32_t recover_fs_ = 1;
  std::uint32_t window_ = 0;
};

}  // namespace sluice::tcp
