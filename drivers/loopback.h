// A device that returns what is sent: the loopback of a host with no other interface. Bare IP packets.
#pragma once

#include <deque>
#include <vector>

#include "stack/link/netdev.h"

namespace sluice::drivers {

class Loopback final : public link::NetDevice {
 public:
  explicit Loopback(std::uint32_t mtu = 65535) {
    capabilities_.medium = link::Medium::kIp;
    capabilities_.mtu = mtu;
  }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    std::size_t n = 0;
    for (; n < out.size() && !queue_.empty(); ++n) {
      buf::Buffer buffer = pool.copy_of(queue_.front());
      if (!buffer) break;
      out[n] = {std::move(buffer), {}, static_cast<std::uint32_t>(queue_.front().size())};
      queue_.pop_front();
    }
    return n;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override {
    std::size_t n = 0;
    for (; n < frames.size() && queue_.size() < kQueue; ++n) {
      std::vector<std::uint8_t> bytes(frames[n].size());
      frames[n].copy_to(bytes);
      queue_.push_back(std::move(bytes));
    }
    return n;
  }
  [[nodiscard]] Instant next_deadline() const override { return queue_.empty() ? Instant::never() : Instant::past(); }

 private:
  static constexpr std::size_t kQueue = 1024;
  link::Capabilities capabilities_;
  std::deque<std::vector<std::uint8_t>> queue_;
};

}  // namespace sluice::drivers
