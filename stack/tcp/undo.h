// Was the last reduction of the window for nothing? Two proofs: the peer reports every retransmission as a duplicate
// (RFC 2883, RFC 3708), or it echoes a timestamp from before the first of them (Eifel detection, RFC 3522).
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.h"

namespace sluice::tcp {

class Undo {
 public:
  // Losses are found, with snd_una outstanding.
  void start(Seq snd_una) {
    from_ = snd_una;
    unproven_ = 0;
    retransmitted_ = false;
    armed_ = true;
  }
  void stop() { armed_ = false; }

  void on_retransmit(Seq end, std::uint32_t bytes, std::uint32_t ticks) {
    if (!retransmitted_) first_ticks_ = ticks;
    highest_ = retransmitted_ ? max(highest_, end) : end;
    retransmitted_ = true;
    unproven_ += bytes;
  }
  // D-SACK. True when with it all that was sent again has been reported.
  bool on_duplicate(Seq begin, Seq end) {
    if (!armed_ || !retransmitted_ || end <= from_) return false;
    unproven_ -= std::min(unproven_, end - max(begin, from_));
    return unproven_ == 0;
  }
  // An ACK that advanced SND.UNA echoes this timestamp. It says something about what it covers only: as long as more
  // was sent again than that, some of it may have been lost.
  [[nodiscard]] bool proven_by_echo(std::uint32_t echo, Seq snd_una) const {
    return armed_ && retransmitted_ && highest_ <= snd_una && static_cast<std::int32_t>(echo - first_ticks_) < 0;
  }
  [[nodiscard]] bool armed() const { return armed_; }

 private:
  Seq from_;
  Seq highest_;                 // end of what was sent again
  std::uint32_t unproven_ = 0;  // bytes sent again and not reported
  std::uint32_t first_ticks_ = 0;
  bool retransmitted_ = false;
  bool armed_ = false;
};

}  // namespace sluice::tcp
