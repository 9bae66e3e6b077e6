// Sequence numbers: arithmetic and comparison modulo 2^32 (RFC 9293 §3.4, RFC9293-SEQ-01). The only place for it.
#pragma once

#include <cstdint>

namespace sluice::tcp {

class Seq {
 public:
  constexpr Seq() = default;
  constexpr explicit Seq(std::uint32_t value) : value_(value) {}
  [[nodiscard]] constexpr std::uint32_t value() const { return value_; }

  constexpr bool operator==(const Seq&) const = default;
  // Meaningful while the two are less than 2^31 apart.
  friend constexpr bool operator<(Seq a, Seq b) { return distance(a, b) > 0; }
  friend constexpr bool operator>(Seq a, Seq b) { return b < a; }
  friend constexpr bool operator<=(Seq a, Seq b) { return distance(a, b) >= 0; }
  friend constexpr bool operator>=(Seq a, Seq b) { return b <= a; }

  friend constexpr Seq operator+(Seq a, std::uint32_t n) { return Seq(a.value_ + n); }
  friend constexpr Seq operator-(Seq a, std::uint32_t n) { return Seq(a.value_ - n); }
  constexpr Seq& operator+=(std::uint32_t n) { return value_ += n, *this; }
  // How far b is ahead of a, modulo 2^32.
  friend constexpr std::uint32_t operator-(Seq b, Seq a) { return b.value_ - a.value_; }

 private:
  static constexpr std::int32_t distance(Seq from, Seq to) {
    return static_cast<std::int32_t>(to.value_ - from.value_);
  }
  std::uint32_t value_ = 0;
};

constexpr Seq max(Seq a, Seq b) {
  return a < b ? b : a;
}
constexpr Seq min(Seq a, Seq b) {
  return a < b ? a : b;
}

// The acceptability test of RFC 9293 §3.10.7.4 (RFC9293-SEQ-02), for a segment of `length` sequence numbers. One that
// covers the window on both sides is accepted and trimmed, because it contains wanted data.
constexpr bool acceptable(Seq seq, std::uint32_t length, Seq rcv_nxt, std::uint32_t rcv_wnd) {
  const Seq edge = rcv_nxt + rcv_wnd;
  if (length == 0) return rcv_wnd == 0 ? seq == rcv_nxt : rcv_nxt <= seq && seq < edge;
  if (rcv_wnd == 0) return false;
  return seq < edge && seq + length > rcv_nxt;
}

}  // namespace sluice::tcp
