// The routing table: longest prefix first, then the lowest metric. RFC 1122 §3.3.1. Addresses have their own masks
// (RFC1122-IP-07, RFC1122-ICMP-33), gateways their preference (RFC1122-RT-10), and a link needs no gateway
// (RFC1122-RT-02).
#pragma once

#include <array>
#include <cstddef>

#include "stack/base/result.h"
#include "stack/ip/ip.h"

namespace sluice::ip {

class RouteTable {
 public:
  static constexpr std::size_t kCapacity = 256;

  Status add(const RouteEntry& entry);     // kExist, kNoBuffers
  Status remove(const RouteEntry& entry);  // kNetworkUnreachable: there is none
  void remove_on(InterfaceId interface, const Prefix& destination);

  // Routes over an interface that is down stay, but are not found.
  void set_state(InterfaceId interface, link::LinkState state);

  // The best route to `destination`, over `interface` if that is given; null when there is none.
  [[nodiscard]] const RouteEntry* find(const Address& destination, InterfaceId interface) const;
  [[nodiscard]] std::span<const RouteEntry> all() const { return {entries_.data(), count_}; }

 private:
  void erase(std::size_t index);
  [[nodiscard]] bool is_down(InterfaceId interface) const { return (down_ >> interface & 1) != 0; }

  std::array<RouteEntry, kCapacity> entries_{};  // in order of preference
  std::size_t count_ = 0;
  std::uint32_t down_ = 0;  // a bit for each interface
};

}  // namespace sluice::ip
