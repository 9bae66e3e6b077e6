#include "stack/ip/rate_limit.h"

#include <algorithm>

namespace sluice::ip {
namespace {
constexpr double kShareOfOne = 0.1;  // of the common rate, for one destination
constexpr double kBurstOfOne = 6;
}  // namespace

RateLimit::RateLimit(Context& context, std::uint32_t per_second) : context_(context), per_second_(per_second) {
  context_.rng.fill(key_);
}

bool RateLimit::take(Bucket& bucket, double rate, double burst) const {
  if (bucket.tokens < 0) {
    bucket.tokens = burst;
  } else {
    bucket.tokens = std::min(burst, bucket.tokens + (context_.now - bucket.filled).to_seconds() * rate);
  }
  bucket.filled = context_.now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

bool RateLimit::allow(const Address& destination) {
  Bucket& own = destinations_[siphash24(key_, destination.octets()) % kBuckets];
  if (!take(own, per_second_ * kShareOfOne, kBurstOfOne)) return false;
  // Now and then a token of the common bucket is burnt for nothing: its level cannot be read from outside.
  constexpr std::uint32_t kOneIn = 8;
  if (context_.rng.below(kOneIn) == 0) (void)take(common_, per_second_, per_second_);
  return take(common_, per_second_, per_second_);
}

}  // namespace sluice::ip
