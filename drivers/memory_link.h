// An in-memory Ethernet segment that joins stacks in one process. Frames carry their FCS. Each frame reaches every
// other port, as on a hub. MemoryLink is for one thread and virtual time; SharedMemoryLink has a lock, and descriptors
// to poll.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "drivers/failure.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

using FrameBytes = std::vector<std::uint8_t>;

class MemoryLink {
 public:
  explicit MemoryLink(std::uint32_t mtu = 1500, std::size_t queue_frames = 1024);

  class Port final : public link::NetDevice {
   public:
    [[nodiscard]] const link::Capabilities& capabilities() const override { return link_->capabilities_; }
    std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
    std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
    [[nodiscard]] Instant next_deadline() const override { return queue_.empty() ? Instant::never() : Instant::past(); }

   private:
    friend class MemoryLink;
    explicit Port(MemoryLink& link) : link_(&link) {}
    MemoryLink* link_;
    std::deque<FrameBytes> queue_;
  };

  Port& add_port();  // lives as long as the link

 private:
  link::Capabilities capabilities_;
  std::size_t queue_frames_;
  std::vector<std::unique_ptr<Port>> ports_;
};

// Two ends for stacks in different threads. poll_handle() is an eventfd.
class SharedMemoryLink {
 public:
  explicit SharedMemoryLink(std::uint32_t mtu = 1500, std::size_t queue_frames = 1024);
  ~SharedMemoryLink();
  link::NetDevice& end(std::size_t which);  // 0 or 1

 private:
  class End;
  std::unique_ptr<End> ends_[2];
};

}  // namespace sluice::drivers
