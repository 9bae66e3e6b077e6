// System types to values and back; see system_types.h.
#include "drivers/runtime/system_types.h"

#include <errno.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stddef.h>
#include <string.h>

#include <algorithm>

namespace sluice {

int set_errno(Errno e) {
  errno = static_cast<int>(e);
  return -1;
}
int answer(const Status& status) {
  return status ? 0 : set_errno(status.error());
}

Result<socket::Type> socket_type_of(int domain, int type, int protocol) {
  constexpr int kTypeBits = 0xf, kTypes = 11, kProtocols = 263;  // what lies beyond is no type, or no protocol
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if ((kind & ~kTypeBits) != 0) return fail(Errno::kInvalid);
  if ((domain == AF_INET || domain == AF_PACKET) && kind >= kTypes) return fail(Errno::kInvalid);
  if (domain == AF_PACKET) {
    if (kind == SOCK_RAW) return socket::Type::kPacket;
    return kind == SOCK_DGRAM ? Result(socket::Type::kPacketPayload) : fail(Errno::kSocketTypeNotSupported);
  }
  if (domain != AF_INET) return fail(Errno::kFamilyNotSupported);
  if (protocol < 0 || protocol >= kProtocols) return fail(Errno::kInvalid);
  if (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) return socket::Type::kStream;
  if (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) return socket::Type::kDatagram;
  if (kind == SOCK_DGRAM && protocol == IPPROTO_ICMP) return socket::Type::kIcmpEcho;
  if (kind == SOCK_RAW && protocol > 0 && protocol <= UINT8_MAX) return socket::Type::kRaw;
  const bool known = kind == SOCK_RAW || kind == SOCK_STREAM || kind == SOCK_DGRAM;
  return fail(known ? Errno::kProtocolNotSupported : Errno::kSocketTypeNotSupported);
}

bool is_packet(const SocketRef& socket) {
  const auto type =
      static_cast<socket::Type>(socket.sockets.get_option(socket.handle, socket::Option::kType).value_or(0));
  return type == socket::Type::kPacket || type == socket::Type::kPacketPayload;
}

Result<ip::LinkName> to_link_name(const sockaddr* address, socklen_t length) {
  sockaddr_ll ll{};
  if (address == nullptr || length < sizeof ll) return fail(Errno::kInvalid);
  memcpy(&ll, address, sizeof ll);
  if (ll.sll_ifindex < 0 || ll.sll_ifindex >= ip::kLoopback) return fail(Errno::kNoDevice);
  ip::LinkName name;
  name.interface = static_cast<ip::InterfaceId>(ll.sll_ifindex);
  name.protocol = ntohs(ll.sll_protocol);
  std::copy_n(ll.sll_addr, name.address.octets.size(), name.address.octets.begin());
  return name;
}

socklen_t store_link_name(const ip::LinkName& name, sockaddr* address, socklen_t room) {
  sockaddr_ll ll{};
  const bool ethernet = name.medium == link::Medium::kEthernet && name.interface != ip::kNoInterface;
  ll.sll_family = AF_PACKET;
  ll.sll_protocol = htons(name.protocol);
  ll.sll_ifindex = name.interface;
  if (name.interface != ip::kNoInterface) ll.sll_hatype = ethernet ? ARPHRD_ETHER : ARPHRD_NONE;
  ll.sll_pkttype = static_cast<unsigned char>(name.kind);
  ll.sll_halen = ethernet ? static_cast<unsigned char>(name.address.octets.size()) : 0;
  std::copy_n(name.address.octets.begin(), ll.sll_halen, ll.sll_addr);
  memcpy(address, &ll, std::min<std::size_t>(room, sizeof ll));
  return static_cast<socklen_t>(offsetof(sockaddr_ll, sll_addr) + ll.sll_halen);
}

Result<ip::Endpoint> to_endpoint(const sockaddr* address, socklen_t length) {
  if (address == nullptr) return fail(Errno::kInvalid);
  if (length < sizeof(sa_family_t)) return fail(Errno::kInvalid);
  if (address->sa_family != AF_INET) return fail(Errno::kFamilyNotSupported);
  if (length < sizeof(sockaddr_in)) return fail(Errno::kInvalid);
  sockaddr_in in{};
  memcpy(&in, address, sizeof in);
  return ip::Endpoint{wire::Ipv4Address{ntohl(in.sin_addr.s_addr)}, ntohs(in.sin_port)};
}

Result<std::optional<ip::Endpoint>> destination_of(const msghdr& message, int flags) {
  if (message.msg_name == nullptr) return std::optional<ip::Endpoint>();
  const auto* address = static_cast<const sockaddr*>(message.msg_name);
  const bool nowhere = message.msg_namelen >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC;
  if ((flags & MSG_FASTOPEN) != 0 && nowhere) return fail(Errno::kNotSupported);
  const auto to = to_endpoint(address, message.msg_namelen);
  return to ? Result<std::optional<ip::Endpoint>>(*to) : fail(to.error());
}

socket::SendFlags send_flags_of(int flags) {
  return {.more = (flags & MSG_MORE) != 0,
          .end_of_record = (flags & MSG_EOR) != 0,
          .urgent = (flags & MSG_OOB) != 0,
          .fast_open = (flags & MSG_FASTOPEN) != 0};
}

void store_endpoint(const ip::Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port);
  in.sin_addr.s_addr = htonl(endpoint.address.v4().value);
  memcpy(address, &in, std::min<std::size_t>(*length, sizeof in));
  *length = sizeof in;
}

void Pieces::add(std::uint8_t* data, std::size_t size) {
  if (count_ == kFew) {
    many_.assign(few_.begin(), few_.end());
    many_writable_.assign(few_writable_.begin(), few_writable_.end());
  }
  if (count_ < kFew) {
    few_[count_] = {data, size};
    few_writable_[count_] = {data, size};
  } else {
    many_.emplace_back(data, size);
    many_writable_.emplace_back(data, size);
  }
  ++count_;
  size_ += size;
}

template <typename Piece>
std::span<const Piece> Pieces::left_of(std::span<Piece> all, std::size_t skip) {
  while (skipped_ < skip) {
    const std::size_t n = std::min(skip - skipped_, all[first_].size());
    all[first_] = all[first_].subspan(n);
    skipped_ += n;
    if (all[first_].empty()) ++first_;
  }
  return all.subspan(first_);
}

std::span<const Bytes> Pieces::from(std::size_t skip) {
  return left_of(count_ <= kFew ? std::span(few_).first(count_) : std::span(many_), skip);
}
std::span<const MutableBytes> Pieces::writable(std::size_t skip) {
  return left_of(count_ <= kFew ? std::span(few_writable_).first(count_) : std::span(many_writable_), skip);
}

Result<Pieces> pieces_of(const iovec* vector, std::size_t count) {
  if (count > Pieces::kMost) return fail(Errno::kMessageSize);
  Pieces p;
  for (std::size_t i = 0; i < count; ++i) {
    if (vector[i].iov_len == 0) continue;
    if (vector[i].iov_base == nullptr) return fail(Errno::kFault);
    p.add(static_cast<std::uint8_t*>(vector[i].iov_base), vector[i].iov_len);
  }
  return p;
}

short poll_events_of(socket::Ready r) {
  int events = 0;
  if (any(r & socket::Ready::kIn)) events |= POLLIN | POLLRDNORM;
  if (any(r & socket::Ready::kOut)) events |= POLLOUT | POLLWRNORM;
  if (any(r & socket::Ready::kError)) events |= POLLERR;
  if (any(r & socket::Ready::kHangup)) events |= POLLHUP;
  if (any(r & socket::Ready::kReadHangup)) events |= POLLRDHUP;
  if (any(r & socket::Ready::kUrgent)) events |= POLLPRI;
  return static_cast<short>(events);
}

}  // namespace sluice
