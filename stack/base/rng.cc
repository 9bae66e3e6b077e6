#include "stack/base/rng.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "stack/base/byte_order.h"

namespace sluice {
namespace {

constexpr std::size_t kBlock = 64;  // bytes of one ChaCha20 block
constexpr std::size_t kKeyBytes = 32;

using ChaChaState = std::array<std::uint32_t, 16>;

void quarter_round(ChaChaState& s, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
  s[a] += s[b];
  s[d] = std::rotl(s[d] ^ s[a], 16);
  s[c] += s[d];
  s[b] = std::rotl(s[b] ^ s[c], 12);
  s[a] += s[b];
  s[d] = std::rotl(s[d] ^ s[a], 8);
  s[c] += s[d];
  s[b] = std::rotl(s[b] ^ s[c], 7);
}

void chacha20_block(const std::array<std::uint32_t, 8>& key, std::uint32_t counter, std::uint8_t* out) {
  ChaChaState initial = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  std::copy(key.begin(), key.end(), initial.begin() + 4);
  initial[12] = counter;
  ChaChaState s = initial;
  for (int i = 0; i < 10; ++i) {
    for (std::size_t c = 0; c < 4; ++c) quarter_round(s, c, c + 4, c + 8, c + 12);
    for (std::size_t c = 0; c < 4; ++c) quarter_round(s, c, (c + 1) % 4 + 4, (c + 2) % 4 + 8, (c + 3) % 4 + 12);
  }
  for (std::size_t i = 0; i < 16; ++i) store_le32(out + 4 * i, s[i] + initial[i]);
}

}  // namespace

Rng::Rng(const Seed& seed) : used_(0) {
  for (std::size_t i = 0; i < key_.size(); ++i) key_[i] = load_le32(seed.data() + 4 * i);
  refill();
}

Rng::Seed Rng::seed_from(std::uint64_t number) {
  Seed seed{};
  for (std::size_t i = 0; i < 8; ++i) seed[i] = static_cast<std::uint8_t>(number >> (8 * i));
  return seed;
}

// The first bytes of each refill become the next key and are never handed out, so that a later look at the state does
// not reveal what was drawn before.
void Rng::refill() {
  for (std::size_t i = 0; i < pool_.size() / kBlock; ++i) {
    chacha20_block(key_, static_cast<std::uint32_t>(i), pool_.data() + i * kBlock);
  }
  for (std::size_t i = 0; i < key_.size(); ++i) key_[i] = load_le32(pool_.data() + 4 * i);
  std::fill_n(pool_.begin(), kKeyBytes, std::uint8_t{0});
  used_ = kKeyBytes;
}

void Rng::fill(MutableBytes out) {
  std::size_t done = 0;
  while (done < out.size()) {
    if (used_ == pool_.size()) refill();
    const std::size_t n = std::min(out.size() - done, pool_.size() - used_);
    std::copy_n(pool_.begin() + static_cast<std::ptrdiff_t>(used_), n, out.begin() + static_cast<std::ptrdiff_t>(done));
    std::fill_n(pool_.begin() + static_cast<std::ptrdiff_t>(used_), n, std::uint8_t{0});
    used_ += n;
    done += n;
  }
}

std::uint32_t Rng::next_u32() {
  std::array<std::uint8_t, 4> bytes{};
  fill(bytes);
  return load_le32(bytes.data());
}

std::uint64_t Rng::next_u64() {
  const std::uint64_t high = next_u32();
  return high << 32 | next_u32();
}

std::uint32_t Rng::below(std::uint32_t bound) {
  assert(bound > 0);
  const std::uint32_t limit = static_cast<std::uint32_t>(-bound) % bound;  // 2^32 mod bound
  for (;;) {
    const std::uint32_t draw = next_u32();
    if (draw >= limit) return draw % bound;
  }
}

double Rng::next_double() {
  return static_cast<double>(next_u64() >> 11) * 0x1p-53;
}

}  // namespace sluice
