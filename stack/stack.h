// The composition root: one Stack is one host. No I/O, no clock, no threads: a function from (frames, time, calls) to
// (frames, deadlines, results). Not thread-safe; the runtime holds one lock around it.
#pragma once

#include <cstddef>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/ip/ip.h"
#include "stack/link/netdev.h"
#include "stack/socket/sockets.h"
#include "stack/tcp/options.h"
#include "stack/tcp/tcp.h"
#include "stack/udp/udp.h"

namespace sluice {

struct StackConfig {
  Rng::Seed seed{};  // from the system's entropy in real use; fixed in tests
  ip::IpConfig ip{};
  tcp::TcpConfig tcp{};
  buf::Pool::Limits buffers{};
  EventSink* events = nullptr;  // must outlive the stack
};

class Stack {
 public:
  explicit Stack(const StackConfig& config);
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Tells the time before calls that are not poll(): socket calls use the latest. Going back is ignored.
  void set_time(Instant now);

  // Takes in frames, runs due timers, sends what that made possible. Bounded: at most `budget` frames a device.
  // True when it stopped because of the budget and wants to be called again at once.
  bool poll(Instant now, std::size_t budget = 64);

  // When poll() must be called at the latest if no frame arrives and no call is made; never() if idle.
  [[nodiscard]] Instant next_deadline() const;

  [[nodiscard]] Context& context();
  [[nodiscard]] const Counters& counters() const;
  [[nodiscard]] buf::Pool& pool();
  [[nodiscard]] ip::Ip& ip();
  [[nodiscard]] udp::Udp& udp();
  [[nodiscard]] tcp::Tcp& tcp();
  [[nodiscard]] socket::Sockets& sockets();

 private:
  struct Parts;
  Parts* parts_;
};

}  // namespace sluice
