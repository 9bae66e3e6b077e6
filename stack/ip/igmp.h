// The host's part of IGMP on one interface: RFC 2236 §3, §6. Routers, and switches that look into it, learn from the
// reports which groups are wanted here (RFC1122-MC-02). Version 2, and version 1 while a router speaks it; a router of
// version 3 takes it too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/ip/groups.h"
#include "stack/link/netdev.h"
#include "stack/wire/igmp.h"

namespace sluice::ip {

// Sends the messages.
class IgmpUser {
 public:
  virtual ~IgmpUser() = default;
  virtual void send_igmp(InterfaceId interface, wire::Ipv4Address destination, const wire::igmp::Message& message) = 0;
};

class Igmp {
 public:
  Igmp(Context& context, IgmpUser& user, InterfaceId interface);

  // The first on this host joins; the last has left.
  void join(wire::Ipv4Address group);
  void leave(wire::Ipv4Address group);
  void on_message(const wire::igmp::Message& message);
  // Whoever is on the link once it is up again knows nothing of what was said before.
  void on_link_state(link::LinkState state);

 private:
  struct Member {
    wire::Ipv4Address group{};  // any(): the place is free
    Instant report_at = Instant::never();
    int unasked_left = 0;           // reports that nobody asked for, to be sent yet
    bool is_last_reporter = false;  // of the group, as far as is known
  };

  Member* find(wire::Ipv4Address group);
  void announce(Member& member);
  void asked(Member& member, Duration longest);
  void report(Member& member);
  [[nodiscard]] Instant at_random(Duration longest);
  [[nodiscard]] bool speaks_version_1() const { return context_.now < version_1_until_; }
  void on_timer();
  void arm();

  Context& context_;
  IgmpUser& user_;
  InterfaceId interface_;
  link::LinkState link_ = link::LinkState::kUp;
  std::array<Member, Groups::kMost> members_{};
  Instant version_1_until_ = Instant::past();  // a router of version 1 was heard
  Timer timer_;
};

}  // namespace sluice::ip
