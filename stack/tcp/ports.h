// Local ports in use by name: bound by a socket, listened on, or of connections made through one of these. Those that
// were chosen for a single connection are not here; its 4-tuple is enough (RFC 6056 §3).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/result.h"
#include "stack/tcp/flow.h"
#include "stack/tcp/options.h"

namespace sluice::tcp {

class Listener;

class Ports {
 public:
  Ports() = default;
  ~Ports();
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  // Whether somebody else has it, so that it cannot be shared.
  [[nodiscard]] bool claimed(const ip::Endpoint& local, PortSharing sharing) const;
  // The same, or connections are in the way.
  [[nodiscard]] bool occupied(const ip::Endpoint& local, PortSharing sharing) const;
  void claim(const ip::Endpoint& local, PortSharing sharing);
  void release(const ip::Endpoint& local, PortSharing sharing);

  // kAddressInUse: another listens there, and they do not share.
  Status add(Listener& listener);
  void remove(Listener& listener);
  // The most specific address counts. Those that share it get their connections by `hash`, of the 4-tuple.
  [[nodiscard]] Listener* listener_for(const ip::Endpoint& local, std::uint32_t hash) const;
  [[nodiscard]] bool shared(std::uint16_t port) const;  // more than one listener
  [[nodiscard]] Listener* any_listener() const;         // null when there is none
  using Visitor = void (*)(void* arg, const Listener& listener);
  void visit_listeners(Visitor visit, void* arg) const;

  // A flow is in the table of flows now, or no longer. No-op when its port is not here.
  void count(Flow& flow);
  void discount(Flow& flow);

 private:
  struct Claim {
    ip::Endpoint local;
    PortSharing sharing;
    Claim* next;
  };
  struct Port {
    std::uint16_t number;
    std::size_t flows = 0;
    Claim* claims = nullptr;
    Listener* listeners = nullptr;
    Port* next = nullptr;
  };
  static constexpr std::size_t kBuckets = 1024;

  [[nodiscard]] Port* find(std::uint16_t number) const;
  Port& obtain(std::uint16_t number);
  void forget_if_unused(const Port& port);

  std::array<Port*, kBuckets> buckets_{};  // by number
};

}  // namespace sluice::tcp
