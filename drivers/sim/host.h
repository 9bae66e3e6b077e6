// One stack at one port of the simulated network, and the application on it.
#pragma once

#include "drivers/sim/dumbbell.h"
#include "stack/stack.h"

namespace sluice::sim {

class Application {
 public:
  virtual ~Application() = default;
  // Called whenever something may have changed: takes what there is and gives what it can. Returns when to call it
  // again if nothing else happens.
  virtual Instant act(Stack& stack, Instant now) = 0;
};

class Host {
 public:
  // `device` is the port, or a decorator around it.
  Host(Scheduler& scheduler, Dumbbell::Port& port, link::NetDevice& device, const StackConfig& config,
       wire::Ipv4Address address, Application& application);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] Stack& stack() { return stack_; }

 private:
  void wake();

  Scheduler& scheduler_;
  Stack stack_;
  Application& application_;
  Timer alarm_;
};

}  // namespace sluice::sim
