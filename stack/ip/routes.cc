#include "stack/ip/routes.h"

#include <algorithm>

namespace sluice::ip {
namespace {

bool same(const RouteEntry& a, const RouteEntry& b) {
  return a.destination == b.destination && a.gateway == b.gateway && a.interface == b.interface;
}
bool preferred(const RouteEntry& a, const RouteEntry& b) {
  if (a.destination.length != b.destination.length) return a.destination.length > b.destination.length;
  return a.metric < b.metric;
}

}  // namespace

Status RouteTable::add(const RouteEntry& entry) {
  for (const RouteEntry& e : all()) {
    if (same(e, entry)) return fail(Errno::kExist);
  }
  if (count_ == kCapacity) return fail(Errno::kNoBuffers);
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(count_);
  const auto at = std::upper_bound(entries_.begin(), end, entry, preferred);
  std::move_backward(at, end, end + 1);
  *at = entry;
  ++count_;
  return {};
}

void RouteTable::erase(std::size_t index) {
  const auto at = entries_.begin() + static_cast<std::ptrdiff_t>(index);
  std::move(at + 1, entries_.begin() + static_cast<std::ptrdiff_t>(count_), at);
  --count_;
}

Status RouteTable::remove(const RouteEntry& entry) {
  for (std::size_t i = 0; i < count_; ++i) {
    if (same(entries_[i], entry)) return erase(i), Status();
  }
  return fail(Errno::kNetworkUnreachable);
}

void RouteTable::remove_on(InterfaceId interface, const Prefix& destination) {
  for (std::size_t i = count_; i-- > 0;) {
    if (entries_[i].interface == interface && entries_[i].destination == destination) erase(i);
  }
}

void RouteTable::set_state(InterfaceId interface, link::LinkState state) {
  const std::uint32_t bit = 1u << interface;
  down_ = state == link::LinkState::kDown ? down_ | bit : down_ & ~bit;
}

const RouteEntry* RouteTable::find(const Address& destination, InterfaceId interface) const {
  for (const RouteEntry& e : all()) {
    if ((interface != kNoInterface && e.interface != interface) || is_down(e.interface)) continue;
    if (e.destination.contains(destination)) return &e;
  }
  return nullptr;
}

}  // namespace sluice::ip
