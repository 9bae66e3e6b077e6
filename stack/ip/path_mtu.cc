#include "stack/ip/path_mtu.h"

#include <algorithm>

namespace sluice::ip {
namespace {
constexpr Duration kLifetime = 600_s;  // RFC 1191 §6.3: ten minutes (RFC1191-06)
}

PathMtuCache::PathMtuCache(Context& context, std::uint32_t& generation)
    : context_(context),
      generation_(generation),
      timer_([](void* self) { static_cast<PathMtuCache*>(self)->on_timer(); }, this) {
  context_.rng.fill(key_);
}

std::size_t PathMtuCache::set_of(const Address& destination) const {
  return siphash24(key_, destination.octets()) % kSets * kWays;
}

PathMtu PathMtuCache::get(const Address& destination, std::uint32_t link_mtu) const {
  const std::size_t first = set_of(destination);
  for (std::size_t i = first; i < first + kWays; ++i) {
    const Entry& e = entries_[i];
    if (e.estimate.mtu == 0 || e.destination != destination || e.expires <= context_.now) continue;
    if (e.estimate.mtu <= link_mtu) return e.estimate;
  }
  return {link_mtu, false};
}

bool PathMtuCache::lower(const Address& destination, std::uint32_t mtu, std::uint32_t floor, std::uint32_t link_mtu) {
  const PathMtu known = get(destination, link_mtu);
  const bool newly_below = mtu < floor && !known.below_floor;
  const PathMtu wanted{std::min(std::max(mtu, floor), known.mtu), known.below_floor || newly_below};
  if (wanted.mtu == known.mtu && !newly_below) return false;
  const std::size_t first = set_of(destination);
  Entry* slot = &entries_[first];
  for (std::size_t i = first; i < first + kWays; ++i) {
    Entry& e = entries_[i];
    if (e.estimate.mtu != 0 && e.destination == destination) {
      slot = &e;
      break;
    }
    if (e.estimate.mtu == 0 || (slot->estimate.mtu != 0 && e.expires < slot->expires)) slot = &e;
  }
  *slot = {destination, wanted, context_.now + kLifetime};
  if (!timer_.armed()) context_.timers.schedule(timer_, slot->expires);
  return true;
}

void PathMtuCache::on_timer() {
  Instant next = Instant::never();
  for (Entry& e : entries_) {
    if (e.estimate.mtu == 0) continue;
    if (e.expires <= context_.now) {
      e = {};
      ++generation_;
    } else {
      next = std::min(next, e.expires);
    }
  }
  context_.timers.schedule(timer_, next);
}

std::uint32_t plateau_below(std::uint32_t packet_length) {
  constexpr std::array<std::uint32_t, 10> kPlateaus = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
  for (const std::uint32_t p : kPlateaus) {
    if (p < packet_length) return p;
  }
  return kPlateaus.back();
}

}  // namespace sluice::ip
