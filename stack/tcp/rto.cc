#include "stack/tcp/rto.h"

#include <algorithm>

namespace sluice::tcp {
namespace {
constexpr Duration kGranularity = 1_ms;      // G (RFC6298-12)
constexpr Duration kLongestSample = 3600_s;  // a sample beyond is not a round trip
constexpr Duration kAfterSynTimeout = 3_s;
constexpr std::uint8_t kMaxBackoff = 30;  // doublings; max RTO is reached long before
}  // namespace

void RtoEstimator::sample(Duration rtt, int per_round_trip) {
  rtt = std::clamp(rtt, Duration::micros(1), kLongestSample);
  if (!has_sample_) {  // RFC 6298 §2.2 (RFC6298-04)
    srtt_ = rtt;
    rttvar_ = rtt / 2;
    has_sample_ = true;
  } else {  // RFC 6298 §2.3: RTTVAR first, with the old SRTT (RFC6298-05, -06)
    const int n = std::max(per_round_trip, 1);
    rttvar_ += (abs(srtt_ - rtt) - rttvar_) / (4 * n);
    srtt_ += (rtt - srtt_) / (8 * n);
  }
  // DEVIATION(RFC6298-08): the floor can be chosen and is 200 ms by default, as on all common hosts. With a floor of
  // one second each lost tail costs a second.
  const Duration margin = std::max({kGranularity, rttvar_ * 4, bounds_.margin});
  base_ = to_32_bits(std::clamp(srtt_ + margin, bounds_.min, bounds_.max));  // (RFC6298-07)
  backoff_ = 0;
}

void RtoEstimator::back_off() {
  if (backoff_ < kMaxBackoff) ++backoff_;
}

void RtoEstimator::on_syn_timeout() {
  if (!has_sample_) base_ = std::max(base_, to_32_bits(kAfterSynTimeout));
  backoff_ = 0;
}

Duration RtoEstimator::rto() const {
  Duration t = Duration::micros(base_);
  for (int i = 0; i < backoff_ && t < bounds_.max; ++i) t = t * 2;
  return std::min(t, bounds_.max);
}

}  // namespace sluice::tcp
