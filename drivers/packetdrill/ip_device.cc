// The device of ip_device.h.
#include "drivers/packetdrill/ip_device.h"

#include <utility>

namespace sluice::packetdrill {

IpDevice::IpDevice(std::uint32_t mtu) {
  capabilities_.medium = link::Medium::kIp;
  capabilities_.mtu = mtu;
}

std::size_t IpDevice::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  while (n < out.size() && !to_stack_.empty()) {
    buf::Buffer buffer = pool.copy_of(to_stack_.front());
    if (!buffer) break;
    out[n++] = {std::move(buffer), {}, static_cast<std::uint32_t>(to_stack_.front().size())};
    to_stack_.pop_front();
  }
  return n;
}

std::size_t IpDevice::tx(Instant now, std::span<const buf::TxFrame> frames) {
  for (const buf::TxFrame& frame : frames) {
    from_stack_.push_back({now, std::vector<std::uint8_t>(frame.size())});
    frame.copy_to(from_stack_.back().bytes);
  }
  return frames.size();
}

bool IpDevice::take(Packet& packet) {
  if (from_stack_.empty()) return false;
  packet = std::move(from_stack_.front());
  from_stack_.pop_front();
  return true;
}

}  // namespace sluice::packetdrill
