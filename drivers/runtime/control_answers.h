// What the control socket answers (docs/CONTROL.md). Private to drivers/runtime.
#pragma once

#include <functional>
#include <string>

#include "sluice/runtime.hpp"

namespace sluice {

// Calls what it is given with the stack; false when that could not be had.
using Visit = std::function<bool(const std::function<void(Stack&)>&)>;

// A line of JSON with its end. The stack is visited once, or not at all for a request that there is not.
std::string control_answer(const std::string& request, const Visit& visit, const Options& options);
std::string control_error(const std::string& message);

}  // namespace sluice
