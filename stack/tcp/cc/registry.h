// The table of congestion controllers: name to maker (RFC9293-MAY-18).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "stack/tcp/cc/congestion.h"

namespace sluice::tcp::cc {

// 0 when there is no such controller; indices begin with 1.
std::uint8_t index_of(std::string_view name);
const char* name_at(std::uint8_t index);  // null past the end
std::uint8_t count();
// Whether it is of no use without ECN: it is asked for then, and each mark is to be echoed by itself (RFC 8257).
bool wants_ecn(std::uint8_t index);
// An index out of range makes the first one.
std::unique_ptr<Controller> make(std::uint8_t index);

}  // namespace sluice::tcp::cc
