#include "drivers/sim/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice::sim {

std::size_t Histogram::bucket_of(std::uint64_t ns) {
  const int shift = std::max(static_cast<int>(std::bit_width(ns)) - kBits - 1, 0);
  return (static_cast<std::size_t>(shift) << kBits) + static_cast<std::size_t>(ns >> shift);
}

std::uint64_t Histogram::largest_in(std::size_t bucket) {
  constexpr std::size_t kWidth = std::size_t{1} << kBits;
  if (bucket < 2 * kWidth) return bucket;
  const std::size_t shift = bucket / kWidth - 1;
  return ((bucket - shift * kWidth + 1) << shift) - 1;
}

void Histogram::add(Duration d) {
  d = std::max(d, Duration());
  ++counts_[bucket_of(static_cast<std::uint64_t>(d.to_nanos()))];
  ++count_;
  sum_ += static_cast<double>(d.to_nanos());
  max_ = std::max(max_, d);
}

Duration Histogram::mean() const {
  return count_ == 0 ? Duration() : Duration::nanos(std::llround(sum_ / static_cast<double>(count_)));
}

Duration Histogram::quantile(double part) const {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= wanted && seen > 0) return std::min(Duration::nanos(static_cast<std::int64_t>(largest_in(i))), max_);
  }
  return max_;
}

}  // namespace sluice::sim
