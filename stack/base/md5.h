// MD5, the message digest of RFC 1321: for what a protocol asks for (RFC 2385). It is no safe hash for anything new.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"

namespace sluice {

class Md5 {
 public:
  static constexpr std::size_t kSize = 16;
  using Digest = std::array<std::uint8_t, kSize>;

  Md5& add(Bytes bytes);
  [[nodiscard]] Digest finish();  // once, of all that was added

 private:
  static constexpr std::size_t kBlock = 64;

  void take_block(const std::uint8_t* block);

  std::array<std::uint32_t, 4> state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  std::array<std::uint8_t, kBlock> block_{};  // of which `size_` modulo its size are filled
  std::uint64_t size_ = 0;                    // bytes added
};

}  // namespace sluice
