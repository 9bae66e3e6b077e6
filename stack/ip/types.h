// What IP hands to the transports above it, and what they hand down. Dual-stack from the first day: one Address value
// holds either family, and nothing above stack/ip cares which.
#pragma once

#include <cstdint>

#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/buf/buffer.h"
#include "stack/buf/frame.h"
#include "stack/wire/address.h"

namespace sluice::ip {

using wire::Address;
using wire::Endpoint;
using wire::Family;
using wire::Prefix;

using InterfaceId = std::uint8_t;  // 1, 2, ... in the order they were added
inline constexpr InterfaceId kNoInterface = 0;
inline constexpr InterfaceId kLoopback = 255;  // packets to ourselves; no device
inline constexpr wire::Ipv4Address kLoopbackAddress{0x7f000001};

enum class Protocol : std::uint8_t { kIcmp = 1, kIgmp = 2, kTcp = 6, kUdp = 17, kIcmpv6 = 58 };

enum class Cast : std::uint8_t { kUnicast, kBroadcast, kMulticast };

// A whole datagram for a transport. The buffer's view is the transport header and payload, exactly as long as IP's
// length says (RFC 791 §3.1); link padding is gone.
struct Datagram {
  Address source{};
  Address destination{};  // the specific destination (RFC1122-IF-02)
  InterfaceId interface = kNoInterface;
  Protocol protocol{};
  Cast cast = Cast::kUnicast;  // broadcast or multicast if the IP destination is, or the frame was
  std::uint8_t ttl = 0;
  std::uint8_t tos = 0;                                       // DSCP and ECN as received
  buf::ChecksumState checksum = buf::ChecksumState::kAbsent;  // of the transport
  std::uint16_t gso_size = 0;                                 // > 0: several segments of this payload size, coalesced
  Bytes packet{};  // from the first byte of the IP header on, as received; lives in `buffer`
  buf::Buffer buffer{};
};

// An ICMP error about something we sent, already checked to quote a packet with our source address.
enum class ErrorKind : std::uint8_t {
  kNetUnreachable,       // type 3 code 0, and the codes a host treats alike (RFC 1122 §3.2.2.1)
  kHostUnreachable,      // code 1, 5
  kProtocolUnreachable,  // code 2
  kPortUnreachable,      // code 3
  kFragmentationNeeded,  // code 4; mtu is set
  kProhibited,           // codes 9, 10, 13
  kTimeExceeded,         // type 11
  kParameterProblem,     // type 12
};
struct IcmpError {
  ErrorKind kind{};
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t mtu = 0;  // kFragmentationNeeded: what the reporter says fits, bytes, at least 68
  std::uint8_t ttl = 0;   // with which it came, as the next two; 0: it is this host's own
  std::uint8_t tos = 0;
  InterfaceId interface = kNoInterface;
  Address reporter{};     // who sent the error
  Address source{};       // of the quoted packet: an address of ours
  Address destination{};  // of the quoted packet
  Bytes quoted{};         // its transport bytes, at least 8; as many as were quoted
};

// The errno an application sees for an error (as Linux maps them), e.g. kPortUnreachable: kConnectionRefused.
Errno errno_of(ErrorKind kind);

// A transport protocol, registered with IP under its protocol number.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void on_datagram(Datagram datagram) = 0;
  virtual void on_icmp_error(const IcmpError& error) = 0;
  // All datagrams that came in one batch have been handed over: send acknowledgements, wake readers.
  virtual void on_batch_end() {}
};

// What the path MTU is to a datagram: the values of IP_MTU_DISCOVER (ip(7)). Multicasts, and all where path MTU
// discovery is off, have DF only with kDo and kProbe.
enum class PathMtuUse : std::uint8_t {
  kDont,       // larger ones are fragmented here, and those that are not may be on the way: no DF
  kWant,       // larger ones are fragmented here; others have DF (RFC1191-10)
  kDo,         // larger ones are refused; DF, as far as the path allows it
  kProbe,      // it is not looked at: what the link carries goes, with DF (RFC4821-09)
  kInterface,  // likewise, without DF
  kOmit,       // likewise, and what is too large for the link is fragmented
};
inline constexpr int kPathMtuUses = 6;

// Where packets to a destination go. Valid while `generation` equals Ip::route_generation(). Every connection keeps
// one: the members stand by size.
struct Path {
  InterfaceId interface = kNoInterface;
  Address next_hop{};                 // the destination itself when it is on-link
  Cast cast = Cast::kUnicast;         // what the destination is on this interface
  bool tx_checksum = false;           // leave the transport checksum partial
  bool below_floor = false;           // the path carries less than `mtu`: DF is never set
  bool udp_segmentation = false;      // the device cuts large UDP packets
  std::uint16_t rx_queue_frames = 0;  // that the device holds before it drops; 0: not known, or enough
  std::uint16_t link_mtu =
      0;  // of the interface, or of the entry in the table if that has one; 65535 at most, as no IPv4 packet is larger
  std::uint16_t max_gso_bytes = 0;  // largest IP packet the transport may send with gso_size set (the link or the
                                    // device cuts it); never 0 for TCP, at least mtu
  std::uint32_t mtu = 0;            // path MTU: largest IP packet, bytes; from it MMS_S (RFC1122-FRAG-07)
  std::uint32_t generation = 0;

  // The largest IP packet for whom the path MTU is that to: bytes.
  [[nodiscard]] std::uint32_t mtu_for(PathMtuUse use) const { return use < PathMtuUse::kProbe ? mtu : link_mtu; }

  bool operator==(const Path&) const = default;
};

struct Route : Path {
  Address source{};      // preferred source address
  bool own_mtu = false;  // the entry in the table has one
};

// Everything a transport can choose about an outgoing datagram (RFC1122-IF-01).
struct SendOptions {
  Address source{};  // one of ours, as in Route
  Address destination{};
  Protocol protocol{};
  std::uint8_t ttl = 64;  // 1..255
  std::uint8_t tos = 0;
  PathMtuUse path_mtu = PathMtuUse::kDo;
  bool to_members_here = true;  // a multicast is also heard by those who have joined its group on this host

  bool operator==(const SendOptions&) const = default;
};

// Where a socket of datagrams sends from.
struct Binding {
  Address address{};                      // any(): to none; an address of many is never a source
  InterfaceId for_groups = kNoInterface;  // by which its multicasts leave
};

// What is chosen for one datagram in place of its socket's options (ip(7)).
struct Choices {
  Address source{};  // any(): the socket's; otherwise one of ours
  InterfaceId interface = kNoInterface;
  std::uint8_t ttl = 0;  // 0: the socket's
  int tos = -1;          // -1: the socket's
  int segment = -1;      // UDP: bytes of each datagram that this one is cut into, 0: it is not; -1: the socket's
};

}  // namespace sluice::ip
