// How much of the congestion window is used: a window that the sender does not fill says nothing about the path, and
// must not grow (RFC 9293 §3.8.2, RFC 7661 §4.1). All in bytes.
#pragma once

#include <cstdint>

#include "stack/tcp/seq.h"

namespace sluice::tcp {

class CwndUsage {
 public:
  // After sending. `limited`: the window, not the application or the peer, stopped it. The strongest sign within a
  // window of data holds until that is acknowledged: an ACK for its beginning finds less in flight than there was.
  void on_output(bool limited, std::uint32_t flight, Seq snd_una, Seq snd_nxt) {
    const bool over = snd_una >= until_;
    if (!over && !limited && (limited_ || flight <= most_)) return;
    limited_ = limited;
    most_ = flight;
    until_ = snd_nxt;
  }
  // In slow start a window grows to twice what was in flight: what filled half of it can fill it in a round trip.
  [[nodiscard]] bool may_grow(std::uint32_t cwnd, std::uint32_t ssthresh) const {
    return limited_ || (cwnd < ssthresh && cwnd / 2 < most_);
  }

 private:
  Seq until_;
  std::uint32_t most_ = 0;
  bool limited_ = false;
};

}  // namespace sluice::tcp
