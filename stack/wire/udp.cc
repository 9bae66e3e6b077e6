#include "stack/wire/udp.h"

#include <cassert>

#include "stack/base/byte_order.h"

namespace sluice::wire::udp {
namespace {
constexpr std::uint8_t kProtocol = 17;
}

Result<Datagram, Drop> parse(Bytes l4, const Address& source, const Address& destination, ChecksumPolicy policy,
                             ZeroChecksum zero) {
  if (l4.size() < kHeaderSize) return fail(Drop::kUdpMalformed);
  const Header header{load_be16(l4.data()), load_be16(l4.data() + 2), load_be16(l4.data() + 4)};
  if (header.length < kHeaderSize || header.length > l4.size() || header.dst_port == 0) {
    return fail(Drop::kUdpMalformed);
  }
  const Bytes datagram = l4.first(header.length);
  const bool absent = load_be16(l4.data() + 6) == 0;
  if (absent && zero == ZeroChecksum::kRefused) return fail(Drop::kUdpChecksum);
  if (!absent && policy == ChecksumPolicy::kVerify) {
    Checksum sum = Checksum::pseudo_header(source, destination, kProtocol, header.length);
    if (sum.add(datagram).finish() != 0) return fail(Drop::kUdpChecksum);
  }
  return Datagram{header, datagram.subspan(kHeaderSize)};
}

void emit(MutableBytes out, const Header& header, std::uint16_t checksum) {
  assert(out.size() >= kHeaderSize && header.length >= kHeaderSize);
  store_be16(out.data(), header.src_port);
  store_be16(out.data() + 2, header.dst_port);
  store_be16(out.data() + 4, header.length);
  store_be16(out.data() + 6, checksum);
}

}  // namespace sluice::wire::udp
