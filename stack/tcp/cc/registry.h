// The table of congestion controllers: name to maker.
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
// An index out of range makes the first one.
std::unique_ptr<Controller> make(std::uint8_t index);

}  // namespace sluice::tcp::cc
