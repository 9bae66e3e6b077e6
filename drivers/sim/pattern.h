// A byte sequence that both ends know, so that what arrives can be compared.
#pragma once

#include <cstdint>
#include <vector>

#include "stack/base/types.h"

namespace sluice::sim {

class Pattern {
 public:
  static constexpr std::size_t kLongest = 65521;  // bytes of one piece; the sequence repeats after as many

  explicit Pattern(std::uint64_t seed);

  // Bytes of the sequence from `offset` on; size <= kLongest.
  [[nodiscard]] Bytes at(std::uint64_t offset, std::size_t size) const {
    return {twice_.data() + offset % kLongest, size};
  }
  [[nodiscard]] bool matches(std::uint64_t offset, Bytes bytes) const;

 private:
  std::vector<std::uint8_t> twice_;
};

}  // namespace sluice::sim
