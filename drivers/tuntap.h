// TAP and TUN devices of Linux. A TAP carries Ethernet frames without FCS, a TUN bare IP packets. One frame a system
// call, or several through io_uring; a sent frame is written from its pieces with one gather write. With host offload a
// virtio-net header stands before each frame: the kernel takes and gives TCP segments of up to 64 KiB and checksums
// that are not computed.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "drivers/failure.h"
#include "drivers/interface.h"
#include "drivers/uring.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

// How frames are written that are handed over together and that the host does not cut.
enum class WriteBatch : std::uint8_t {
  kNone,   // a system call each
  kUring,  // one for up to 32 frames
};

class TunTap final : public link::NetDevice {
 public:
  enum class Kind : std::uint8_t { kTap, kTun };

  // Attaches to interface `name`, which is made if it does not exist (and then goes with this object). The MTU is the
  // interface's. Needs CAP_NET_ADMIN in the namespace, or a persistent interface owned by the user.
  // Offload that the kernel does not have is left out: capabilities() tells what there is.
  static Result<std::unique_ptr<TunTap>, Failure> open(Kind kind, const std::string& name,
                                                       HostOffload offload = HostOffload::kOn,
                                                       WriteBatch writes = WriteBatch::kNone);
  ~TunTap() override;

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return fd_; }

 private:
  TunTap(int fd, const link::Capabilities& capabilities, HostOffload offload, std::optional<Uring> ring)
      : fd_(fd), capabilities_(capabilities), offload_(offload), ring_(std::move(ring)) {}
  std::size_t rx_plain(buf::Pool& pool, std::span<buf::RxFrame> out);
  std::size_t rx_offload(buf::Pool& pool, std::span<buf::RxFrame> out);
  std::size_t tx_by_ring(std::span<const buf::TxFrame> frames);
  bool read_offload(buf::Pool& pool, buf::RxFrame& frame);

  static constexpr std::size_t kWriteBatch = 32;  // frames a system call

  int fd_;
  link::Capabilities capabilities_;
  HostOffload offload_;
  FrameBuffer buffer_;
  std::optional<Uring> ring_;  // for writes, where there is no offload
};

}  // namespace sluice::drivers
