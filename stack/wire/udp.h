// UDP: RFC 768, RFC 1122 §4.1.3.4, RFC 8200 §8.1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/checksum.h"

namespace sluice::wire::udp {

inline constexpr std::size_t kHeaderSize = 8;
inline constexpr std::size_t kChecksumOffset = 6;

struct Header {                // host byte order, and valid if parse() made it
  std::uint16_t src_port = 0;  // 0: the sender wants no reply
  std::uint16_t dst_port = 0;  // never 0
  std::uint16_t length = 0;    // header and payload, bytes, 8 at least
};

struct Datagram {
  Header header;
  Bytes payload;  // borrowed, exactly as long as the length field says (RFC768-01)
};

// Whether a zero checksum field is taken as "not computed": yes for IPv4 (RFC768-03), no for IPv6 (RFC8200-23).
enum class ZeroChecksum : std::uint8_t { kAllowed, kRefused };

// `pseudo` covers addresses, protocol and the length of the UDP datagram. kUdpMalformed, kUdpChecksum.
Result<Datagram, Drop> parse(Bytes l4, const Address& source, const Address& destination, ChecksumPolicy policy,
                             ZeroChecksum zero);

// Writes the header with checksum field `checksum` (see below).
void emit(MutableBytes out, const Header& header, std::uint16_t checksum);

// The field for a datagram whose header and payload sum is `whole` (pseudo-header included): a computed zero is sent as
// all ones (RFC1122-UDP-08).
inline std::uint16_t checksum_field(const Checksum& whole) {
  const std::uint16_t c = whole.finish();
  return c == 0 ? 0xffff : c;
}

}  // namespace sluice::wire::udp
