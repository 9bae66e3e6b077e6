// What could not be opened and what to do about it, in words for people.
#pragma once

#include <string>

#include "stack/base/result.h"

namespace sluice {

struct Failure {
  std::string message;
};

}  // namespace sluice

namespace sluice::drivers {

using sluice::Failure;

// "what: reason of errno"
Failure system_failure(const std::string& what, int error);

}  // namespace sluice::drivers
