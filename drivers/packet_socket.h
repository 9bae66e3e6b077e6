// A network interface of this machine through a packet socket: the stack becomes another station on its segment, with
// an address of its own. A virtio-net header before each frame tells of segments of up to 64 KiB and of checksums that
// are not computed, both ways: what a veth hands over, or what GRO has joined, is taken in as it is.
#pragma once

#include <memory>
#include <string>

#include "drivers/failure.h"
#include "drivers/interface.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

class PacketSocket final : public link::NetDevice {
 public:
  // Needs CAP_NET_RAW. The interface goes to promiscuous mode while this object lives. Without host offload only what
  // is sent is cut and has its checksum here: the interface is shared, and what arrives is not ours to choose.
  static Result<std::unique_ptr<PacketSocket>, Failure> open(const std::string& interface,
                                                             HostOffload offload = HostOffload::kOn);
  ~PacketSocket() override;

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return fd_; }

 private:
  enum class Read : std::uint8_t { kFrame, kLost, kNothing };

  PacketSocket(int fd, const link::Capabilities& capabilities) : fd_(fd), capabilities_(capabilities) {}
  Read read_frame(buf::Pool& pool, buf::RxFrame& frame);
  std::size_t send_batch(std::span<const buf::TxFrame> frames);

  static constexpr std::size_t kTagSize = 4;
  static constexpr std::size_t kWriteBatch = 32;  // frames a system call

  int fd_;
  link::Capabilities capabilities_;
  FrameBuffer buffer_{kTagSize};
};

// The kernel takes a VLAN tag off the frame and tells of it beside: puts it back behind the addresses. The buffer has
// room for it before its view; offload offsets move along.
void restore_tag(buf::RxFrame& frame, std::uint16_t type, std::uint16_t control);

}  // namespace sluice::drivers
