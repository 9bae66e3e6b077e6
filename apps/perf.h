// How the two ends of `sluice perf` talk.
//
// For each stream the client opens a TCP connection and says in one line what it wants:
//   PERF up                              the client sends on this connection until it closes its side
//   PERF down SECONDS BYTES              the server sends for so long (BYTES 0) or so much, and closes
//   PERF udp-up ID                       the client sends datagrams that begin with ID, and closes this when done
//   PERF udp-down ID SECONDS RATE SIZE   the server sends datagrams of SIZE bytes at RATE bit/s to where a datagram
//                                        that begins with ID comes from
// After up, udp-up and udp-down the server answers with a line: the bytes or datagrams that it received or sent.
// A datagram begins with two 32-bit numbers: ID and its sequence number.
#pragma once

#include <algorithm>
#include <cstdint>

#include "apps/commands.h"

namespace sluice::apps::perf {

inline constexpr std::size_t kWrite = 128 << 10;  // bytes a call of a stream
inline constexpr std::size_t kDatagram = 1400;    // bytes, when not chosen
inline constexpr std::size_t kDatagramHeader = 8;
inline constexpr std::size_t kMaxDatagram = 65507;

inline double mbit(std::uint64_t bytes, double seconds) {
  return static_cast<double>(bytes) * 8 / std::max(seconds, 1e-9) / 1e6;
}
inline double mebibytes(std::uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}
inline Duration from_seconds(double s) {
  return Duration::nanos(static_cast<std::int64_t>(s * 1e9));
}

int serve(const Common& common, const PerfOptions& options);
int measure(const Common& common, const PerfOptions& options, const wire::Address& host);

}  // namespace sluice::apps::perf
