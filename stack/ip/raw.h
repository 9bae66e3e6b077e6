// What a raw socket is to IP: a receiver of whole packets of one protocol, beside the transport of that protocol.
// raw(7).
#pragma once

#include <cstdint>

#include "stack/ip/types.h"

namespace sluice::ip {

struct RawPacket {
  Address source{};
  Address destination{};
  InterfaceId interface = kNoInterface;
  std::uint8_t ttl = 0;
  std::uint8_t tos = 0;
  std::size_t header_size = 0;  // bytes, options included
  Bytes packet{};               // from the IP header on
};

class RawUser {
 public:
  virtual ~RawUser() = default;
  // Each packet of its protocol that this host takes in. True: it was wanted, so the protocol is not unreachable here.
  virtual bool on_raw_packet(const RawPacket& packet) = 0;
  virtual void on_raw_error(const IcmpError& error) = 0;  // about a packet of its protocol
};

}  // namespace sluice::ip
