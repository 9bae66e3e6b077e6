#include "stack/wire/arp.h"

#include <cassert>

#include "stack/base/byte_order.h"
#include "stack/wire/ethernet.h"

namespace sluice::wire::arp {
namespace {
constexpr std::uint16_t kHardwareEthernet = 1;  // (RFC826-06)
constexpr std::uint8_t kHardwareLength = 6;
constexpr std::uint8_t kProtocolLength = 4;
}  // namespace

Result<Packet, Drop> parse(Bytes p) {
  if (p.size() < kSize) return fail(Drop::kArpMalformed);
  const std::uint16_t operation = load_be16(p.data() + 6);
  if (load_be16(p.data()) != kHardwareEthernet || load_be16(p.data() + 2) != ethernet::kIpv4 ||
      p[4] != kHardwareLength || p[5] != kProtocolLength || (operation != 1 && operation != 2)) {
    return fail(Drop::kArpMalformed);
  }
  return Packet{static_cast<Operation>(operation), MacAddress::load(p.data() + 8), Ipv4Address::load(p.data() + 14),
                MacAddress::load(p.data() + 18), Ipv4Address::load(p.data() + 24)};
}

void emit(MutableBytes out, const Packet& packet) {
  assert(out.size() >= kSize);
  store_be16(out.data(), kHardwareEthernet);
  store_be16(out.data() + 2, ethernet::kIpv4);
  out[4] = kHardwareLength;
  out[5] = kProtocolLength;
  store_be16(out.data() + 6, static_cast<std::uint16_t>(packet.operation));
  packet.sender_mac.store(out.data() + 8);
  packet.sender_ip.store(out.data() + 14);
  packet.target_mac.store(out.data() + 18);
  packet.target_ip.store(out.data() + 24);
}

}  // namespace sluice::wire::arp
