// A network device whose frames are bare IP packets in memory: what the tool sends is received, what the stack sends
// waits for the tool, with its time.
#pragma once

#include <deque>
#include <vector>

#include "stack/link/netdev.h"

namespace sluice::packetdrill {

class IpDevice final : public link::NetDevice {
 public:
  struct Packet {
    Instant sent_at;
    std::vector<std::uint8_t> bytes;
  };

  explicit IpDevice(std::uint32_t mtu);

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] Instant next_deadline() const override {
    return to_stack_.empty() ? Instant::never() : Instant::past();
  }

  void inject(Bytes packet) { to_stack_.emplace_back(packet.begin(), packet.end()); }
  bool take(Packet& packet);  // the oldest that the stack has sent; false: there is none

 private:
  link::Capabilities capabilities_;
  std::deque<std::vector<std::uint8_t>> to_stack_;
  std::deque<Packet> from_stack_;
};

}  // namespace sluice::packetdrill
