#include "stack/tcp/isn.h"

#include "stack/tcp/flow.h"

namespace sluice::tcp {
namespace {

std::uint32_t hash(const SipKey& key, const ip::Endpoint& local, const ip::Endpoint& remote) {
  return static_cast<std::uint32_t>(siphash24(key, TupleBytes({local, remote}).view()));
}

}  // namespace

Seq IsnGenerator::isn(const ip::Endpoint& local, const ip::Endpoint& remote, Instant now) const {
  const auto ticks = static_cast<std::uint32_t>(now.to_nanos() / 4000);
  return Seq(ticks + hash(isn_key_, local, remote));
}

std::uint32_t IsnGenerator::timestamp_offset(const ip::Endpoint& local, const ip::Endpoint& remote) const {
  return hash(timestamp_key_, local, remote);
}

}  // namespace sluice::tcp
