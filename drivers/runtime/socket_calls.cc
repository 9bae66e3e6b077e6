// sluice/socket.h: the BSD calls over the non-blocking sockets of the stack. Blocking, timeouts and system types are here.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <optional>

#include "drivers/runtime/impl.h"
#include "stack/tcp/cc/registry.h"

using sluice::Bytes;
using sluice::Descriptor;
using sluice::Duration;
using sluice::Errno;
using sluice::fail;
using sluice::Instant;
using sluice::MutableBytes;
using sluice::Result;
using sluice::Status;
using sluice::ip::Endpoint;
using sluice::socket::Option;
using sluice::socket::Ready;
using Impl = sluice::Runtime::Impl;

namespace {

int set_errno(Errno e) {
  errno = static_cast<int>(e);
  return -1;
}
int answer(const Status& status) { return status ? 0 : set_errno(status.error()); }

// --- addresses -----------------------------------------------------------------------------------------------------------

Result<Endpoint> to_endpoint(const sockaddr* address, socklen_t length) {
  if (address == nullptr) return fail(Errno::kInvalid);
  if (length < sizeof(sa_family_t)) return fail(Errno::kInvalid);
  if (address->sa_family != AF_INET) return fail(Errno::kFamilyNotSupported);
  if (length < sizeof(sockaddr_in)) return fail(Errno::kInvalid);
  sockaddr_in in{};
  memcpy(&in, address, sizeof in);
  return Endpoint{sluice::wire::Ipv4Address{ntohl(in.sin_addr.s_addr)}, ntohs(in.sin_port)};
}

// Cut to the room there is; *length becomes the whole size, as the kernel does.
void store_endpoint(const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port);
  in.sin_addr.s_addr = htonl(endpoint.address.v4().value);
  memcpy(address, &in, std::min<std::size_t>(*length, sizeof in));
  *length = sizeof in;
}

// --- waiting -------------------------------------------------------------------------------------------------------------

Instant deadline_after(Duration timeout) {
  return timeout == Duration() ? Instant::never() : sluice::monotonic_now() + timeout;
}

// Tries `attempt` until it gives something else than kAgain. Between tries waits for `wanted`, unless the call does not
// block. kBadFile when the descriptor is closed meanwhile, kIntr on a signal, kAgain on a timeout.
template <typename Attempt>
auto blocking(Descriptor& d, Ready wanted, bool dont_wait, Duration timeout, Attempt&& attempt) -> decltype(attempt()) {
  Impl& impl = *d.runtime;
  Impl::Guard guard(impl);
  const std::uint32_t generation = d.generation;
  const Instant deadline = deadline_after(timeout);
  for (;;) {
    auto result = attempt();
    if (result || result.error() != Errno::kAgain || dont_wait || d.nonblocking) {
      impl.after_call();
      return result;
    }
    const auto ready = [&] {
      return d.generation != generation ||
             sluice::socket::any(impl.stack->sockets().ready(d.handle) & (wanted | Ready::kError | Ready::kHangup));
    };
    const Impl::Woken woken = impl.wait(guard, deadline, ready);
    if (d.generation != generation) return fail(Errno::kBadFile);
    if (woken == Impl::Woken::kTimeout) return fail(Errno::kAgain);
    if (woken == Impl::Woken::kSignal) return fail(Errno::kIntr);
    impl.stack->set_time(sluice::monotonic_now());
  }
}

// --- the pieces of a message -----------------------------------------------------------------------------------------------

constexpr std::size_t kMaxPieces = 15;

struct Pieces {
  std::array<Bytes, kMaxPieces> bytes;
  std::array<MutableBytes, kMaxPieces> writable;
  std::size_t count = 0;
  std::size_t size = 0;
};

std::optional<Pieces> pieces_of(const iovec* vector, std::size_t count) {
  Pieces p;
  for (std::size_t i = 0; i < count; ++i) {
    if (vector[i].iov_len == 0) continue;
    if (p.count == kMaxPieces) return {};
    auto* data = static_cast<std::uint8_t*>(vector[i].iov_base);
    p.bytes[p.count] = {data, vector[i].iov_len};
    p.writable[p.count] = {data, vector[i].iov_len};
    p.size += vector[i].iov_len;
    ++p.count;
  }
  return p;
}

// A blocking stream send returns when all is in the send queue, as Linux.
ssize_t send_pieces(Descriptor& d, const Pieces& p, int flags, const Endpoint* to) {
  std::size_t done = 0;
  const bool dont_wait = (flags & MSG_DONTWAIT) != 0;
  Pieces left = p;
  std::size_t first = 0;
  for (;;) {
    const auto sent = blocking(d, Ready::kOut, dont_wait, d.send_timeout, [&] {
      return d.runtime->stack->sockets().send(d.handle, std::span(left.bytes).subspan(first, left.count - first), to,
                                              {.more = (flags & MSG_MORE) != 0});
    });
    if (!sent) return done > 0 ? static_cast<ssize_t>(done) : set_errno(sent.error());
    done += *sent;
    if (done >= p.size || d.nonblocking || dont_wait) return static_cast<ssize_t>(done);
    for (std::size_t skip = *sent; skip > 0;) {
      const std::size_t n = std::min(skip, left.bytes[first].size());
      left.bytes[first] = left.bytes[first].subspan(n);
      skip -= n;
      if (left.bytes[first].empty()) ++first;
    }
  }
}

Result<sluice::socket::Received> receive_pieces(Descriptor& d, const Pieces& p, int flags) {
  return blocking(d, Ready::kIn, (flags & MSG_DONTWAIT) != 0, d.receive_timeout, [&] {
    return d.runtime->stack->sockets().receive(d.handle, std::span(p.writable).first(p.count),
                                               {.peek = (flags & MSG_PEEK) != 0, .trunc = (flags & MSG_TRUNC) != 0});
  });
}

}  // namespace

// --- life of a socket ------------------------------------------------------------------------------------------------------

int sl_socket(int domain, int type, int protocol) {
  Impl* impl = sluice::current_runtime();
  if (impl == nullptr) return set_errno(Errno::kNetworkDown);
  if (domain != AF_INET) return set_errno(Errno::kFamilyNotSupported);
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  sluice::socket::Type t{};
  if (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
    t = sluice::socket::Type::kStream;
  } else if (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)) {
    t = sluice::socket::Type::kDatagram;
  } else if (kind == SOCK_DGRAM && protocol == IPPROTO_ICMP) {
    t = sluice::socket::Type::kIcmpEcho;
  } else {
    return set_errno(kind == SOCK_STREAM || kind == SOCK_DGRAM ? Errno::kProtocolNotSupported
                                                              : Errno::kSocketTypeNotSupported);
  }
  Impl::Guard guard(*impl);
  const auto handle = impl->stack->sockets().open(sluice::ip::Family::kV4, t);
  if (!handle) return set_errno(handle.error());
  const int fd = sluice::allocate_descriptor(impl, *handle, (type & SOCK_NONBLOCK) != 0);
  if (fd >= 0) return fd;
  (void)impl->stack->sockets().close(*handle);
  return set_errno(Errno::kTooManyFiles);
}

int sl_close(int fd) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl& impl = *d->runtime;
  Impl::Guard guard(impl);
  const Status closed = impl.stack->sockets().close(d->handle);
  sluice::release_descriptor(fd);
  impl.after_call();
  return answer(closed);
}

int sl_bind(int fd, const sockaddr* address, socklen_t length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  const auto local = to_endpoint(address, length);
  if (!local) return set_errno(local.error());
  Impl::Guard guard(*d->runtime);
  return answer(d->runtime->stack->sockets().bind(d->handle, *local));
}

int sl_listen(int fd, int backlog) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl::Guard guard(*d->runtime);
  return answer(d->runtime->stack->sockets().listen(d->handle, backlog));
}

int sl_accept(int fd, sockaddr* address, socklen_t* length) { return sl_accept4(fd, address, length, 0); }

int sl_accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl& impl = *d->runtime;
  Endpoint peer;
  const auto handle = blocking(*d, Ready::kIn, false, d->receive_timeout,
                               [&] { return impl.stack->sockets().accept(d->handle, &peer); });
  if (!handle) return set_errno(handle.error());
  const int accepted = sluice::allocate_descriptor(&impl, *handle, (flags & SOCK_NONBLOCK) != 0);
  if (accepted < 0) {
    Impl::Guard guard(impl);
    (void)impl.stack->sockets().close(*handle);
    return set_errno(Errno::kTooManyFiles);
  }
  store_endpoint(peer, address, length);
  return accepted;
}

int sl_connect(int fd, const sockaddr* address, socklen_t length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl& impl = *d->runtime;
  if (address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) {
    Impl::Guard guard(impl);
    return answer(impl.stack->sockets().disconnect(d->handle));
  }
  const auto peer = to_endpoint(address, length);
  if (!peer) return set_errno(peer.error());
  Impl::Guard guard(impl);
  sluice::socket::Sockets& sockets = impl.stack->sockets();
  const Status started = sockets.connect(d->handle, *peer);
  impl.after_call();
  if (started) return 0;
  if (started.error() != Errno::kInProgress || d->nonblocking) return set_errno(started.error());
  const std::uint32_t generation = d->generation;
  const Impl::Woken woken = impl.wait(guard, deadline_after(d->send_timeout), [&] {
    return d->generation != generation || sluice::socket::any(sockets.ready(d->handle));
  });
  if (d->generation != generation) return set_errno(Errno::kBadFile);
  if (woken == Impl::Woken::kSignal) return set_errno(Errno::kIntr);
  if (woken == Impl::Woken::kTimeout) return set_errno(Errno::kInProgress);
  const auto error = sockets.get_option(d->handle, Option::kError);
  if (error && *error != 0) return set_errno(static_cast<Errno>(*error));
  (void)sockets.connect(d->handle, *peer);  // takes note that it is connected
  return 0;
}

int sl_shutdown(int fd, int how) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return set_errno(Errno::kInvalid);
  using sluice::socket::Shutdown;
  Impl::Guard guard(*d->runtime);
  const Status done = d->runtime->stack->sockets().shutdown(
      d->handle, how == SHUT_RD ? Shutdown::kRead : how == SHUT_WR ? Shutdown::kWrite : Shutdown::kBoth);
  d->runtime->after_call();
  return answer(done);
}

int sl_getsockname(int fd, sockaddr* address, socklen_t* length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl::Guard guard(*d->runtime);
  const auto name = d->runtime->stack->sockets().local_name(d->handle);
  if (!name) return set_errno(name.error());
  store_endpoint(*name, address, length);
  return 0;
}

int sl_getpeername(int fd, sockaddr* address, socklen_t* length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  Impl::Guard guard(*d->runtime);
  const auto name = d->runtime->stack->sockets().peer_name(d->handle);
  if (!name) return set_errno(name.error());
  store_endpoint(*name, address, length);
  return 0;
}

// --- data --------------------------------------------------------------------------------------------------------------------

ssize_t sl_sendmsg(int fd, const msghdr* message, int flags) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  const auto p = pieces_of(message->msg_iov, message->msg_iovlen);
  if (!p) return set_errno(Errno::kMessageSize);
  if (message->msg_name == nullptr) return send_pieces(*d, *p, flags, nullptr);
  const auto to = to_endpoint(static_cast<const sockaddr*>(message->msg_name), message->msg_namelen);
  return to ? send_pieces(*d, *p, flags, &*to) : set_errno(to.error());
}

ssize_t sl_sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  iovec piece{const_cast<void*>(data), size};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(to);
  message.msg_namelen = length;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return sl_sendmsg(fd, &message, flags);
}
ssize_t sl_send(int fd, const void* data, size_t size, int flags) { return sl_sendto(fd, data, size, flags, nullptr, 0); }
ssize_t sl_write(int fd, const void* data, size_t size) { return sl_sendto(fd, data, size, 0, nullptr, 0); }
ssize_t sl_writev(int fd, const iovec* pieces, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(std::max(count, 0));
  return sl_sendmsg(fd, &message, 0);
}

namespace {

// The received TTL as ancillary data, where it was asked for (IP_RECVTTL) and there is room.
void store_ttl(const Descriptor& d, int ttl, msghdr& message) {
  const std::size_t room = message.msg_control != nullptr ? message.msg_controllen : 0;
  message.msg_controllen = 0;
  if (!d.receive_ttl) return;
  if (room < CMSG_SPACE(sizeof ttl)) {
    message.msg_flags |= MSG_CTRUNC;
    return;
  }
  message.msg_controllen = CMSG_SPACE(sizeof ttl);
  cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = IPPROTO_IP;
  control->cmsg_type = IP_TTL;
  control->cmsg_len = CMSG_LEN(sizeof ttl);
  memcpy(CMSG_DATA(control), &ttl, sizeof ttl);
}

}  // namespace

ssize_t sl_recvmsg(int fd, msghdr* message, int flags) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  auto p = pieces_of(message->msg_iov, message->msg_iovlen);
  if (!p) return set_errno(Errno::kMessageSize);
  const auto got = receive_pieces(*d, *p, flags);
  if (!got) return set_errno(got.error());
  message->msg_flags = got->truncated ? MSG_TRUNC : 0;
  store_ttl(*d, got->ttl, *message);
  if (message->msg_name != nullptr) {
    store_endpoint(got->source, static_cast<sockaddr*>(message->msg_name), &message->msg_namelen);
  }
  return static_cast<ssize_t>(got->size);
}

ssize_t sl_recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* length) {
  iovec piece{data, size};
  msghdr message{};
  message.msg_name = from;
  message.msg_namelen = from != nullptr && length != nullptr ? *length : 0;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  std::size_t done = 0;
  for (;;) {
    const ssize_t n = sl_recvmsg(fd, &message, flags);
    if (n < 0) return done > 0 ? static_cast<ssize_t>(done) : -1;
    done += static_cast<std::size_t>(n);
    if (from != nullptr && length != nullptr) *length = message.msg_namelen;
    const bool all = (flags & MSG_WAITALL) != 0 && (flags & (MSG_PEEK | MSG_DONTWAIT)) == 0;
    if (!all || n == 0 || done == size) return static_cast<ssize_t>(done);
    piece = {static_cast<char*>(data) + done, size - done};
  }
}
ssize_t sl_recv(int fd, void* data, size_t size, int flags) { return sl_recvfrom(fd, data, size, flags, nullptr, nullptr); }
ssize_t sl_read(int fd, void* data, size_t size) { return sl_recvfrom(fd, data, size, 0, nullptr, nullptr); }
ssize_t sl_readv(int fd, const iovec* pieces, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(std::max(count, 0));
  return sl_recvmsg(fd, &message, 0);
}

// --- options -------------------------------------------------------------------------------------------------------------------

namespace {

struct OptionRow {
  int level;
  int name;
  Option option;
};
constexpr OptionRow kIntOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR, Option::kReuseAddress},   {SOL_SOCKET, SO_REUSEPORT, Option::kReusePort},
    {SOL_SOCKET, SO_BROADCAST, Option::kBroadcast},      {SOL_SOCKET, SO_KEEPALIVE, Option::kKeepAlive},
    {SOL_SOCKET, SO_SNDBUF, Option::kSendBuffer},        {SOL_SOCKET, SO_RCVBUF, Option::kReceiveBuffer},
    {SOL_SOCKET, SO_ERROR, Option::kError},              {SOL_SOCKET, SO_ACCEPTCONN, Option::kAcceptConnection},
    {IPPROTO_TCP, TCP_NODELAY, Option::kTcpNoDelay},     {IPPROTO_TCP, TCP_CORK, Option::kTcpCork},
    {IPPROTO_TCP, TCP_QUICKACK, Option::kTcpQuickAck},   {IPPROTO_TCP, TCP_MAXSEG, Option::kTcpMaxSegment},
    {IPPROTO_TCP, TCP_KEEPIDLE, Option::kTcpKeepIdle},   {IPPROTO_TCP, TCP_KEEPINTVL, Option::kTcpKeepInterval},
    {IPPROTO_TCP, TCP_KEEPCNT, Option::kTcpKeepCount},   {IPPROTO_TCP, TCP_USER_TIMEOUT, Option::kTcpUserTimeout},
    {IPPROTO_IP, IP_TTL, Option::kIpTtl},                {IPPROTO_IP, IP_TOS, Option::kIpTos},
    {IPPROTO_IP, IP_MTU_DISCOVER, Option::kIpMtuDiscover}, {IPPROTO_IP, IP_MULTICAST_TTL, Option::kIpMulticastTtl},
};

std::optional<Option> int_option(int level, int name) {
  for (const OptionRow& row : kIntOptions) {
    if (row.level == level && row.name == name) return row.option;
  }
  return {};
}

int set_timeout(Duration& timeout, const void* value, socklen_t length) {
  timeval t{};
  if (length < sizeof t) return set_errno(Errno::kInvalid);
  memcpy(&t, value, sizeof t);
  if (t.tv_sec < 0 || t.tv_usec < 0 || t.tv_usec >= 1'000'000) return errno = EDOM, -1;
  timeout = Duration::seconds(t.tv_sec) + Duration::micros(t.tv_usec);
  return 0;
}

int set_flag(bool& flag, const void* value, socklen_t length) {
  int number = 0;
  if (length < sizeof number) return set_errno(Errno::kInvalid);
  memcpy(&number, value, sizeof number);
  flag = number != 0;
  return 0;
}

int store_value(const void* from, std::size_t size, void* value, socklen_t* length) {
  const std::size_t n = std::min<std::size_t>(size, *length);
  memcpy(value, from, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}

}  // namespace

int sl_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  if (value == nullptr) return errno = EFAULT, -1;
  Impl::Guard guard(*d->runtime);
  sluice::socket::Sockets& sockets = d->runtime->stack->sockets();
  if (level == SOL_SOCKET && name == SO_RCVTIMEO) return set_timeout(d->receive_timeout, value, length);
  if (level == SOL_SOCKET && name == SO_SNDTIMEO) return set_timeout(d->send_timeout, value, length);
  if (level == SOL_SOCKET && name == SO_LINGER) {
    linger l{};
    if (length < sizeof l) return set_errno(Errno::kInvalid);
    memcpy(&l, value, sizeof l);
    return answer(sockets.set_option(d->handle, Option::kLinger, l.l_onoff != 0 ? l.l_linger : -1));
  }
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    const std::string_view text(static_cast<const char*>(value), strnlen(static_cast<const char*>(value), length));
    const std::uint8_t index = sluice::tcp::cc::index_of(text);
    if (index == 0) return set_errno(Errno::kNoDevice);
    return answer(sockets.set_option(d->handle, Option::kTcpCongestion, index));
  }
  if (level == IPPROTO_IP && name == IP_RECVTTL) return set_flag(d->receive_ttl, value, length);
  const auto option = int_option(level, name);
  if (!option || *option == Option::kError || *option == Option::kAcceptConnection) return set_errno(Errno::kNoProtocolOption);
  int number = 0;
  if (length < sizeof number) return set_errno(Errno::kInvalid);
  memcpy(&number, value, sizeof number);
  const Status done = sockets.set_option(d->handle, *option, number);
  d->runtime->after_call();
  return answer(done);
}

int sl_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  if (value == nullptr || length == nullptr) return errno = EFAULT, -1;
  Impl::Guard guard(*d->runtime);
  sluice::socket::Sockets& sockets = d->runtime->stack->sockets();
  if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
    const std::int64_t us = (name == SO_RCVTIMEO ? d->receive_timeout : d->send_timeout).to_micros();
    const timeval t{us / 1'000'000, us % 1'000'000};
    return store_value(&t, sizeof t, value, length);
  }
  if (level == SOL_SOCKET && name == SO_LINGER) {
    const auto seconds = sockets.get_option(d->handle, Option::kLinger);
    if (!seconds) return set_errno(seconds.error());
    const linger l{*seconds >= 0, static_cast<int>(std::max<std::int64_t>(*seconds, 0))};
    return store_value(&l, sizeof l, value, length);
  }
  if (level == SOL_SOCKET && name == SO_TYPE) {
    const auto type = sockets.get_option(d->handle, Option::kType);
    const int number = type && *type == 0 ? SOCK_STREAM : SOCK_DGRAM;
    return store_value(&number, sizeof number, value, length);
  }
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    const auto info = sockets.tcp_info(d->handle);
    if (!info) return set_errno(info.error());
    return store_value(info->congestion, strlen(info->congestion) + 1, value, length);
  }
  const auto option = int_option(level, name);
  if (!option) return set_errno(Errno::kNoProtocolOption);
  const auto got = sockets.get_option(d->handle, *option);
  if (!got) return set_errno(got.error());
  const int number = static_cast<int>(*got);
  return store_value(&number, sizeof number, value, length);
}

int sl_fcntl(int fd, int command, long argument) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  if (command == F_GETFL) return O_RDWR | (d->nonblocking ? O_NONBLOCK : 0);
  if (command != F_SETFL) return set_errno(Errno::kInvalid);
  d->nonblocking = (argument & O_NONBLOCK) != 0;
  return 0;
}

int sl_ioctl(int fd, unsigned long request, void* argument) {
  Descriptor* d = sluice::find_descriptor(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  int number = 0;
  if (request == FIONBIO) {
    memcpy(&number, argument, sizeof number);
    d->nonblocking = number != 0;
    return 0;
  }
  if (request != FIONREAD) return errno = ENOTTY, -1;
  Impl::Guard guard(*d->runtime);
  const auto bytes = d->runtime->stack->sockets().readable_bytes(d->handle);
  if (!bytes) return set_errno(bytes.error());
  number = static_cast<int>(*bytes);
  memcpy(argument, &number, sizeof number);
  return 0;
}

// --- poll ------------------------------------------------------------------------------------------------------------------------

short sluice::poll_events_of(Ready r) {
  int events = 0;
  if (any(r & Ready::kIn)) events |= POLLIN | POLLRDNORM;
  if (any(r & Ready::kOut)) events |= POLLOUT | POLLWRNORM;
  if (any(r & Ready::kError)) events |= POLLERR;
  if (any(r & Ready::kHangup)) events |= POLLHUP;
  if (any(r & Ready::kReadHangup)) events |= POLLRDHUP;
  return static_cast<short>(events);
}

namespace {

// Fills in the sluice descriptors of the set; returns how many have something.
int check_ours(pollfd* fds, nfds_t count) {
  int ready = 0;
  for (nfds_t i = 0; i < count; ++i) {
    if (fds[i].fd < SL_FD_BASE) continue;
    const Descriptor* d = sluice::find_descriptor(fds[i].fd);
    const short wanted = static_cast<short>(fds[i].events | POLLERR | POLLHUP);
    fds[i].revents = d == nullptr ? static_cast<short>(POLLNVAL)
                                  : static_cast<short>(sluice::poll_events_of(d->runtime->stack->sockets().ready(d->handle)) & wanted);
    if (fds[i].revents != 0) ++ready;
  }
  return ready;
}

}  // namespace

int sl_poll(pollfd* fds, nfds_t count, int timeout_ms) {
  Impl* impl = nullptr;
  std::vector<pollfd> kernel;
  for (nfds_t i = 0; i < count; ++i) {
    const Descriptor* d = sluice::find_descriptor(fds[i].fd);
    if (d != nullptr) impl = d->runtime;  // descriptors of one runtime at a time
    if (fds[i].fd < SL_FD_BASE) kernel.push_back(fds[i]);
  }
  if (impl == nullptr) return ::poll(fds, count, timeout_ms);
  Impl::Guard guard(*impl);
  const Instant deadline = timeout_ms < 0 ? Instant::never() : sluice::monotonic_now() + Duration::millis(timeout_ms);
  int ready = 0;
  const auto check = [&] {
    if (!kernel.empty()) (void)::poll(kernel.data(), kernel.size(), 0);
    std::size_t k = 0;
    ready = check_ours(fds, count);
    for (nfds_t i = 0; i < count; ++i) {
      if (fds[i].fd >= SL_FD_BASE) continue;
      fds[i].revents = kernel[k++].revents;
      if (fds[i].revents != 0) ++ready;
    }
    return ready > 0;
  };
  const Impl::Woken woken = impl->wait(guard, deadline, check, kernel.empty() ? nullptr : &kernel);
  if (woken == Impl::Woken::kSignal) return set_errno(Errno::kIntr);
  return ready;
}
