// The parts of IP and what joins them. Private to stack/ip: the files input.cc, output.cc, icmp.cc and ip.cc share it.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "stack/base/context.h"
#include "stack/base/ring.h"
#include "stack/ip/groups.h"
#include "stack/ip/ident.h"
#include "stack/ip/igmp.h"
#include "stack/ip/ip.h"
#include "stack/ip/path_mtu.h"
#include "stack/ip/rate_limit.h"
#include "stack/ip/reassembly.h"
#include "stack/ip/routes.h"
#include "stack/link/link.h"
#include "stack/wire/icmp.h"
#include "stack/wire/ipv4.h"

namespace sluice::ip {

struct Interface {
  static constexpr std::size_t kMaxAddresses = 16;

  Interface(Context& context, buf::Pool& pool, link::NetDevice& device, link::LinkUser& user,
            const link::LinkConfig& config, IgmpUser& igmp_user, InterfaceId number)
      : id(number), link(context, pool, device, user, config), igmp(context, igmp_user, number) {}

  [[nodiscard]] std::span<const Prefix> all_addresses() const { return {addresses.data(), address_count}; }

  InterfaceId id;
  link::Link link;
  std::array<Prefix, kMaxAddresses> addresses{};
  std::size_t address_count = 0;
  Groups groups;
  Igmp igmp;
};

// What an arriving packet is to be answered with, or not, depends on all of this.
struct Arrival {
  wire::ipv4::Header header;
  Bytes packet;  // as received, from the IP header on
  InterfaceId interface = kNoInterface;
  enum class From : std::uint8_t { kLink, kOurselves } from = From::kLink;
  Cast cast = Cast::kUnicast;  // of the IP destination
  link::LinkCast link_cast = link::LinkCast::kUnicast;
};

class Ip::Impl final : public link::LinkUser, public ReassemblyUser, public IgmpUser, public link::FrameWatcher {
 public:
  static constexpr std::size_t kMaxInterfaces = 16;
  static constexpr std::size_t kMaxIcmpUsers = 64;
  static constexpr std::size_t kLoopbackPackets = 1024;

  Impl(Context& context, buf::Pool& pool, const IpConfig& config);
  ~Impl() override;

  // --- ip.cc: configuration and questions
  Interface* interface(InterfaceId id);
  const Interface* interface(InterfaceId id) const;
  Interface& interface_of(const link::Link& link);
  link::NeighborCache* neighbors_of(InterfaceId id);  // null: no interface with neighbours
  [[nodiscard]] InterfaceId interface_with(const Address& address) const;
  [[nodiscard]] bool is_local(const Address& address) const;
  [[nodiscard]] Cast cast_of(const Address& address, const Interface* interface) const;
  [[nodiscard]] bool is_subnet_broadcast(wire::Ipv4Address address, const Interface& interface) const;
  [[nodiscard]] const Groups* groups_of(InterfaceId id) const;  // null: no such interface
  [[nodiscard]] bool in_group(const Address& group, InterfaceId id) const;
  Transport* transport(Protocol protocol) { return transports_[static_cast<std::size_t>(protocol)]; }

  // --- frames.cc
  void on_frame(link::Link& link, const buf::TxFrame& frame, Direction direction) override;

  // --- input.cc
  void on_packet(link::Link& link, buf::Buffer packet, link::LinkCast cast, const buf::Offload& offload) override;
  void on_unreachable(link::Link& link, Bytes packet) override;
  void on_addresses_changed() override { ++generation_; }
  void on_reassembly_timeout(Bytes first, InterfaceId interface) override;
  void input(buf::Buffer packet, InterfaceId interface, Arrival::From from, link::LinkCast link_cast,
             const buf::Offload& offload);
  Result<void, Drop> check_source(const Arrival& arrival) const;
  Result<void, Drop> check_destination(const Arrival& arrival) const;
  void deliver(buf::Buffer buffer, Arrival arrival, std::size_t header_size, const buf::Offload& offload);
  bool deliver_raw(const Arrival& arrival, std::size_t header_size);
  void igmp_input(const Datagram& datagram);
  void batch_end();

  // --- output.cc
  Result<Route> route(const Address& destination, const Address& source, InterfaceId interface);
  Result<Route> route_local(const Address& destination, const Address& source) const;
  Result<Route> route_to_group(const Address& destination, const Address& source, InterfaceId interface);
  Result<Route> route_over(const Interface& out, const Address& destination, const Address& source,
                           const Address& next_hop, std::uint32_t own_mtu);
  [[nodiscard]] InterfaceId pick_for_group(const Address& group, const Address& source) const;
  [[nodiscard]] Result<Address> choose_source(const Interface& out, const Address& source,
                                              const Address& next_hop) const;
  Status send(buf::TxPacket& packet, const SendOptions& options, const Path& route);
  wire::ipv4::Header header_for(const SendOptions& options, const Path& route, std::size_t datagrams);
  Status send_fragments(buf::TxPacket& packet, const SendOptions& options, const Path& route);
  Status send_one(buf::TxPacket& packet, const wire::ipv4::Header& header, const Path& route);
  Status send_ready(buf::TxPacket& packet, const Path& route);
  Status send_as_it_is(MutableBytes bytes, const Route& route);
  void send_igmp(InterfaceId interface, wire::Ipv4Address destination, const wire::igmp::Message& message) override;
  Status loop_back(const buf::TxPacket& packet, InterfaceId interface);
  void loop_to_members(buf::TxPacket& packet, const SendOptions& options, const Path& route);
  std::size_t poll_loopback(std::size_t budget);

  // --- icmp.cc
  void icmp_input(const Datagram& datagram, const Arrival& arrival);
  void answer_echo(const wire::icmp::Message& request, const Datagram& datagram, const Arrival& arrival);
  void echo_reply_input(const wire::icmp::Message& message, const Datagram& datagram);
  void icmp_error_input(const wire::icmp::Message& message, const Datagram& datagram);
  [[nodiscard]] bool quotes_us(const wire::icmp::Quote& quote, const Datagram& datagram) const;
  void report(const IcmpError& error, Protocol protocol);
  [[nodiscard]] bool error_allowed(const Arrival& arrival) const;
  void send_error(const Arrival& arrival, std::uint8_t type, std::uint8_t code, std::uint32_t rest);
  void send_icmp(const wire::icmp::Message& message, const Address& source, const Address& destination,
                 std::uint8_t tos);
  [[nodiscard]] std::uint32_t too_big_mtu(const wire::icmp::Message& message, const wire::icmp::Quote& quote) const;

  // A packet of ours for ourselves.
  struct Looped {
    buf::Buffer packet{};
    InterfaceId interface = kNoInterface;  // by which it comes in
  };
  struct RawEntry {
    RawUser* user;
    std::uint8_t protocol;
  };
  struct IcmpUserEntry {
    std::uint16_t identifier = 0;
    IcmpUser* user = nullptr;
  };

  Context& context_;
  buf::Pool& pool_;
  IpConfig config_;
  std::array<Interface*, kMaxInterfaces> interfaces_{};
  std::size_t interface_count_ = 0;
  RouteTable routes_;
  std::uint32_t generation_ = 1;  // of routes: counted up by whatever changes one
  PathMtuCache path_mtu_;
  RateLimit error_limit_;
  Identification identification_;
  Reassembler reassembler_;
  std::array<Transport*, 256> transports_{};
  std::array<IcmpUserEntry, kMaxIcmpUsers> icmp_users_{};
  std::vector<RawEntry> raw_users_;
  std::vector<FrameUser*> frame_users_;
  Ring<Looped> loopback_;
  Groups loopback_groups_;
};

// True if no ICMP error may be sent about this packet: RFC 1122 §3.2.2.
bool icmp_error_forbidden(const Arrival& arrival);

}  // namespace sluice::ip
