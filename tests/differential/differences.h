// Where sluice does not do as Linux does, and why. Printed into docs/SOCKETS.md.
#pragma once

#include <span>
#include <string_view>

namespace sluice::differential {

// Patterns may hold '*' for any characters. A line of a transcript may differ when a difference fits the name of its
// row and both lines.
struct Difference {
  const char* rows;
  const char* kernel;
  const char* sluice;
  const char* reason;
};
std::span<const Difference> differences();
bool fits(std::string_view pattern, std::string_view text);

}  // namespace sluice::differential
