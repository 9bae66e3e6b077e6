// ARP for IPv4 over Ethernet: RFC 826, RFC 5227.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/address.h"

namespace sluice::wire::arp {

inline constexpr std::size_t kSize = 28;

enum class Operation : std::uint8_t { kRequest = 1, kReply = 2 };

struct Packet {
  Operation operation = Operation::kRequest;
  MacAddress sender_mac;
  Ipv4Address sender_ip;
  MacAddress target_mac;
  Ipv4Address target_ip;
};

// kArpMalformed: short, hardware type not 1, protocol not IPv4, lengths not 6 and 4, or another operation (RFC826-01).
// Bytes after the packet are link padding and ignored.
Result<Packet, Drop> parse(Bytes payload);
void emit(MutableBytes out, const Packet& packet);  // kSize bytes

}  // namespace sluice::wire::arp
