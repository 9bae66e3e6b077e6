// One step of slow start (RFC 5681 §3.1), and the largest window there is.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::tcp::cc {

inline constexpr std::uint32_t kMaxWindow = 1u << 30;   // bytes (RFC 7323 §2.3)
inline constexpr std::uint32_t kSlowStartSegments = 8;  // L of RFC 9406 §4.3 (RFC9406-09)

enum class After : std::uint8_t { kTimeout, kOther };

// Bytes by which cwnd grows when `acked` bytes are acknowledged at once.
// DEVIATION(RFC 5681 §3.1, RFC5681-02): up to 8 segments an ACK, as RFC 9406 §4.2 (RFC9406-03), because hosts that
// coalesce acknowledge many segments at once; one segment after a timeout (RFC 3465 §2.3), when an ACK may cover what
// had arrived before it (RFC5681-11).
inline std::uint32_t slow_start_step(std::uint32_t acked, std::uint32_t mss, After after) {
  return std::min(acked, mss * (after == After::kTimeout ? 1 : kSlowStartSegments));
}

}  // namespace sluice::tcp::cc
