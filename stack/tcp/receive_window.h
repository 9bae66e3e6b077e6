// The window we offer: scaling (RFC 7323 §2), silly-window avoidance (RFC 9293 §3.8.6.2.2, RFC9293-MUST-39), and the
// promise that its right edge never moves back (RFC9293-SHLD-14): the furthest edge announced is what is kept, and what
// lies below it is taken (RFC7323-11, -12).
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/tcp/seq.h"

namespace sluice::tcp {

class ReceiveWindow {
 public:
  static constexpr std::uint8_t kMaxScale = 14;  // (RFC7323-09)

  // The smallest scale with which all of `buffer` bytes can be offered.
  static std::uint8_t scale_for(std::size_t buffer) {
    std::uint8_t scale = 0;
    while (scale < kMaxScale && buffer >> scale > 0xffff) ++scale;
    return scale;
  }

  void start(Seq rcv_nxt, std::uint32_t first_window, std::uint8_t scale) {
    edge_ = rcv_nxt + first_window;
    scale_ = scale;
  }

  // What may still arrive, bytes.
  [[nodiscard]] std::uint32_t size(Seq rcv_nxt) const { return rcv_nxt < edge_ ? edge_ - rcv_nxt : 0; }

  // Moves the edge to make `room` bytes free beyond rcv_nxt if that is worth it (RFC9293-SWS-02), and returns the field
  // for the header. Rounding goes up, so that the edge stays where it was promised.
  std::uint16_t offer(Seq rcv_nxt, std::size_t room, std::size_t buffer, std::uint32_t mss) {
    const Seq possible = rcv_nxt + static_cast<std::uint32_t>(std::min<std::size_t>(room, kLargest));
    const std::size_t worth = std::min<std::size_t>(buffer / 2, mss);
    if (possible > edge_ && possible - edge_ >= worth) edge_ = possible;
    const std::uint64_t unit = std::uint64_t{1} << scale_;
    const std::uint64_t field = std::min<std::uint64_t>((size(rcv_nxt) + unit - 1) >> scale_, 0xffff);
    edge_ = rcv_nxt + static_cast<std::uint32_t>(field << scale_);
    return static_cast<std::uint16_t>(field);
  }

  // Reading has freed room: shall the peer hear of it without waiting for data? When the offer can double, or reopen.
  [[nodiscard]] bool update_due(Seq rcv_nxt, std::size_t room, std::size_t buffer, std::uint32_t mss) const {
    const std::uint32_t offered = size(rcv_nxt);
    room = std::min(room, std::size_t{0xffff} << scale_);  // what the field can say
    const std::size_t worth = std::min<std::size_t>(buffer / 2, 2 * std::size_t{mss});
    return room >= offered + worth && room >= 2 * std::size_t{offered};
  }

 private:
  static constexpr std::size_t kLargest = std::size_t{0xffff} << kMaxScale;
  Seq edge_;
  std::uint8_t scale_ = 0;
};

}  // namespace sluice::tcp
