#include "stack/ip/path_mtu.h"

#include <algorithm>

namespace sluice::ip {
namespace {
constexpr Duration kLifetime = 600_s;  // RFC 1191 §6.3: ten minutes
}

PathMtuCache::PathMtuCache(Context& context) : context_(context) {
  context_.rng.fill(key_);
}

std::size_t PathMtuCache::set_of(const Address& destination) const {
  return siphash24(key_, destination.octets()) % kSets * kWays;
}

std::uint32_t PathMtuCache::get(const Address& destination, std::uint32_t link_mtu) const {
  const std::size_t first = set_of(destination);
  for (std::size_t i = first; i < first + kWays; ++i) {
    const Entry& e = entries_[i];
    if (e.mtu != 0 && e.destination == destination && e.expires > context_.now) return std::min(e.mtu, link_mtu);
  }
  return link_mtu;
}

bool PathMtuCache::lower(const Address& destination, std::uint32_t mtu, std::uint32_t link_mtu) {
  if (mtu >= get(destination, link_mtu)) return false;
  const std::size_t first = set_of(destination);
  Entry* slot = &entries_[first];
  for (std::size_t i = first; i < first + kWays; ++i) {
    Entry& e = entries_[i];
    if (e.mtu != 0 && e.destination == destination) {
      slot = &e;
      break;
    }
    if (e.mtu == 0 || e.expires < slot->expires) slot = &e;
  }
  *slot = {destination, mtu, context_.now + kLifetime};
  return true;
}

std::uint32_t plateau_below(std::uint32_t packet_length) {
  constexpr std::array<std::uint32_t, 10> kPlateaus = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
  for (const std::uint32_t p : kPlateaus) {
    if (p < packet_length) return p;
  }
  return kPlateaus.back();
}

}  // namespace sluice::ip
