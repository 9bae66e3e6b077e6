// What adapter.cc and preload.cc share.
#pragma once

#include "drivers/packetdrill/session.h"

namespace sluice::packetdrill {

// The session the tool has begun, or null. The tool has one at a time.
Session* current_session();

}  // namespace sluice::packetdrill
