// Address conflict detection and defence: RFC 5227. Probes an address before it is used, announces it, and defends it
// at a limited rate when another station claims it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/wire/address.h"
#include "stack/wire/arp.h"

namespace sluice::link {

class AddressGuardUser {
 public:
  virtual ~AddressGuardUser() = default;
  virtual void send_probe(wire::Ipv4Address address) = 0;         // sender address zero
  virtual void send_announcement(wire::Ipv4Address address) = 0;  // sender and target the same
  virtual void on_usable_changed() = 0;                           // of any address: found free, or lost
};

class AddressGuard {
 public:
  static constexpr std::size_t kCapacity = 16;
  enum class Start : std::uint8_t { kQuiet, kAnnounce, kProbe };

  AddressGuard(Context& context, AddressGuardUser& user, const wire::MacAddress& mac);

  Status add(wire::Ipv4Address address, Start start);  // kNoBuffers, kExist
  void remove(wire::Ipv4Address address);

  // Our station has another MAC now, or is back: our addresses are announced again (RFC 5227 §3).
  void set_mac(const wire::MacAddress& mac) { mac_ = mac; }
  void announce_again();

  // Ours to answer for, and to send from: present, not under probe and not lost to another station.
  [[nodiscard]] bool usable(wire::Ipv4Address address) const;

  // The one to ask from for `target`: it shares the longest prefix; any() when there is none.
  [[nodiscard]] wire::Ipv4Address source_for(wire::Ipv4Address target) const;

  // Looks at an arriving ARP packet for a claim on one of our addresses.
  void inspect(const wire::arp::Packet& packet);

 private:
  enum class State : std::uint8_t { kFree, kProbing, kAnnouncing, kActive, kLost };
  struct Entry {
    wire::Ipv4Address address{};
    State state = State::kFree;
    int left = 0;  // probes or announcements still to send
    Instant next{};
    Instant defended = Instant::past();
  };

  Entry* find(wire::Ipv4Address address);
  void on_conflict(Entry& entry);
  void begin(Entry& entry, State state, int count, Instant first);
  void run(Entry& entry);
  void on_timer();

  Context& context_;
  AddressGuardUser& user_;
  wire::MacAddress mac_;
  Timer timer_;
  std::array<Entry, kCapacity> entries_{};
};

}  // namespace sluice::link
