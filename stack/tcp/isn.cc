#include "stack/tcp/isn.h"

#include <algorithm>
#include <array>

#include "stack/base/byte_order.h"

namespace sluice::tcp {
namespace {

std::uint32_t hash(const SipKey& key, const ip::Endpoint& local, const ip::Endpoint& remote) {
  std::array<std::uint8_t, 36> message{};
  std::size_t size = 0;
  for (const ip::Endpoint* e : {&local, &remote}) {
    const Bytes octets = e->address.octets();
    std::copy(octets.begin(), octets.end(), message.begin() + static_cast<std::ptrdiff_t>(size));
    size += octets.size();
  }
  store_be16(message.data() + size, local.port);
  store_be16(message.data() + size + 2, remote.port);
  return static_cast<std::uint32_t>(siphash24(key, Bytes(message).first(size + 4)));
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
