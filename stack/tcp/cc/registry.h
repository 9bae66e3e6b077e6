// The table of congestion controllers: name to maker. A controller lives inside its connection, in storage of
// kStorage bytes, so that none is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "stack/tcp/cc/congestion.h"

namespace sluice::tcp::cc {

inline constexpr std::size_t kStorage = 256;  // bytes, aligned to 16

// 0 when there is no such controller; indices begin with 1.
std::uint8_t index_of(std::string_view name);
const char* name_at(std::uint8_t index);  // null past the end
std::uint8_t count();
// Constructs controller `index` in `storage`. An index out of range makes the first one.
Controller* make(std::uint8_t index, void* storage);

}  // namespace sluice::tcp::cc
