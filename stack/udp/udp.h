// UDP: RFC 768, RFC 1122 §4.1, RFC 8085; ports RFC 6056.
#pragma once

#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/ip/error_queue.h"
#include "stack/ip/ip.h"
#include "stack/ip/memberships.h"
#include "stack/ip/types.h"
#include "stack/udp/train.h"

namespace sluice::udp {

using ip::Address;
using ip::Endpoint;

struct ReceivedDatagram {
  Endpoint source{};
  Endpoint destination{};  // the specific destination address
  ip::InterfaceId interface = ip::kNoInterface;
  std::uint8_t ttl = 0;
  std::uint8_t tos = 0;
  Instant at{};               // when it came
  std::uint32_t dropped = 0;  // by the port up to then, for want of room
  std::uint16_t segment = 0;  // > 0: several datagrams of this size, the last perhaps shorter
  buf::Buffer payload{};

  // The same facts about other bytes.
  [[nodiscard]] ReceivedDatagram with(buf::Buffer other) const {
    return {source, destination, interface, ttl, tos, at, dropped, segment, std::move(other)};
  }
};

// Told when something changed; asks the port what. Called from within poll().
class PortUser {
 public:
  virtual ~PortUser() = default;
  virtual void on_udp_readable() = 0;
  virtual void on_udp_error() = 0;  // a pending error, see Port::take_error
};

class Udp;

// One open UDP endpoint. Owned by Udp; made by Udp::open, ended by Udp::close.
class Port {
 public:
  static constexpr std::size_t kMaxSegments = 128;
  enum class Sharing : std::uint8_t { kExclusive, kReuseAddress };

  // local.port 0 chooses a random ephemeral port. kAddressInUse, kAddressNotAvailable, kInvalid (already bound).
  Status bind(const Endpoint& local, Sharing sharing = Sharing::kExclusive);
  // Fixes the peer: only its datagrams are received, and ICMP errors are reported. Binds if needed.
  // kNetworkUnreachable, kAccess (broadcast not allowed).
  Status connect(const Endpoint& peer);
  void disconnect();

  // Sends one datagram of all pieces; source and destination are the caller's choice (RFC768-05, RFC1122-UDP-10), but
  // the source is an address of ours (RFC1122-UDP-13). Not connected and no destination: kDestinationRequired.
  // kMessageSize, kAccess, kNoBuffers, kNetworkUnreachable; a pending ICMP error is returned first, once
  // (kConnectionRefused ...).
  Status send(std::span<const Bytes> pieces, const Endpoint* destination) { return send(pieces, destination, {}); }
  // The same with what holds for this datagram only. To be cut into segments: kInvalid when one does not fit the path,
  // or there would be more than kMaxSegments.
  Status send(std::span<const Bytes> pieces, const Endpoint* destination, const ip::Choices& choices);
  // The next datagram; kAgain when none, or a pending error.
  Result<ReceivedDatagram> receive();
  // Of the next datagram without taking it: payload size, or kAgain.
  [[nodiscard]] Result<std::size_t> next_size() const;
  [[nodiscard]] const ReceivedDatagram* peek() const;  // null when none

  [[nodiscard]] bool readable() const;
  [[nodiscard]] Errno take_error();  // kOk when none; clears it
  [[nodiscard]] Errno pending_error() const;
  [[nodiscard]] Endpoint local() const;
  [[nodiscard]] const Endpoint* peer() const;  // null when not connected

  // Errors are kept for take_received_error(): those that ICMP reports also when the port has no peer, and datagrams
  // that were too big (IP_RECVERR). Off: what was kept is forgotten.
  enum class Keep : std::uint8_t { kNothing, kErrors };
  void keep_errors(Keep what);
  [[nodiscard]] bool keeps_errors() const;
  [[nodiscard]] bool has_received_errors() const;
  Result<ip::ReceivedError> take_received_error();  // kAgain
  [[nodiscard]] Result<std::uint32_t> path_mtu();   // to the peer, bytes; kNotConnected

  struct Options {
    std::uint8_t ttl = 0;  // 0: the stack's default
    std::uint8_t tos = 0;
    std::size_t receive_buffer = 212992;  // bytes, payload and overhead
    enum class Allow : std::uint8_t { kNo, kYes } broadcast = Allow::kNo;
    ip::PathMtuUse path_mtu = ip::PathMtuUse::kWant;
    std::uint8_t multicast_ttl = 1;
    Allow multicast_loop = Allow::kYes;  // what is sent to a group is heard by its members on this host
    ip::InterfaceId multicast_interface = ip::kNoInterface;  // that multicasts leave by; kNoInterface: IP's choice
    std::uint16_t segment = 0;         // what is larger is sent as datagrams of so many bytes; 0: as one
    Allow joined = Allow::kNo;         // datagrams that the device has joined are received as one
    Allow other_groups = Allow::kYes;  // also what others on this host have joined (IP_MULTICAST_ALL)
  };
  Options& options();

  // Takes part in a group, until leave() or the end of the port. kInvalid: no group, or no such interface;
  // kAddressInUse: does already; kNoBuffers; kAddressNotAvailable: does not (leave).
  Status join(const ip::Membership& membership);
  Status leave(const ip::Membership& membership);

  struct State;  // in udp.cc

 private:
  friend class Udp;
  explicit Port(State* state) : state_(state) {}
  State* state_;
};

class Udp : public ip::Transport {
 public:
  Udp(Context& context, ip::Ip& ip, buf::Pool& pool);
  ~Udp() override;

  // kTooManyFiles when the cap on ports is reached. `user` may be null.
  Result<Port*> open(ip::Family family, PortUser* user);
  void close(Port* port);

  // Of each bound port, for people.
  struct PortEntry {
    Endpoint local{};
    const Endpoint* peer = nullptr;  // null when not connected
    std::size_t queued = 0;          // memory of the datagrams that wait, bytes
  };
  using PortVisitor = void (*)(void* arg, const PortEntry& entry);
  void visit_ports(PortVisitor visit, void* arg) const;

  void on_datagram(ip::Datagram datagram) override;
  void on_icmp_error(const ip::IcmpError& error) override;
  void on_batch_end() override;  // sends what waits

  struct Impl;

 private:
  friend class Hold;
  Impl* impl_;
};

}  // namespace sluice::udp
