// The IPv4 header: RFC 791 §3.1, RFC 1122 §3.2.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/address.h"
#include "stack/wire/checksum.h"

namespace sluice::wire::ipv4 {

inline constexpr std::size_t kHeaderSize = 20;  // without options
inline constexpr std::size_t kMaxHeaderSize = 60;
inline constexpr std::size_t kMaxSize = 65535;

struct Header {
  std::uint8_t tos = 0;            // DSCP and ECN
  std::uint16_t total_length = 0;  // header and payload, bytes
  std::uint16_t identification = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;  // bytes, a multiple of 8
  std::uint8_t ttl = 0;
  std::uint8_t protocol = 0;
  Ipv4Address source;
  Ipv4Address destination;

  [[nodiscard]] bool is_fragment() const { return more_fragments || fragment_offset != 0; }
};

struct Packet {
  Header header;
  Bytes options;  // borrowed, 0 to 40 bytes
  Bytes payload;  // borrowed, exactly as long as total_length says (RFC791-02)
};

// Checks, in this order: size, version, header length, total length, checksum (RFC791-01, RFC1122-IP-05, -06).
Result<Packet, Drop> parse(Bytes packet, ChecksumPolicy policy = ChecksumPolicy::kVerify);

// "Routers, look at this" (RFC 2113): the one option that is sent.
inline constexpr std::array<std::uint8_t, 4> kRouterAlert = {148, 4, 0, 0};

// Writes the header with its checksum and the options behind it, which are a whole number of words.
void emit(MutableBytes out, const Header& header, Bytes options = {});

// Explicit congestion notification, the two low bits of tos (RFC 3168 §5).
enum class Ecn : std::uint8_t { kNotCapable = 0, kCapable1 = 1, kCapable0 = 2, kCongestion = 3 };
Ecn ecn_of(Bytes packet);  // packet.size() >= kHeaderSize
// What a router does instead of dropping: ECT(0) and ECT(1) become CE, and the checksum follows. False, and nothing
// done, when the sender cannot make use of it.
bool mark_congestion(MutableBytes packet);

// What the options ask for, as far as a host cares.
enum class OptionCheck : std::uint8_t {
  kFine,         // none, or only such as may be skipped (RFC1122-IP-22)
  kSourceRoute,  // loose or strict source route: refused (RFC 7126 §4.3)
  kMalformed,    // an impossible length (RFC1122-IP-23)
};
struct OptionResult {
  OptionCheck check = OptionCheck::kFine;
  std::uint8_t pointer = 0;  // kMalformed: octet of the IP header at fault, for a parameter problem
};
OptionResult check_options(Bytes options);

}  // namespace sluice::wire::ipv4
