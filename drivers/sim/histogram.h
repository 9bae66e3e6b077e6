// Counts of durations, for their mean and quantiles, in constant memory: a quantile is exact to less than one percent.
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice::sim {

class Histogram {
 public:
  void add(Duration d);
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] Duration mean() const;
  [[nodiscard]] Duration max() const { return max_; }
  // The smallest value that is not exceeded by this part of all, 0..1.
  [[nodiscard]] Duration quantile(double part) const;

 private:
  // 128 buckets for each power of two; below that each nanosecond has its own.
  static constexpr int kBits = 7;
  static constexpr std::size_t kBuckets = (64 - kBits) << kBits;
  static std::size_t bucket_of(std::uint64_t ns);
  static std::uint64_t largest_in(std::size_t bucket);

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;  // ns
  Duration max_;
};

}  // namespace sluice::sim
