// System types to values and back; see system_types.h.
#include "drivers/runtime/system_types.h"

#include <errno.h>
#include <netinet/in.h>
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
  if (domain != AF_INET) return fail(Errno::kFamilyNotSupported);
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) return socket::Type::kStream;
  if (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) return socket::Type::kDatagram;
  if (kind == SOCK_DGRAM && protocol == IPPROTO_ICMP) return socket::Type::kIcmpEcho;
  const bool known = kind == SOCK_STREAM || kind == SOCK_DGRAM;
  return fail(known ? Errno::kProtocolNotSupported : Errno::kSocketTypeNotSupported);
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

void store_endpoint(const ip::Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port);
  in.sin_addr.s_addr = htonl(endpoint.address.v4().value);
  memcpy(address, &in, std::min<std::size_t>(*length, sizeof in));
  *length = sizeof in;
}

Result<Pieces> pieces_of(const iovec* vector, std::size_t count) {
  Pieces p;
  for (std::size_t i = 0; i < count; ++i) {
    if (vector[i].iov_len == 0) continue;
    if (vector[i].iov_base == nullptr) return fail(Errno::kFault);
    if (p.count == Pieces::kMost) return fail(Errno::kMessageSize);
    auto* data = static_cast<std::uint8_t*>(vector[i].iov_base);
    p.bytes[p.count] = {data, vector[i].iov_len};
    p.writable[p.count] = {data, vector[i].iov_len};
    p.size += vector[i].iov_len;
    ++p.count;
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
  return static_cast<short>(events);
}

}  // namespace sluice
