// The identification field of datagrams that may be fragmented: RFC 6864. Datagrams with DF are atomic and carry 0.
// Counters are separate for a few thousand classes of (source, destination, protocol), start at random, and step by
// random amounts, so that the numbers seen by one host say nothing about the traffic to another (RFC6274-01, RFC 9414).
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"

namespace sluice::ip {

class Identification {
 public:
  explicit Identification(Context& context) : context_(context) {
    context_.rng.fill(key_);
    context_.rng.fill({static_cast<std::uint8_t*>(static_cast<void*>(counters_.data())), sizeof counters_});
  }

  // The first of `count` numbers in a row that are used up by this call.
  std::uint16_t next(const Address& source, const Address& destination, std::uint8_t protocol, std::size_t count = 1) {
    std::array<std::uint8_t, 33> message{};
    const Bytes s = source.octets();
    const Bytes d = destination.octets();
    std::copy(s.begin(), s.end(), message.begin());
    std::copy(d.begin(), d.end(), message.begin() + 16);
    message[32] = protocol;
    const std::uint64_t hash = siphash24(key_, message);
    std::uint16_t& counter = counters_[hash % counters_.size()];
    counter = static_cast<std::uint16_t>(counter + context_.rng.below(kMaxStep));
    const auto first = static_cast<std::uint16_t>(counter + (hash >> 48));
    counter = static_cast<std::uint16_t>(counter + count);
    return first;
  }

 private:
  static constexpr std::uint32_t kMaxStep = 4;
  Context& context_;
  SipKey key_{};
  std::array<std::uint16_t, 2048> counters_;
};

}  // namespace sluice::ip
