#include "drivers/sim/host.h"

#include <algorithm>

namespace sluice::sim {

namespace {
constexpr std::uint8_t kOneNetwork = 8;  // prefix length: every host is a neighbour of every other
}

Host::Host(Scheduler& scheduler, Dumbbell::Port& port, link::NetDevice& device, const StackConfig& config,
           wire::Ipv4Address address, Application& application)
    : scheduler_(scheduler),
      stack_(config),
      application_(application),
      alarm_([](void* self) { static_cast<Host*>(self)->wake(); }, this) {
  stack_.set_time(scheduler.now());
  ip::InterfaceConfig interface;
  interface.address_check = ip::InterfaceConfig::AddressCheck::kNone;
  const ip::InterfaceId id = stack_.ip().add_interface(device, interface).value();
  (void)stack_.ip().add_address(id, {address, kOneNetwork});
  port.set_alarm(alarm_);
  scheduler_.schedule(alarm_, scheduler_.now());
}

void Host::wake() {
  const Instant now = scheduler_.now();
  while (stack_.poll(now)) {
  }
  const Instant again = application_.act(stack_, now);
  scheduler_.schedule(alarm_, std::min(again, stack_.next_deadline()));
}

}  // namespace sluice::sim
