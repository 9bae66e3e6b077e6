// An event of the stack in words, for comments in a capture and for traces.
#pragma once

#include <string>

#include "stack/base/event.h"

namespace sluice::drivers {

// "conn 3: retransmit 1448 bytes from 12345: third duplicate ACK". Empty for events that are measurements rather than
// decisions.
std::string text_of(const Event& event);

}  // namespace sluice::drivers
