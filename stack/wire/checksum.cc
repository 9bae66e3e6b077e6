#include "stack/wire/checksum.h"

#include <bit>
#include <cassert>
#include <cstring>

#include "stack/base/byte_order.h"

// The sum is taken over words in the machine's own order and swapped at the end: a one's complement sum does not care
// (RFC 1071 §2 (B)). Wide words are split in halves of 32 bits that are summed in 64-bit lanes, so no carry is lost
// (RFC 1071 §2 (C)); the same body is compiled for AVX2 and for the baseline.

namespace sluice::wire {
namespace {

using Lanes = std::uint64_t __attribute__((vector_size(32)));
constexpr std::size_t kLaneBytes = sizeof(Lanes);

enum class Copy : std::uint8_t { kNo, kYes };

std::uint64_t fold(std::uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

template <Copy kCopy>
[[gnu::always_inline]] inline std::uint64_t sum_lanes(std::uint8_t* to, const std::uint8_t* from, std::size_t blocks) {
  Lanes low = {};
  Lanes high = {};
  for (std::size_t i = 0; i < blocks; ++i) {
    Lanes word;
    std::memcpy(&word, from + i * kLaneBytes, kLaneBytes);
    if constexpr (kCopy == Copy::kYes) std::memcpy(to + i * kLaneBytes, &word, kLaneBytes);
    low += word & 0xffffffff;
    high += word >> 32;
  }
  const Lanes all = low + high;
  return fold(all[0]) + fold(all[1]) + fold(all[2]) + fold(all[3]);
}

template <Copy kCopy>
std::uint64_t sum_baseline(std::uint8_t* to, const std::uint8_t* from, std::size_t blocks) {
  return sum_lanes<kCopy>(to, from, blocks);
}

#if defined(__x86_64__)
template <Copy kCopy>
[[gnu::target("avx2")]] std::uint64_t sum_avx2(std::uint8_t* to, const std::uint8_t* from, std::size_t blocks) {
  return sum_lanes<kCopy>(to, from, blocks);
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") != 0;
}
#else
template <Copy kCopy>
std::uint64_t sum_avx2(std::uint8_t* to, const std::uint8_t* from, std::size_t blocks) {
  return sum_lanes<kCopy>(to, from, blocks);
}
bool has_avx2() {
  return false;
}
#endif

template <Copy kCopy>
std::uint64_t sum_bytes(std::uint8_t* to, Bytes bytes) {
  const std::uint8_t* from = bytes.data();
  const std::size_t blocks = bytes.size() / kLaneBytes;
  std::uint64_t sum = 0;
  if (blocks > 0) sum = has_avx2() ? sum_avx2<kCopy>(to, from, blocks) : sum_baseline<kCopy>(to, from, blocks);
  const std::size_t done = blocks * kLaneBytes;
  const std::size_t rest = bytes.size() - done;
  if (rest == 0) return sum;
  std::array<std::uint16_t, kLaneBytes / 2> words{};  // zero fills the odd byte's partner (RFC9293-HDR-03)
  std::memcpy(words.data(), from + done, rest);
  if constexpr (kCopy == Copy::kYes) std::memcpy(to + done, from + done, rest);
  for (std::size_t i = 0; i < (rest + 1) / 2; ++i) sum += words[i];
  return sum;
}

std::uint64_t swap16(std::uint64_t folded) {
  return (folded << 8 | folded >> 8) & 0xffff;
}

// A host-order value as the native word its network-order bytes make.
std::uint64_t native(std::uint64_t host_order_16) {
  return std::endian::native == std::endian::little ? swap16(host_order_16) : host_order_16;
}

}  // namespace

// A chunk that begins at an odd position contributes its sum with the bytes swapped (RFC 1071 §2 (B)).
Checksum& Checksum::add(Bytes bytes) {
  const std::uint64_t chunk = fold(sum_bytes<Copy::kNo>(nullptr, bytes));
  sum_ += odd_ ? swap16(chunk) : chunk;
  odd_ ^= bytes.size() % 2 != 0;
  return *this;
}

Checksum& Checksum::add_copy(MutableBytes dst, Bytes src) {
  assert(dst.size() >= src.size());
  const std::uint64_t chunk = fold(sum_bytes<Copy::kYes>(dst.data(), src));
  sum_ += odd_ ? swap16(chunk) : chunk;
  odd_ ^= src.size() % 2 != 0;
  return *this;
}

Checksum& Checksum::add_u16(std::uint16_t host_order) {
  assert(!odd_);
  sum_ += native(host_order);
  return *this;
}

Checksum& Checksum::add_u32(std::uint32_t host_order) {
  assert(!odd_);
  sum_ += native(host_order >> 16) + native(host_order & 0xffff);
  return *this;
}

// Address words, protocol and length; the length is 32 bits wide for IPv6 and the same sum for IPv4.
Checksum Checksum::pseudo_header(const Address& src, const Address& dst, std::uint8_t protocol, std::size_t length) {
  Checksum c;
  c.add(src.octets()).add(dst.octets()).add_u16(protocol).add_u32(static_cast<std::uint32_t>(length));
  return c;
}

std::uint16_t Checksum::sum() const {
  return static_cast<std::uint16_t>(native(fold(sum_)));
}

std::uint16_t Checksum::finish() const {
  return static_cast<std::uint16_t>(~sum());
}

std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t before, std::uint16_t after) {
  const std::uint32_t sum =
      static_cast<std::uint16_t>(~checksum) + std::uint32_t{static_cast<std::uint16_t>(~before)} + after;
  return static_cast<std::uint16_t>(~fold(sum));
}

}  // namespace sluice::wire
