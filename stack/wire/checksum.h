// The Internet checksum: RFC 1071, incremental update RFC 1624.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"
#include "stack/wire/address.h"

namespace sluice::wire {

// A one's complement sum under way. Chunks may have any length: the sum remembers an odd byte count.
class Checksum {
 public:
  Checksum() = default;

  Checksum& add(Bytes bytes);
  Checksum& add_u16(std::uint16_t host_order);  // at an even position
  Checksum& add_u32(std::uint32_t host_order);  // at an even position
  // Copies src to dst while summing it: one pass over the memory. dst.size() >= src.size().
  Checksum& add_copy(MutableBytes dst, Bytes src);

  // IPv4: RFC 9293 §3.1; IPv6: RFC 8200 §8.1. `length` is of transport header and payload, bytes.
  static Checksum pseudo_header(const Address& src, const Address& dst, std::uint8_t protocol, std::size_t length);

  [[nodiscard]] std::uint16_t sum() const;     // folded, not complemented
  [[nodiscard]] std::uint16_t finish() const;  // the checksum field: ~sum()

 private:
  std::uint64_t sum_ = 0;  // of native-order 16-bit words, carries kept
  bool odd_ = false;
};

inline std::uint16_t checksum(Bytes bytes) {
  return Checksum().add(bytes).finish();
}

// New checksum after a 16-bit word changes from `before` to `after` (RFC 1624 equation 3).
std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t before, std::uint16_t after);

// What a parser shall do about the checksum.
enum class ChecksumPolicy : std::uint8_t { kVerify, kTrust };

}  // namespace sluice::wire
