// A network interface of this machine through libpcap: the stack becomes another station on its segment. Frames are
// taken in batches from libpcap's ring, as they come (immediate mode); those that we sent ourselves are not seen again.
// libpcap does not tell of checksums left to the hardware nor of joined segments: where the interface does such things
// (a veth, GRO), its offloads have to be off, or PacketSocket is the better driver.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "drivers/failure.h"
#include "stack/link/netdev.h"

struct pcap;

namespace sluice::drivers {

class PcapLive final : public link::NetDevice {
 public:
  // Needs CAP_NET_RAW. The interface goes to promiscuous mode, because our station has an address of its own.
  static Result<std::unique_ptr<PcapLive>, Failure> open(const std::string& interface);
  ~PcapLive() override;

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override;

 private:
  PcapLive(pcap* handle, std::uint32_t mtu) : handle_(handle) { capabilities_.mtu = mtu; }

  pcap* handle_;
  link::Capabilities capabilities_;
  std::vector<std::uint8_t> whole_;  // a frame to be sent, its pieces joined
};

}  // namespace sluice::drivers
