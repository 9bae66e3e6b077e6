// IGMP, versions 1 and 2: RFC 1112 appendix I, RFC 2236 §2. What version 3 puts behind the first 8 bytes is not read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/address.h"

namespace sluice::wire::igmp {

inline constexpr std::size_t kSize = 8;

inline constexpr std::uint8_t kQuery = 0x11;
inline constexpr std::uint8_t kReportV1 = 0x12;
inline constexpr std::uint8_t kReportV2 = 0x16;
inline constexpr std::uint8_t kLeave = 0x17;

struct Message {
  std::uint8_t type = 0;
  std::uint8_t max_response = 0;  // of a query: tenths of a second; 0: from a querier of version 1
  Ipv4Address group{};            // any(): a query for all groups
};

// kIgmpMalformed: shorter than 8 bytes; kIgmpChecksum: it covers all that there is (RFC2236-03, RFC3376-01).
Result<Message, Drop> parse(Bytes l4);
void emit(MutableBytes out, const Message& message);  // kSize bytes

}  // namespace sluice::wire::igmp
