#include "drivers/sim/pattern.h"

#include <algorithm>
#include <cstring>

#include "stack/base/rng.h"

namespace sluice::sim {

Pattern::Pattern(std::uint64_t seed) : twice_(2 * kLongest) {
  Rng rng(Rng::seed_from(seed));
  rng.fill(MutableBytes(twice_).first(kLongest));
  std::copy_n(twice_.begin(), kLongest, twice_.begin() + kLongest);
}

bool Pattern::matches(std::uint64_t offset, Bytes bytes) const {
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), kLongest);
    if (std::memcmp(at(offset, n).data(), bytes.data(), n) != 0) return false;
    offset += n;
    bytes = bytes.subspan(n);
  }
  return true;
}

}  // namespace sluice::sim
