// SYN cookies: an initial sequence number from which the last ACK of a handshake can be verified when nothing was kept
// of its SYN. RFC 4987 §3.6.
#pragma once

#include <cstdint>
#include <optional>

#include "stack/base/rng.h"
#include "stack/base/siphash.h"
#include "stack/base/time.h"
#include "stack/tcp/flow.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

struct Negotiated;

// A cookie is a keyed hash of the 4-tuple, the peer's initial sequence number and the time in periods, plus the place
// of the peer's MSS in a table (RFC4987-02). A guess is right with a probability of 2^-28.
class SynCookies {
 public:
  static constexpr Duration kLifetime = 128_s;  // the longest; at least half of it

  explicit SynCookies(Rng& rng) { rng.fill(key_); }

  [[nodiscard]] Seq make(const FourTuple& tuple, Seq irs, std::uint16_t peer_mss, Instant now) const;
  // The MSS that it stands for, at most the peer's; nothing when it is not one of ours, or too old.
  [[nodiscard]] std::optional<std::uint16_t> check(const FourTuple& tuple, Seq irs, Seq cookie, Instant now) const;

 private:
  [[nodiscard]] std::uint32_t hash(const FourTuple& tuple, Seq irs, std::uint32_t period) const;

  SipKey key_{};
};

// The other options stand in the low bits of the timestamp sent with the cookie, and come back in its echo
// (RFC4987-03). The value is at most 64 ticks behind the clock, never ahead.
std::uint32_t put_in_timestamp(std::uint32_t clock, const Negotiated& negotiated);
void take_from_echo(std::uint32_t echo, Negotiated& negotiated);

}  // namespace sluice::tcp
