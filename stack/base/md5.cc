#include "stack/base/md5.h"

#include <algorithm>
#include <bit>

#include "stack/base/byte_order.h"

namespace sluice {
namespace {

// The integer parts of 2^32 |sin(i + 1)|: RFC 1321 §3.4.
constexpr std::array<std::uint32_t, 64> kSines = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr std::array<std::array<int, 4>, 4> kShifts = {
    {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}};
}  // namespace

void Md5::take_block(const std::uint8_t* block) {
  auto [a, b, c, d] = state_;
  for (std::uint32_t i = 0; i < 64; ++i) {
    const std::uint32_t round = i / 16;
    std::uint32_t mixed = c ^ (b | ~d);
    std::uint32_t word = 7 * i;
    if (round == 0) mixed = (b & c) | (~b & d), word = i;
    if (round == 1) mixed = (b & d) | (c & ~d), word = 5 * i + 1;
    if (round == 2) mixed = b ^ c ^ d, word = 3 * i + 5;
    const std::uint32_t sum = a + mixed + load_le32(block + word % 16 * 4) + kSines[i];
    a = d;
    d = c;
    c = b;
    b += std::rotl(sum, kShifts[round][i % 4]);
  }
  state_ = {state_[0] + a, state_[1] + b, state_[2] + c, state_[3] + d};
}

Md5& Md5::add(Bytes bytes) {
  const std::size_t filled = size_ % kBlock;
  size_ += bytes.size();
  if (filled > 0) {
    const std::size_t more = std::min(kBlock - filled, bytes.size());
    std::copy_n(bytes.begin(), more, block_.begin() + static_cast<std::ptrdiff_t>(filled));
    if (filled + more < kBlock) return *this;
    take_block(block_.data());
    bytes = bytes.subspan(more);
  }
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) take_block(bytes.data());
  std::copy(bytes.begin(), bytes.end(), block_.begin());
  return *this;
}

// RFC 1321 §3.1, §3.2: a bit, zeros, and the length in bits.
Md5::Digest Md5::finish() {
  std::array<std::uint8_t, kBlock> padding{0x80};
  const std::uint64_t bits = size_ * 8;
  const std::size_t filled = size_ % kBlock;
  add(Bytes(padding).first((filled < 56 ? 56 : 120) - filled));
  std::array<std::uint8_t, 8> length;
  store_le32(length.data(), static_cast<std::uint32_t>(bits));
  store_le32(length.data() + 4, static_cast<std::uint32_t>(bits >> 32));
  add(length);
  Digest digest;
  for (std::size_t i = 0; i < 4; ++i) store_le32(digest.data() + 4 * i, state_[i]);
  return digest;
}

}  // namespace sluice
