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

// A block for the next frame, in one piece: a system call with a list of pieces costs more than copying a small frame
// into a block of its size, so that it does not pin 64 KiB. A large one stays where it was read to.
class FrameBuffer {
 public:
  // `headroom` bytes stay free before what is read.
  explicit FrameBuffer(std::size_t headroom = 0) : headroom_(headroom) {}

  // Sees to it that there is one; false when the pool is exhausted.
  bool prepare(buf::Pool& pool);
  // Where to read to, after prepare(): a header of the device and the frame.
  MutableBytes room() { return large_.storage().subspan(headroom_); }
  // The frame of `size` bytes that was read there behind a header; no more than room() holds.
  buf::Buffer take(buf::Pool& pool, std::size_t header, std::size_t size);

 private:
  std::size_t headroom_;
  buf::Buffer large_;
};

// Writes the frame, with the header (which may be empty) before it; false when the device did not take it.
bool write_frame(int fd, Bytes header, const buf::TxFrame& frame);

}  // namespace sluice::drivers
