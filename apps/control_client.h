// Questions to a running stack, through its control socket (docs/CONTROL.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "stack/base/result.h"

namespace sluice::apps {

using Json = nlohmann::ordered_json;

// The answer, or what went wrong in words for people.
Result<Json, std::string> ask_control(const std::string& path, const std::string& request);

}  // namespace sluice::apps
