// Connections as the kernel's ss prints them.
#pragma once

#include <string>

#include "apps/control_client.h"

namespace sluice::apps {

// "ESTAB" for "ESTABLISHED".
std::string ss_state(const std::string& state);

// What follows in the second line of `ss -i`, from an answer's connection; sizes of windows in segments, as there.
std::string ss_details(const Json& connection);

}  // namespace sluice::apps
