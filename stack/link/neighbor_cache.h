// The neighbour cache: IPv4 next hop to MAC. RFC 826, RFC 1122 §2.3.2; states after RFC 4861 §7.3.2, so that IPv6
// neighbour discovery can share it. Bounded in entries and in waiting packets (RFC 6583 describes the attack).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/base/siphash.h"
#include "stack/buf/buffer.h"
#include "stack/wire/address.h"

namespace sluice::link {

enum class NeighborState : std::uint8_t {
  kFree,
  kIncomplete,  // asked, no answer yet; packets wait
  kReachable,   // confirmed lately
  kStale,       // known, but not confirmed for the lifetime; used, and asked again when used
  kProbe,       // asked again by unicast while still used
  kPermanent,   // set by hand: no packet changes it, no time ends it
};
const char* name_of(NeighborState state);

struct NeighborConfig {
  Duration lifetime = 60_s;      // reachable to stale (RFC1122-LNK-02, -04)
  Duration retry = 1_s;          // between requests for one address (RFC1122-LNK-03)
  int attempts = 3;              // then the next hop is unreachable
  Duration hold = 1_s;           // an entry's MAC changes at most this often
  std::size_t max_waiting = 64;  // packets kept for one address: a large datagram in fragments, a segment cut up
  std::size_t max_waiting_total = 256;
};

// What the cache needs done. The waiting packets are whole IP packets.
class NeighborUser {
 public:
  virtual ~NeighborUser() = default;
  // Ask for the address: broadcast when `known` is null, else unicast to it.
  virtual void send_solicitation(const wire::Address& address, const wire::MacAddress* known) = 0;
  virtual void send_resolved(const wire::MacAddress& mac, Bytes packet) = 0;
  virtual void on_unreachable(const wire::Address& address, Bytes packet) = 0;
};

class NeighborCache {
 public:
  static constexpr std::size_t kCapacity = 512;

  NeighborCache(Context& context, buf::Pool& pool, NeighborUser& user, const NeighborConfig& config);
  ~NeighborCache();
  NeighborCache(const NeighborCache&) = delete;
  NeighborCache& operator=(const NeighborCache&) = delete;

  // The MAC to send to now, or null: then `enqueue` the packet, it goes out on resolution.
  const wire::MacAddress* resolve(const wire::Address& address);
  void enqueue(const wire::Address& address, Bytes packet_header, std::span<const Bytes> payload);

  // A valid ARP packet with this sender arrived. kRefresh: changes only an entry that exists (RFC826-02); kCreate:
  // makes one (RFC826-03); kAnswer: the reply to a request of ours, which also confirms it.
  enum class Learn : std::uint8_t { kRefresh, kCreate, kAnswer };
  void learn(const wire::Address& address, const wire::MacAddress& mac, Learn how);

  void confirm(const wire::Address& address);  // proof from above that it answers
  void doubt(const wire::Address& address);    // no answers come from above: asked when it is used next
  void solicit(const wire::Address& address);  // asks, unless asked within `retry`

  // An entry set by hand, in the place of one that may be there. kNoBuffers: all are permanent.
  Status set_permanent(const wire::Address& address, const wire::MacAddress& mac);
  [[nodiscard]] bool has(const wire::Address& address) { return find(address) != nullptr; }
  bool forget(const wire::Address& address);  // of either kind; false: there is none
  void forget_learned();                      // all but the permanent ones

  struct Row {
    wire::Address address;
    wire::MacAddress mac;
    NeighborState state;
    Instant confirmed;  // when it last answered; past(): never
  };
  [[nodiscard]] std::size_t size() const { return used_; }
  // Row `i` of 0..kCapacity-1; false when it is free.
  bool row(std::size_t i, Row& out) const;

 private:
  struct Entry;

  // For whom an entry is made. Strangers who ask for us never cost us an entry that we use.
  enum class Beneficiary : std::uint8_t { kStranger, kOwnTraffic };

  Entry* find(const wire::Address& address);
  Entry* make(const wire::Address& address, Beneficiary beneficiary);
  Entry* victim(Beneficiary beneficiary);
  [[nodiscard]] int worth(const Entry& entry) const;
  [[nodiscard]] std::size_t bucket(const wire::Address& address) const;
  void release(Entry& entry);
  void set_state(Entry& entry, NeighborState state);
  void set_mac(Entry& entry, const wire::MacAddress& mac);
  void ask(Entry& entry);
  void drop_oldest(Entry& entry);
  void flush(Entry& entry);
  void give_up(Entry& entry);
  void on_tick();
  void tend(Entry& entry);
  void arm(Duration from_now);

  static constexpr std::size_t kBuckets = 256;

  Context& context_;
  buf::Pool& pool_;
  NeighborUser& user_;
  NeighborConfig config_;
  SipKey key_{};
  Timer timer_;
  Entry* entries_;                 // kCapacity of them
  Entry* latest_found_ = nullptr;  // most packets go where the one before went
  std::array<std::int16_t, kBuckets> buckets_;
  std::size_t used_ = 0;
  std::size_t waiting_ = 0;
};

}  // namespace sluice::link
