// Whole frames for those who look below IP: what a packet socket is to the interfaces. packet(7).
#pragma once

#include <cstdint>

#include "stack/buf/frame.h"
#include "stack/ip/types.h"
#include "stack/link/netdev.h"
#include "stack/wire/address.h"

namespace sluice::ip {

// Where a frame comes from or goes to.
struct LinkName {
  enum class Kind : std::uint8_t { kToUs, kBroadcast, kMulticast, kToOthers, kSent };  // numbers are those of packet(7)

  InterfaceId interface = kNoInterface;
  std::uint16_t protocol = 0;  // EtherType; 0: none
  link::Medium medium = link::Medium::kEthernet;
  Kind kind = Kind::kToUs;
  wire::MacAddress address{};  // of the sender; as a destination, of the receiver
};

class FrameUser {
 public:
  virtual ~FrameUser() = default;
  // Each frame that comes in, also for others, and each that is sent; without FCS, perhaps larger than the MTU.
  // `header_size`: of the link's header, VLAN tag included.
  virtual void on_frame(const LinkName& name, const buf::TxFrame& frame, std::size_t header_size) = 0;
};

}  // namespace sluice::ip
