// Early coalescing: joins TCP segments that follow one another in a batch of received frames into one large segment, as
// a device with receive offload would hand it up. The layers above then do their work once. Only for IPv4 over untagged
// Ethernet without FCS, or over bare IP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/base/types.h"
#include "stack/buf/buffer.h"
#include "stack/buf/frame.h"
#include "stack/link/netdev.h"

namespace sluice::link {

// Joins what can be joined without losing anything a receiver could see: segments of one connection, each checked by
// its own checksums, next in order to the one before, with ACK or ACK and PSH and nothing else, with the same TTL, TOS,
// DF, acknowledgement, window and options. All but the last are of one size; PSH ends a run. The first frame of a run
// becomes the large one, the others are left with an empty buffer. A frame that was looked at and not joined keeps the
// result of its checksum. Without memory for the large one nothing is joined. Returns how many frames went into others.
std::size_t coalesce(buf::Pool& pool, Medium medium, std::span<buf::RxFrame> batch);

}  // namespace sluice::link
