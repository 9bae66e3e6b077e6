// Initial sequence numbers and timestamp offsets: RFC 6528, RFC 9293 §3.4.1, RFC 7323 §5.4. Keyed by the stack's own
// secrets, which never leave this object.
#pragma once

#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

class IsnGenerator {
 public:
  explicit IsnGenerator(Rng& rng) {  // seeded from the system's entropy (RFC6528-03)
    rng.fill(isn_key_);
    rng.fill(timestamp_key_);
  }
  explicit IsnGenerator(const SipKey& key) : isn_key_(key), timestamp_key_(key) {}

  // M + F(local, remote, secret), M ticking every 4 microseconds (RFC9293-MUST-8, -MUST-9, -SHLD-1).
  [[nodiscard]] Seq isn(const ip::Endpoint& local, const ip::Endpoint& remote, Instant now) const;
  // Added to the millisecond clock of a connection's timestamps (RFC7323-37).
  [[nodiscard]] std::uint32_t timestamp_offset(const ip::Endpoint& local, const ip::Endpoint& remote) const;

 private:
  SipKey isn_key_{};
  SipKey timestamp_key_{};
};

}  // namespace sluice::tcp
