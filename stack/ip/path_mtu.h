// The path MTU cache: RFC 1191. Bounded; its slots are chosen by a keyed hash, so that an outsider cannot aim at the
// entry of another destination; entries age, so that a larger MTU is found again (RFC 1191 §6.3).
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"

namespace sluice::ip {

struct PathMtu {
  std::uint32_t mtu = 0;  // bytes
  // The path carries less than the lowest MTU that we believe in: packets go out without DF, and routers cut them. So
  // a forged message cannot make us send tiny packets, and a true one still does not cut the connection.
  bool below_floor = false;
};

class PathMtuCache {
 public:
  // `generation` is counted up when an estimate ages, so that cached routes are looked up again.
  PathMtuCache(Context& context, std::uint32_t& generation);

  // The estimate for the destination, `link_mtu` when there is none or it has aged.
  [[nodiscard]] PathMtu get(const Address& destination, std::uint32_t link_mtu) const;
  // Lowers the estimate, to `floor` at least; false when it is not lower than what is known (RFC1191-04).
  bool lower(const Address& destination, std::uint32_t mtu, std::uint32_t floor, std::uint32_t link_mtu);

 private:
  struct Entry {
    Address destination;
    PathMtu estimate{};  // mtu 0: free
    Instant expires{};
  };
  static constexpr std::size_t kSets = 128;
  static constexpr std::size_t kWays = 4;

  [[nodiscard]] std::size_t set_of(const Address& destination) const;
  void on_timer();

  Context& context_;
  std::uint32_t& generation_;
  Timer timer_;
  SipKey key_{};
  std::array<Entry, kSets * kWays> entries_{};
};

// The MTU to try when an old router sends no next-hop MTU: the plateau below the length of the packet that was too big
// (RFC 1191 §7.1).
std::uint32_t plateau_below(std::uint32_t packet_length);

}  // namespace sluice::ip
