// Urgent data: RFC 9293 §3.8.5 with the meaning that RFC 6093 gives the pointer: it points behind the last urgent byte,
// which is "the" urgent byte. To TCP it is part of the stream as any other (RFC9293-MUST-31); a mark says where it is.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.h"

namespace sluice::tcp {

// Of what we receive.
class UrgentMark {
 public:
  // The peer points at `last` while the user has read up to `next`. True when the mark appears or moves forward: that
  // is to be told (RFC9293-MUST-32, RFC9293-URG-01). What points back, or at what has been read, is no news
  // (RFC9293-URG-02).
  bool point_to(Seq last, Seq next) {
    if (last < next || (ahead_ && last <= at_)) return false;
    at_ = last;
    ahead_ = true;
    taken_ = false;
    return true;
  }
  // The user has read up to `next`.
  void read_up_to(Seq next) {
    if (ahead_ && at_ < next) ahead_ = false;
  }
  void take() { taken_ = true; }

  [[nodiscard]] bool ahead() const { return ahead_; }  // not read yet (RFC9293-MUST-33)
  [[nodiscard]] bool taken() const { return taken_; }  // read apart from the stream
  [[nodiscard]] Seq at() const { return at_; }

 private:
  Seq at_;
  bool ahead_ = false;
  bool taken_ = false;
};

// Of what we send.
class UrgentPointer {
 public:
  void set(Seq behind_last) {
    end_ = behind_last;
    on_ = true;
  }
  // For a segment that begins at `seq`; 0: none. What is farther off than the field can say points as far as it can.
  [[nodiscard]] std::uint16_t field(Seq seq) const {
    if (!on_ || end_ <= seq) return 0;
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(end_ - seq, UINT16_MAX));
  }
  void on_acknowledged(Seq una) {
    if (on_ && end_ <= una) on_ = false;
  }
  [[nodiscard]] bool on() const { return on_; }

 private:
  Seq end_;
  bool on_ = false;
};

}  // namespace sluice::tcp
