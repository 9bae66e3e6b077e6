// What the control socket changes: addresses, links, routes and neighbours, in the words of iproute2's ip
// (docs/CONTROL.md). Private to drivers/runtime.
#pragma once

#include <string>
#include <string_view>

#include "stack/base/result.h"
#include "stack/stack.h"

namespace sluice {

// `words`: what follows `ip`, like "addr add 10.0.0.3/24 dev sl1". Nothing has changed when it fails; the error says in
// words for people what is wrong with the request, and what would do.
Result<void, std::string> apply_change(Stack& stack, std::string_view words);

}  // namespace sluice
