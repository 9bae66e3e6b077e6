// The virtio-net header that Linux puts before each frame of a TAP, TUN or packet socket on request: checksum and
// segmentation metadata (virtio 1.2 §5.1.6, in the byte order of the machine). Read and written byte by byte; what
// comes in is not trusted (link::offload_valid looks at it again).
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"
#include "stack/buf/frame.h"

namespace sluice::drivers {

inline constexpr std::size_t kVirtioHeaderSize = 10;  // without the count of merged buffers

// The metadata of a received frame of `frame_size` bytes, or none when the header contradicts itself: an unknown kind
// of segmentation, segments of size zero, segmentation without the partial checksum it needs, offsets beyond the frame.
struct ParsedVirtioHeader {
  bool valid = false;
  buf::Offload offload{};
};
ParsedVirtioHeader parse_virtio_header(Bytes header, std::size_t frame_size);

// Writes the header for a frame that is sent; out.size() >= kVirtioHeaderSize.
void emit_virtio_header(MutableBytes out, const buf::Offload& offload);

}  // namespace sluice::drivers
