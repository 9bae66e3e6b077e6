// ICMP for IPv4: RFC 792, RFC 1122 §3.2.2, RFC 1191 §4 (next-hop MTU).
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/address.h"
#include "stack/wire/checksum.h"
#include "stack/wire/ipv4.h"

namespace sluice::wire::icmp {

inline constexpr std::size_t kHeaderSize = 8;

inline constexpr std::uint8_t kEchoReply = 0;
inline constexpr std::uint8_t kUnreachable = 3;
inline constexpr std::uint8_t kSourceQuench = 4;
inline constexpr std::uint8_t kRedirect = 5;
inline constexpr std::uint8_t kEchoRequest = 8;
inline constexpr std::uint8_t kTimeExceeded = 11;
inline constexpr std::uint8_t kParameterProblem = 12;

// Codes of kUnreachable.
inline constexpr std::uint8_t kNetUnreachable = 0;
inline constexpr std::uint8_t kHostUnreachable = 1;
inline constexpr std::uint8_t kProtocolUnreachable = 2;
inline constexpr std::uint8_t kPortUnreachable = 3;
inline constexpr std::uint8_t kFragmentationNeeded = 4;
// Code of kTimeExceeded.
inline constexpr std::uint8_t kReassemblyTimeExceeded = 1;

struct Message {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;  // the second word: identifier and sequence, next-hop MTU, pointer ... or zero
  Bytes body{};            // borrowed: echo data, or the quoted packet

  [[nodiscard]] std::uint16_t identifier() const { return static_cast<std::uint16_t>(rest >> 16); }
  [[nodiscard]] std::uint16_t sequence() const { return static_cast<std::uint16_t>(rest); }
  [[nodiscard]] std::uint16_t next_hop_mtu() const { return static_cast<std::uint16_t>(rest); }
  [[nodiscard]] bool is_error() const {
    return type == kUnreachable || type == kSourceQuench || type == kRedirect || type == kTimeExceeded ||
           type == kParameterProblem;
  }
};

// kIcmpMalformed: shorter than 8 bytes; kIcmpChecksum (RFC792-01). A field without a use in its type is not looked at,
// and zero where we send it (RFC792-03).
Result<Message, Drop> parse(Bytes l4, ChecksumPolicy policy = ChecksumPolicy::kVerify);
// Writes the 8 header bytes; the checksum covers them and message.body, which follows them.
void emit(MutableBytes out, const Message& message);

// The packet an error quotes: its IP header, which may claim more than is there, and at least 8 transport bytes.
struct Quote {
  ipv4::Header header;
  Bytes transport;  // borrowed, as much as was quoted
};
// kIcmpQuote: cut short, not IPv4, a bad header length, or a later fragment.
Result<Quote, Drop> parse_quote(Bytes body);

}  // namespace sluice::wire::icmp
