// What drivers need to know about a network interface of this machine, by ioctl, and how frames are read from and
// written to its descriptor.
#pragma once

#include <net/if.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "drivers/failure.h"
#include "stack/buf/buffer.h"
#include "stack/buf/frame.h"

namespace sluice::drivers {

// Whether the host cuts large segments and completes checksums, where it can.
enum class HostOffload : std::uint8_t { kOff, kOn };

inline constexpr std::size_t kEthernetRoom = 18;        // header and one tag beyond the MTU
inline constexpr std::size_t kBatchBytes = 256u << 10;  // taken in at once: what is read soon is still in the cache
inline constexpr std::uint32_t kMaxGsoBytes = 65535;    // the largest packet that the kernel cuts

// Closes what it holds unless that was released.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
};

// A request with the interface's name in it, the rest zero.
ifreq request_for(const std::string& name);

// Of the interface as it is now; 1500 where it cannot be asked.
std::uint32_t mtu_of(const std::string& name);

// The host's side of an interface: address, MTU (0: as it is) and state, without the `ip` program.
Result<void, Failure> configure_interface(const std::string& name, const std::string& prefix, std::uint32_t mtu);

// A frame as the list for a gather write, with room for a header of the device before it.
using GatherList = std::array<iovec, buf::TxPacket::kMaxPieces + 3>;

// Fills the list with the header (which may be empty) and the frame; returns how many entries there are.
std::size_t gather(const buf::TxFrame& frame, Bytes header, GatherList& pieces);

// Two blocks for the next frame. It is read into a small one and, what goes beyond, into a large one behind the room
// for the small one's bytes: a small frame does not pin 64 KiB, and of a large one only its head is copied.
class FrameBuffers {
 public:
  // `headroom` bytes stay free before each frame.
  explicit FrameBuffers(std::size_t headroom = 0) : headroom_(headroom) {}

  // Sees to it that there are both; false when the pool is exhausted.
  bool prepare(buf::Pool& pool);
  // Where to read to, after prepare().
  std::array<iovec, 2> pieces();
  // The frame of `size` bytes that was read there; no more than the pieces hold.
  buf::Buffer take(std::size_t size);

 private:
  std::size_t headroom_;
  buf::Buffer small_, large_;
};

}  // namespace sluice::drivers
