// CRC-32 of IEEE 802.3 clause 3: polynomial 0x04C11DB7 reflected, initial value and final XOR all ones
// (IEEE802.3-03). Slice-by-8.
#pragma once

#include <cstdint>

#include "stack/base/types.h"

namespace sluice::wire {

class Crc32 {
 public:
  Crc32& add(Bytes bytes);
  [[nodiscard]] std::uint32_t finish() const { return ~register_; }

  // What finish() gives over any frame followed by its right FCS (IEEE802.3-05).
  static constexpr std::uint32_t kResidue = 0x2144df1c;

 private:
  std::uint32_t register_ = 0xffffffff;
};

inline std::uint32_t crc32(Bytes bytes) {
  return Crc32().add(bytes).finish();
}

}  // namespace sluice::wire
