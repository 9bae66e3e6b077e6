// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash. Used wherever an outsider must not predict or
// collide: initial sequence numbers (RFC 6528), ports (RFC 6056), connection tables, IP identification.
#pragma once

#include <array>
#include <cstdint>

#include "stack/base/types.h"

namespace sluice {

using SipKey = std::array<std::uint8_t, 16>;

std::uint64_t siphash24(const SipKey& key, Bytes message);

}  // namespace sluice
