// The device of ip_device.h.
#include "drivers/packetdrill/ip_device.h"

#include <utility>

namespace sluice::packetdrill {
namespace {

// A script may write several segments as one packet that no link would carry: as if the device had joined them.
buf::Offload joined(std::uint32_t mtu) {
  constexpr std::uint16_t kHeaders = 40;
  buf::Offload o;
  o.gso = buf::GsoType::kTcp4;
  o.gso_size = static_cast<std::uint16_t>(mtu - kHeaders);
  o.header_length = kHeaders;
  return o;
}

}  // namespace

IpDevice::IpDevice(std::uint32_t mtu) {
  capabilities_.medium = link::Medium::kIp;
  capabilities_.mtu = mtu;
}

std::size_t IpDevice::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  while (n < out.size() && !to_stack_.empty()) {
    buf::Buffer buffer = pool.copy_of(to_stack_.front());
    if (!buffer) break;
    const std::size_t size = to_stack_.front().size();
    out[n++] = {std::move(buffer), size > capabilities_.mtu ? joined(capabilities_.mtu) : buf::Offload(),
                static_cast<std::uint32_t>(size)};
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
