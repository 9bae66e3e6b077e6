// Token buckets for what we send unasked: ICMP errors and replies to strangers. RFC 1812 §4.3.2.8. The limit to one
// destination comes first; the common limit is randomised, so that watching it tells an outsider nothing (the attack
// known as SAD DNS).
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"

namespace sluice::ip {

class RateLimit {
 public:
  RateLimit(Context& context, std::uint32_t per_second);

  // Takes one token for this destination; false: do not send.
  bool allow(const Address& destination);

 private:
  struct Bucket {
    Instant filled{};
    double tokens = -1;  // -1: never used
  };
  bool take(Bucket& bucket, double rate, double burst) const;

  static constexpr std::size_t kBuckets = 256;

  Context& context_;
  SipKey key_{};
  double per_second_;
  Bucket common_;
  std::array<Bucket, kBuckets> destinations_{};
};

}  // namespace sluice::ip
