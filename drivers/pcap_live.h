// A network interface of this machine through libpcap: the stack becomes another station on its segment. Frames arrive
// as they come (immediate mode), those that we sent ourselves are not seen again.
#pragma once

#include <memory>
#include <string>

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
  explicit PcapLive(pcap* handle) : handle_(handle) {}
  pcap* handle_;
  link::Capabilities capabilities_;
};

}  // namespace sluice::drivers
