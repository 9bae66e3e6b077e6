// TAP and TUN devices of Linux. A TAP carries Ethernet frames without FCS, a TUN bare IP packets. One frame a system call;
// a sent frame is written from its pieces with one gather write.
#pragma once

#include <memory>
#include <string>

#include "drivers/failure.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

class TunTap final : public link::NetDevice {
 public:
  enum class Kind : std::uint8_t { kTap, kTun };

  // Attaches to interface `name`, which is made if it does not exist (and then goes with this object). The MTU is the
  // interface's. Needs CAP_NET_ADMIN in the namespace, or a persistent interface owned by the user.
  static Result<std::unique_ptr<TunTap>, Failure> open(Kind kind, const std::string& name);
  ~TunTap() override;

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return fd_; }

 private:
  TunTap(int fd, const link::Capabilities& capabilities) : fd_(fd), capabilities_(capabilities) {}

  int fd_;
  link::Capabilities capabilities_;
};

// The host's side of an interface, by ioctl: address, MTU and state, without the `ip` program.
Result<void, Failure> configure_interface(const std::string& name, const std::string& prefix, std::uint32_t mtu);

}  // namespace sluice::drivers
