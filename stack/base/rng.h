// A seeded cryptographic generator: ChaCha20 (RFC 8439 §2.3) run as a stream, key erased forward after each
// refill. One a stack. With a seed from the system's entropy it is unpredictable; with a fixed seed it repeats.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"

namespace sluice {

class Rng {
 public:
  using Seed = std::array<std::uint8_t, 32>;

  explicit Rng(const Seed& seed);
  static Seed seed_from(std::uint64_t number);  // for tests and --seed: repeatable, not secret

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  // Uniform in [0, bound), bound > 0; no modulo bias.
  std::uint32_t below(std::uint32_t bound);
  // Uniform in [0, 1).
  double next_double();
  void fill(MutableBytes out);

 private:
  void refill();

  std::array<std::uint32_t, 8> key_{};
  std::array<std::uint8_t, 512> pool_{};
  std::size_t used_;
};

}  // namespace sluice
