#include "drivers/runtime/ip_options.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>

#include "drivers/runtime/ancillary.h"

namespace sluice {
namespace {

using socket::Option;

struct ToldRow {
  int level;
  int name;
  std::uint8_t bit;
  std::uint8_t excludes = 0;  // bits that it takes back
};
constexpr ToldRow kToldRows[] = {
    {IPPROTO_IP, IP_RECVTTL, kTellTtl},
    {IPPROTO_IP, IP_RECVTOS, kTellTos},
    {IPPROTO_IP, IP_PKTINFO, kTellPacketInfo},
    {SOL_SOCKET, SO_TIMESTAMP, kTellTime, kTellPreciseTime},
    {SOL_SOCKET, SO_TIMESTAMPNS, kTellPreciseTime, kTellTime},
    {SOL_SOCKET, SO_RXQ_OVFL, kTellDropped},
};

const ToldRow* told_row(int level, int name) {
  const auto row =
      std::ranges::find_if(kToldRows, [&](const ToldRow& r) { return r.level == level && r.name == name; });
  return row != std::end(kToldRows) ? row : nullptr;
}

int set_told(SocketSettings& settings, const ToldRow& row, const void* value, socklen_t length) {
  int number = 0;
  if (length >= sizeof number) {
    memcpy(&number, value, sizeof number);
  } else if (row.level == SOL_SOCKET) {
    return set_errno(Errno::kInvalid);
  } else if (length > 0) {  // those of IP may be given as one byte
    number = *static_cast<const unsigned char*>(value);
  }
  settings.told &= static_cast<std::uint8_t>(~(row.bit | row.excludes));
  if (number != 0) settings.told |= row.bit;
  return 0;
}

// Those of IP may be asked for as one byte.
int store_flag(int level, int flag, void* value, socklen_t* length) {
  const auto octet = static_cast<std::uint8_t>(flag);
  const bool as_octet = level == IPPROTO_IP && *length > 0 && *length < sizeof flag;
  *length = as_octet ? 1 : std::min<socklen_t>(*length, sizeof flag);
  memcpy(value, as_octet ? static_cast<const void*>(&octet) : &flag, *length);
  return 0;
}

// --- multicast -------------------------------------------------------------------------------------------------------

bool is_stream(const SocketRef& socket) {
  const auto type = socket.sockets.get_option(socket.handle, Option::kType);
  return type && *type == static_cast<std::int64_t>(socket::Type::kStream);
}

// An ip_mreqn, or an ip_mreq, which is the same without the index.
ip_mreqn read_request(const void* value, socklen_t length) {
  ip_mreqn request{};
  memcpy(&request, value, std::min<std::size_t>(length, sizeof request));
  return request;
}

// By index, by address, or (both zero) the stack's choice for the group.
Result<ip::InterfaceId> interface_of(const ip::Ip& ip, const ip_mreqn& request) {
  if (request.imr_ifindex != 0) return interface_number(ip, request.imr_ifindex);
  const ip::Address address = wire::Ipv4Address{ntohl(request.imr_address.s_addr)};
  const ip::Address group = wire::Ipv4Address{ntohl(request.imr_multiaddr.s_addr)};
  const ip::InterfaceId id = address.is_any() ? ip.interface_for_group(group) : ip.interface_of(address);
  return id != ip::kNoInterface ? Result<ip::InterfaceId>(id) : fail(Errno::kNoDevice);
}

int change_membership(const SocketRef& socket, int name, const void* value, socklen_t length) {
  if (is_stream(socket)) return set_errno(Errno::kProtocol);
  if (length < sizeof(ip_mreq)) return set_errno(Errno::kInvalid);
  const ip_mreqn request = read_request(value, length);
  const ip::Address group = wire::Ipv4Address{ntohl(request.imr_multiaddr.s_addr)};
  const bool joins = name == IP_ADD_MEMBERSHIP;
  if (joins && !group.is_multicast()) return set_errno(Errno::kInvalid);
  const auto interface = interface_of(socket.sockets.ip(), request);
  if (!interface) return set_errno(joins ? interface.error() : Errno::kAddressNotAvailable);
  const ip::Membership m{group, *interface};
  return answer(joins ? socket.sockets.join_group(socket.handle, m) : socket.sockets.leave_group(socket.handle, m));
}

// An address alone, an ip_mreq or an ip_mreqn; no interface is the stack's choice again.
int set_multicast_interface(const SocketRef& socket, const void* value, socklen_t length) {
  if (is_stream(socket) || length < sizeof(in_addr)) return set_errno(Errno::kInvalid);
  ip_mreqn request{};
  if (length < sizeof(ip_mreq)) {
    memcpy(&request.imr_address, value, sizeof request.imr_address);
  } else {
    request = read_request(value, length);
  }
  ip::InterfaceId id = ip::kNoInterface;
  if (request.imr_ifindex != 0 || request.imr_address.s_addr != INADDR_ANY) {
    const auto interface = interface_of(socket.sockets.ip(), request);
    if (!interface) return set_errno(Errno::kAddressNotAvailable);
    id = *interface;
  }
  return answer(socket.sockets.set_option(socket.handle, Option::kIpMulticastInterface, id));
}

int store_multicast_interface(const SocketRef& socket, void* value, socklen_t* length) {
  const auto id = socket.sockets.get_option(socket.handle, Option::kIpMulticastInterface);
  if (!id) return set_errno(id.error());
  const in_addr address{htonl(socket.sockets.ip().address_of(static_cast<ip::InterfaceId>(*id)).v4().value)};
  *length = std::min<socklen_t>(*length, sizeof address);
  memcpy(value, &address, *length);
  return 0;
}

}  // namespace

Result<ip::InterfaceId> interface_number(const ip::Ip& ip, int index) {
  const bool in_range = index >= 0 && index <= ip::kLoopback;
  const auto id = static_cast<ip::InterfaceId>(in_range ? index : 0);
  if (!in_range || (id != ip::kNoInterface && !ip.has_interface(id))) return fail(Errno::kNoDevice);
  return id;
}

std::optional<int> set_datagram_option(const SocketRef& socket, int level, int name, const void* value,
                                       socklen_t length) {
  if (const ToldRow* row = told_row(level, name)) return set_told(socket.settings, *row, value, length);
  if (level != IPPROTO_IP) return {};
  if (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP) return change_membership(socket, name, value, length);
  if (name == IP_MULTICAST_IF) return set_multicast_interface(socket, value, length);
  return {};
}

std::optional<int> get_datagram_option(const SocketRef& socket, int level, int name, void* value, socklen_t* length) {
  if (const ToldRow* row = told_row(level, name)) {
    return store_flag(level, (socket.settings.told & row->bit) != 0 ? 1 : 0, value, length);
  }
  if (level == IPPROTO_IP && name == IP_MULTICAST_IF) return store_multicast_interface(socket, value, length);
  return {};
}

}  // namespace sluice
