// One step of slow start (RFC 5681 §3.1), and the largest window there is.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp::cc {

inline constexpr std::uint32_t kMaxWindow = 1u << 30;  // bytes (RFC 7323 §2.3)
inline constexpr std::uint32_t kAfterTimeout = 1;      // segments an ACK adds then (RFC 3465 §2.3)

// Bytes by which cwnd grows when `acked` bytes are acknowledged at once.
// DEVIATION(RFC5681-02): up to 8 segments an ACK, as RFC 9406 §4.2 (RFC9406-03), because hosts that
// coalesce acknowledge many segments at once; one segment after a timeout, when an ACK may cover what had arrived
// before it (RFC5681-11).
inline std::uint32_t slow_start_step(std::uint32_t acked, std::uint32_t mss, std::uint32_t most_segments) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(acked, std::uint64_t{mss} * most_segments));
}

}  // namespace sluice::tcp::cc
