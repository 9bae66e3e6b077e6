// The IP layer as transports and the stack see it: interfaces, addresses, routes, sending, receiving.
// RFC 791, RFC 1122 §3: IP with its ICMP (RFC1122-IP-01). The work is done by the parts beside this file; this class
// joins them.
#pragma once

#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/ip/frames.h"
#include "stack/ip/raw.h"
#include "stack/ip/types.h"
#include "stack/link/netdev.h"

namespace sluice::ip {

struct InterfaceConfig {
  wire::MacAddress mac{};  // zero: the device's own, or one made from the stack's generator
  std::uint32_t mtu = 0;   // 0: the device's
  std::uint16_t vlan = 0;  // 802.1Q VID 1..4094; 0: untagged
  enum class Promiscuity : std::uint8_t { kOff, kOn } promiscuity = Promiscuity::kOff;
  // Joining of received TCP segments where the device does not do it.
  enum class Coalescing : std::uint8_t { kOff, kOn } coalescing = Coalescing::kOn;
  // RFC 5227: probe before using an address; announce it when in use. Off by default in simulations for brevity.
  enum class AddressCheck : std::uint8_t { kNone, kAnnounce, kProbe } address_check = AddressCheck::kAnnounce;
};

struct RouteEntry {
  Prefix destination{};  // {0.0.0.0, 0} is the default route
  Address gateway{};     // any(): on-link
  InterfaceId interface = kNoInterface;
  std::uint32_t metric = 0;  // lower wins between equal prefixes
  std::uint32_t mtu = 0;     // largest packet on this way, where it is not the interface's; 0, or 68 at least
};

struct NeighborEntry {  // a row of the neighbour table, for people
  Address address{};
  wire::MacAddress mac{};
  InterfaceId interface = kNoInterface;
  const char* state = "";  // "incomplete", "reachable", "stale", ...
  Instant confirmed;       // when it last answered; past(): never
};

struct InterfaceEntry {  // a row of the interface table, for people
  InterfaceId id = kNoInterface;
  wire::MacAddress mac{};  // zero where there is no Ethernet
  std::uint32_t mtu = 0;
  link::Medium medium{};
  link::LinkState state{};
  std::span<const Prefix> addresses{};  // valid during the visit
};

struct IpConfig {
  std::uint8_t default_ttl = 64;                // 1..255
  Duration reassembly_timeout = 30_s;           // RFC 791 §3.2; 15 to 120 s make sense
  std::size_t reassembly_max_bytes = 4u << 20;  // memory of all partial datagrams
  std::size_t reassembly_max_datagrams = 256;
  enum class Discovery : std::uint8_t { kOff, kOn } path_mtu_discovery = Discovery::kOn;
  std::uint32_t min_path_mtu = 576;            // lowest estimate an ICMP error can bring about; at least 68
  std::uint32_t icmp_errors_per_second = 100;  // in total; a part of it to one destination
  Duration neighbor_lifetime = 60_s;           // after which an entry is checked again
};

// A receiver of ICMP echo replies and errors: the "ping" socket (RFC1122-ICMP-23, -27).
class IcmpUser {
 public:
  virtual ~IcmpUser() = default;
  // `message` is the whole ICMP message of an echo reply with this user's identifier.
  virtual void on_echo_reply(const Address& from, std::uint8_t ttl, Bytes message) = 0;
  virtual void on_icmp_error(const IcmpError& error) = 0;
};

class Ip {
 public:
  Ip(Context& context, buf::Pool& pool, const IpConfig& config);
  ~Ip();
  Ip(const Ip&) = delete;
  Ip& operator=(const Ip&) = delete;

  // --- configuration -------------------------------------------------------------------------------------------
  // The device must outlive the stack. kInvalid: bad MTU, MAC or VLAN; kNoBuffers: too many interfaces.
  Result<InterfaceId> add_interface(link::NetDevice& device, const InterfaceConfig& config);
  // Adds the address and its on-link route; there may be several (RFC1122-IP-02). kInvalid: not a unicast host address;
  // kExist; kNoBuffers.
  Status add_address(InterfaceId interface, const Prefix& address);
  // Connections on it stay: they go on if it comes back before they time out. kAddressNotAvailable: there is none.
  Status remove_address(InterfaceId interface, const Address& address);
  Status add_route(const RouteEntry& route);  // kInvalid, kExist, kNetworkUnreachable: gateway is not on-link
  Status remove_route(const RouteEntry& route);
  // Down: no route leads over the interface, and nothing is taken in there.
  Status set_link_state(InterfaceId interface, link::LinkState state);
  Status set_mtu(InterfaceId interface, std::uint32_t mtu);            // kInvalid: not 68..65535
  Status set_mac(InterfaceId interface, const wire::MacAddress& mac);  // kInvalid: not a station's; no Ethernet
  // A neighbour set by hand. kInvalid: neither can be a station's; kExist: one is known and to be kept; kNoBuffers.
  enum class Known : std::uint8_t { kKeep, kReplace };
  Status set_neighbor(InterfaceId interface, const Address& address, const wire::MacAddress& mac, Known known);
  Status remove_neighbor(InterfaceId interface, const Address& address);  // kAddressNotAvailable: there is none
  Status forget_neighbors(InterfaceId interface);                         // all but those set by hand
  // Joins a multicast group on an interface, kLoopback included; counted. kInvalid: no such interface, or no group;
  // kNoBuffers.
  Status join_group(InterfaceId interface, const Address& group);
  Status leave_group(InterfaceId interface, const Address& group);
  void register_transport(Protocol protocol, Transport& transport);

  // --- sending -------------------------------------------------------------------------------------------------
  // Finds the way to `destination`. `source` any() lets the stack choose (RFC 1122 §3.3.4.2), otherwise it must be ours
  // (kAddressNotAvailable). `interface` kNoInterface: any. kNetworkUnreachable: no route; kInvalid: destination
  // unusable.
  Result<Route> route(const Address& destination, const Address& source = Address(),
                      InterfaceId interface = kNoInterface);
  // The way of one datagram of a socket.
  Result<Route> route_from(const Binding& binding, const Address& destination, const Choices& choices);
  // Changes whenever an address, route or path MTU changes: cached Routes are then looked up again.
  [[nodiscard]] std::uint32_t route_generation() const;

  // Sends one transport packet (header and payload in `packet`) along `route`. With packet.offload.gso set it may be up
  // to route.max_gso_bytes; otherwise what is too large is fragmented, or kMessageSize: see PathMtuUse.
  // A packet that waits for address resolution is copied. kNoBuffers, kHostUnreachable, kNetworkDown, kInvalid.
  Status send(buf::TxPacket& packet, const SendOptions& options, const Path& route);

  // A transport has no use for this datagram: answer with ICMP port or protocol unreachable where that is allowed
  // (RFC1122-IF-03).
  void reject(const Datagram& datagram, ErrorKind kind);

  // The transport believes an error of kind kFragmentationNeeded: the path MTU estimate goes down to `mtu`, never up,
  // and not below IpConfig::min_path_mtu (RFC1191-01, -03, -04); to a path that carries even less, packets go without
  // DF.
  void accept_path_mtu(const Address& destination, std::uint32_t mtu);

  // The transport has proof that `destination` answers (RFC 1122 §2.3.2.1): its neighbour entry stays fresh.
  void confirm_reachable(const Path& route);
  // The transport has sent several times and heard nothing: the next hop is asked whether it is still there (RFC 1122
  // §2.3.2.1).
  void doubt_reachable(const Path& route);

  // Echo request out, with payload; identifier as handed out by register_icmp_user.
  Result<std::uint16_t> register_icmp_user(IcmpUser& user, std::uint16_t wanted_identifier);  // 0: any
  void unregister_icmp_user(std::uint16_t identifier);
  Status send_echo(const Address& destination, const Address& source, std::uint8_t ttl, std::uint16_t identifier,
                   std::uint16_t sequence, Bytes payload);

  // Raw sockets: packets of the protocol, and errors about them, go to the user as well as to the transport.
  void add_raw_user(RawUser& user, std::uint8_t protocol);
  void remove_raw_user(RawUser& user);
  // Sends a packet that has its IP header (IP_HDRINCL). Length and checksum are filled in, and where they are zero the
  // source and the identification. kInvalid: no header; kMessageSize: it is not fragmented.
  Status send_as_it_is(MutableBytes packet, const Route& route);

  // Packet sockets: frames of all interfaces, and such as the program has made. send: kNetworkDown, no such interface,
  // or a link that is down; kInvalid, no frame; kMessageSize.
  void add_frame_user(FrameUser& user);
  void remove_frame_user(FrameUser& user);
  Status send_frame(InterfaceId interface, Bytes frame);
  Status send_payload(const LinkName& to, Bytes payload);
  [[nodiscard]] bool has_link(InterfaceId interface) const;

  // --- questions -----------------------------------------------------------------------------------------------
  [[nodiscard]] bool is_local(const Address& address) const;  // one of our unicast addresses, or loopback
  // The one that has the address, kLoopback for 127.0.0.0/8; kNoInterface: none.
  [[nodiscard]] InterfaceId interface_of(const Address& address) const;
  [[nodiscard]] bool has_interface(InterfaceId interface) const;              // kLoopback is there
  [[nodiscard]] InterfaceId interface_for_group(const Address& group) const;  // when none is asked for
  [[nodiscard]] Address address_of(InterfaceId interface) const;              // its first; any(): none
  [[nodiscard]] Cast cast_of(const Address& address, InterfaceId interface) const;
  // Largest transport message that can be received, bytes (MMS_R, RFC1122-FRAG-04).
  [[nodiscard]] std::uint32_t max_receive_size() const;
  // Call visit(entry) for each row; for `ip` style listings.
  using InterfaceVisitor = void (*)(void* arg, const InterfaceEntry& entry);
  void visit_interfaces(InterfaceVisitor visit, void* arg) const;
  [[nodiscard]] std::span<const RouteEntry> routes() const;  // in order of preference; valid until one changes
  using NeighborVisitor = void (*)(void* arg, const NeighborEntry& entry);
  void visit_neighbors(NeighborVisitor visit, void* arg) const;
  // Sends one ARP request and reports the answer through the neighbour table.
  Status probe_neighbor(InterfaceId interface, const Address& address);
  [[nodiscard]] wire::MacAddress mac_of(InterfaceId interface) const;

  // --- driven by the stack ---------------------------------------------------------------------------------------
  // Reads at most `budget` frames from each device and handles them; returns how many there were in all.
  std::size_t poll_devices(std::size_t budget);
  // Delivers packets that were sent to one of our own addresses (loopback); bounded.
  std::size_t poll_loopback(std::size_t budget);
  [[nodiscard]] bool has_loopback_work() const;
  [[nodiscard]] Instant next_device_deadline() const;  // min over the devices' next_deadline()

  class Impl;  // in ip.cc

 private:
  Impl* impl_;
};

}  // namespace sluice::ip
