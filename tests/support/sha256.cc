#include "tests/support/sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "stack/base/byte_order.h"

namespace sluice::test {
namespace {

// The first 32 bits of the fractional part of the n-th prime's root.
std::uint32_t fraction(int n, int root) {
  int prime = 1;
  for (int found = 0; found <= n;) {
    ++prime;
    bool is_prime = true;
    for (int d = 2; d * d <= prime; ++d) is_prime = is_prime && prime % d != 0;
    if (is_prime) ++found;
  }
  const long double value =
      root == 2 ? std::sqrt(static_cast<long double>(prime)) : std::cbrt(static_cast<long double>(prime));
  return static_cast<std::uint32_t>((value - std::floor(value)) * 4294967296.0L);
}

void compress(std::array<std::uint32_t, 8>& h, const std::uint8_t* block) {
  static const auto kRound = [] {
    std::array<std::uint32_t, 64> k{};
    for (std::size_t i = 0; i < 64; ++i) k[i] = fraction(static_cast<int>(i), 3);
    return k;
  }();
  std::array<std::uint32_t, 64> w{};
  for (std::size_t i = 0; i < 16; ++i) w[i] = load_be32(block + 4 * i);
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, x] = h;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t t1 = x + s1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    x = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<std::uint32_t, 8> add = {a, b, c, d, e, f, g, x};
  for (std::size_t i = 0; i < 8; ++i) h[i] += add[i];
}

}  // namespace

std::string sha256_hex(Bytes bytes) {
  std::array<std::uint32_t, 8> h{};
  for (std::size_t i = 0; i < 8; ++i) h[i] = fraction(static_cast<int>(i), 2);
  std::vector<std::uint8_t> padded(bytes.begin(), bytes.end());
  padded.push_back(0x80);
  while (padded.size() % 64 != 56) padded.push_back(0);
  padded.resize(padded.size() + 8);
  store_be64(padded.data() + padded.size() - 8, std::uint64_t{bytes.size()} * 8);
  for (std::size_t at = 0; at < padded.size(); at += 64) compress(h, padded.data() + at);
  std::string text;
  for (const std::uint32_t word : h) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  }
  return text;
}

}  // namespace sluice::test
