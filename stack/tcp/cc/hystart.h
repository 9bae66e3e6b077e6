// HyStart++ (RFC 9406): leaves the first slow start when round trips grow, before the queue overflows. When they did
// for a moment only, slow start resumes. Knows no window; says by how much it may grow.
#pragma once

#include "stack/tcp/cc/congestion.h"

namespace sluice::tcp::cc {

class HyStart {
 public:
  enum class State : std::uint8_t {
    kOff,  // not asked for
    kSlowStart,
    kConservative,  // CSS: slower, to find out whether the delay stays
    kDone,          // congestion avoidance may begin
  };

  void start(const Init& init);
  void stop();  // after a loss, a mark or a timeout (RFC9406-08, -11)

  // Of an ACK in slow start: bytes by which cwnd grows.
  std::uint32_t on_ack(const Ack& ack, std::uint32_t mss);
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] std::uint32_t most_segments() const { return most_segments_; }  // by which an ACK may count

 private:
  void next_round();
  void look();

  State state_ = State::kOff;
  std::uint8_t most_segments_ = 8;  // an ACK
  std::uint8_t samples_ = 0;        // in this round, counted as far as needed
  std::uint8_t conservative_rounds_ = 0;
  ShortDuration round_min_ = Duration::max();
  ShortDuration last_round_min_ = Duration::max();
  ShortDuration baseline_ = Duration::max();  // round_min_ that led into CSS
};

}  // namespace sluice::tcp::cc
