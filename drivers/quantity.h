// Quantities as people write them: a number and its unit, nothing before, between or behind. Empty when the text is
// none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "stack/base/time.h"

namespace sluice::drivers {

std::optional<double> parse_probability(std::string_view text);      // "1%", "0.01"
std::optional<Duration> parse_duration(std::string_view text);       // "20us", "10ms", "1.5s"
std::optional<std::uint64_t> parse_bit_rate(std::string_view text);  // "100mbit", "1gbit", "64kbit", "9600"; bit/s
std::optional<std::size_t> parse_byte_count(std::string_view text);  // "1500", "256k", "1m", "1g"; k is 1024

}  // namespace sluice::drivers
