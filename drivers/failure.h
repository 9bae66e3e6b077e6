// What could not be opened and what to do about it, in words for people.
#pragma once

#include <cstdint>
#include <string>

#include "stack/base/result.h"

namespace sluice {

struct Failure {
  enum class Cause : std::uint8_t {
    kRequest,      // what was asked for cannot be: a slip in a name, an address, a file
    kEnvironment,  // the machine lacks something that another machine or user would have
  };
  std::string message;
  Cause cause = Cause::kRequest;
};

}  // namespace sluice

namespace sluice::drivers {

using sluice::Failure;

// "what: reason of errno"
Failure system_failure(const std::string& what, int error);

}  // namespace sluice::drivers
