#include "drivers/quantity.h"

#include <charconv>
#include <span>
#include <string>

namespace sluice::drivers {

namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kMost = 9e18;  // fits the integers below

std::optional<double> scaled(std::string_view text, std::span<const Unit> units) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return {};
  const std::string_view name = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    const double result = value * unit.factor;
    return result >= 0 && result <= kMost ? std::optional(result)
                                          : std::nullopt;  // no infinity, nothing that is no number
  }
  return {};
}

template <typename T>
std::optional<T> whole(std::optional<double> value) {
  return value ? std::optional(static_cast<T>(*value)) : std::nullopt;
}

}  // namespace

std::optional<double> parse_probability(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1}, {"%", 0.01}};
  const auto p = scaled(text, kUnits);
  return p && *p <= 1 ? p : std::nullopt;
}

std::optional<Duration> parse_duration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  const auto ns = scaled(text, kUnits);
  return ns ? std::optional(Duration::nanos(static_cast<std::int64_t>(*ns))) : std::nullopt;
}

std::optional<std::uint64_t> parse_bit_rate(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1}, {"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
  return whole<std::uint64_t>(scaled(text, kUnits));
}

std::optional<std::size_t> parse_byte_count(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}};
  return whole<std::size_t>(scaled(text, kUnits));
}

}  // namespace sluice::drivers
