// Ethernet II and 802.3 framing, one 802.1Q tag: IEEE 802.3 clause 3, IEEE 802.1Q, RFC 894, RFC 1042.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/address.h"

namespace sluice::wire::ethernet {

inline constexpr std::size_t kHeaderSize = 14;
inline constexpr std::size_t kTagSize = 4;
inline constexpr std::size_t kFcsSize = 4;
inline constexpr std::size_t kMinSize = 60;             // without FCS (IEEE802.3-01)
inline constexpr std::uint16_t kMaxLengthField = 1500;  // at most: a length (IEEE802.3-06)
inline constexpr std::uint16_t kMinEtherType = 1536;    // at least: an EtherType

inline constexpr std::uint16_t kIpv4 = 0x0800;  // (RFC894-01, RFC1122-LNK-06)
inline constexpr std::uint16_t kArp = 0x0806;
inline constexpr std::uint16_t kVlan = 0x8100;
inline constexpr std::uint16_t kIpv6 = 0x86dd;

struct Tag {
  std::uint16_t vid = 0;      // 0..4094; 0: priority tag only
  std::uint8_t priority = 0;  // 0..7
  bool drop_eligible = false;
};

struct Header {
  MacAddress destination;
  MacAddress source;
  std::uint16_t type = 0;  // EtherType; of an 802.3 frame the one in its SNAP header, or 0 when it has none
  bool tagged = false;
  Tag tag{};

  [[nodiscard]] std::size_t size() const { return kHeaderSize + (tagged ? kTagSize : 0); }
};

struct Frame {
  Header header;
  std::size_t header_size = 0;  // bytes before the payload, with tag and LLC/SNAP
  Bytes payload;                // borrowed; trailing pad is still there, except where an 802.3 length cuts it off
};

// A frame without FCS. kEthRunt: shorter than its header; kEthLength: length field invalid or past the frame;
// kEthVlan: tag cut short, reserved VID, or a second tag.
Result<Frame, Drop> parse(Bytes frame);

// Writes header.size() bytes; the payload follows them.
void emit(MutableBytes out, const Header& header);

// True if the frame's last four bytes are the FCS of those before (IEEE802.3-04).
bool fcs_matches(Bytes frame_with_fcs);
// The FCS as the four bytes on the wire.
void emit_fcs(MutableBytes out, std::uint32_t crc);

}  // namespace sluice::wire::ethernet
