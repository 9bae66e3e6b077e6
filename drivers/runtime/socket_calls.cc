// sluice/socket.h: the BSD calls over the non-blocking sockets of the stack. Blocking, timeouts and system types are
// here.
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>  // needs time.h

#include <algorithm>
#include <array>
#include <optional>

#include "drivers/runtime/ancillary.h"
#include "drivers/runtime/blocking.h"
#include "drivers/runtime/epoll_set.h"
#include "drivers/runtime/impl.h"
#include "sluice/socket.hpp"

using sluice::answer;
using sluice::blocking;
using sluice::Bytes;
using sluice::Call;
using sluice::deadline_of;
using sluice::Descriptor;
using sluice::Duration;
using sluice::Errno;
using sluice::fail;
using sluice::Instant;
using sluice::kNoWait;
using sluice::low_water;
using sluice::MutableBytes;
using sluice::Pieces;
using sluice::pieces_of;
using sluice::Result;
using sluice::set_errno;
using sluice::Status;
using sluice::store_endpoint;
using sluice::to_endpoint;
using sluice::wait_for;
using sluice::ip::Endpoint;
using sluice::socket::Option;
using sluice::socket::Ready;
using sluice::socket::Received;
using Impl = sluice::Runtime::Impl;

// --- waiting ---------------------------------------------------------------------------------------------------------

Instant sluice::deadline_of(Call& call, Duration timeout, int flags) {
  if (call.settings().nonblocking || (flags & MSG_DONTWAIT) != 0) return kNoWait;
  return timeout == Duration() ? Instant::never() : monotonic_now() + timeout;
}

Status sluice::wait_for(Call& call, Instant deadline, const std::function<bool()>& done) {
  const Impl::Woken woken =
      call.runtime().wait(call.guard(), deadline, call.handle(), [&] { return call.closed_meanwhile() || done(); });
  if (call.closed_meanwhile()) return fail(Errno::kBadFile);
  if (woken == Impl::Woken::kTimeout) return fail(Errno::kAgain);
  if (woken == Impl::Woken::kSignal) return fail(Errno::kIntr);
  call.runtime().stack->set_time(monotonic_now());
  return {};
}

Status sluice::wait_for_bytes(Call& call, Instant deadline, std::size_t least) {
  const auto has = [&](std::size_t bytes) { return call.sockets().receives(call.handle(), bytes); };
  if (deadline == kNoWait || has(least)) return {};
  const Status waited = wait_for(call, deadline, [&] { return has(least); });
  return !waited && waited.error() != Errno::kBadFile && has(1) ? Status() : waited;
}

std::size_t sluice::low_water(const Call& call) {
  return static_cast<std::size_t>(call.sockets().get_option(call.handle(), Option::kReceiveLowWater).value_or(1));
}

namespace {

// --- the pieces of a message -----------------------------------------------------------------------------------------

// For the urgent byte no call waits.
Instant receive_deadline(Call& call, int flags) {
  return (flags & MSG_OOB) != 0 ? kNoWait : deadline_of(call, call.settings().seldom->receive_timeout, flags);
}

bool is_stream(const Call& call) {
  const auto type = call.sockets().get_option(call.handle(), Option::kType);
  return type && *type == static_cast<std::int64_t>(sluice::socket::Type::kStream);
}

// The handshake that a send has begun; kInProgress: not over by then.
Status await_handshake(Call& call, Instant deadline) {
  const Status waited = wait_for(call, deadline, [&] { return !call.sockets().in_handshake(call.handle()); });
  if (!waited) return waited.error() == Errno::kAgain ? fail(Errno::kInProgress) : waited;
  const auto error = call.sockets().get_option(call.handle(), Option::kError);
  if (!error) return fail(error.error());
  return *error == 0 ? Status() : fail(static_cast<Errno>(*error));
}

sluice::SocketRef reference(const Call& call) {
  return {call.sockets(), call.handle(), call.settings()};
}

// What a message that is to be sent has beside its data and its destination; null: it has none.
struct Beside {
  const sluice::ip::Choices* choices = nullptr;
  const sluice::ip::LinkName* link = nullptr;  // destination of a frame
};

// A blocking stream send returns when all is in the send queue, and the handshake over if it has begun one, as Linux.
ssize_t send_pieces(Call& call, Pieces& p, int flags, const Endpoint* to, const Beside& beside) {
  const bool urgent = (flags & MSG_OOB) != 0 && !sluice::is_packet(reference(call));  // to which it means nothing
  if (urgent && !is_stream(call)) return set_errno(Errno::kNotSupported);
  const Instant deadline = deadline_of(call, call.settings().seldom->send_timeout, flags);
  std::size_t done = 0;
  bool closed = false;
  for (;; flags &= ~MSG_FASTOPEN) {
    const auto sent = blocking(call, Ready::kOut, deadline, [&] {
      sluice::socket::SendFlags given = sluice::send_flags_of(flags);
      given.choices = beside.choices;
      given.link = beside.link;
      return call.sockets().send(call.handle(), p.from(done), to, given);
    });
    if (sent) done += *sent;
    const bool begun = sent ? call.sockets().in_handshake(call.handle()) : sent.error() == Errno::kInProgress;
    if (begun && deadline != kNoWait) {
      const Status over = await_handshake(call, deadline);
      if (!over && over.error() == Errno::kInProgress && done > 0) break;
      if (!over) return set_errno(over.error());
      if (done < p.size() || !sent) continue;
    }
    if (!sent && done == 0) return set_errno(sent.error());
    closed = !sent && sent.error() == Errno::kBadFile;  // while it waited
    if (!sent || done >= p.size() || deadline == kNoWait) break;
  }
  if (!closed) sluice::ask_for_reports(reference(call), flags, done);
  return static_cast<ssize_t>(done);
}

}  // namespace

// --- life of a socket ------------------------------------------------------------------------------------------------

int sl_socket(int domain, int type, int protocol) {
  Impl* impl = sluice::current_runtime();
  if (impl == nullptr) return set_errno(Errno::kNetworkDown);
  const auto kind = sluice::socket_type_of(domain, type, protocol);
  if (!kind) return set_errno(kind.error());
  Impl::Guard guard(*impl);
  const auto number =
      static_cast<std::uint16_t>(domain == AF_PACKET ? ntohs(static_cast<std::uint16_t>(protocol)) : protocol);
  const auto handle = impl->stack->sockets().open(sluice::ip::Family::kV4, *kind, number);
  if (!handle) return set_errno(handle.error());
  sluice::SocketSettings& settings = impl->side(*handle).settings;
  settings.nonblocking = (type & SOCK_NONBLOCK) != 0;
  settings.close_on_exec = (type & SOCK_CLOEXEC) != 0;
  const int fd = sluice::allocate_descriptor(*impl, *handle);
  if (fd >= 0) return fd;
  (void)impl->stack->sockets().close(*handle);
  return set_errno(Errno::kTooManyFiles);
}

namespace {

// SO_LINGER with a time: until the peer has acknowledged all, our FIN included, or the time is over. The number is
// given back already; calls of other threads on it have ended.
void linger_before_close(Call& call, sluice::socket::Handle handle) {
  Impl& impl = call.runtime();
  sluice::socket::Sockets& sockets = impl.stack->sockets();
  const auto seconds = sockets.get_option(handle, Option::kLinger);
  const auto info = sockets.tcp_info(handle);
  const bool in_vain = !info || info->receive_queued > 0 || !impl.threaded;  // it will be reset; it may not block
  if (in_vain || !seconds || *seconds <= 0) return;
  if (!sockets.shutdown(handle, sluice::socket::Shutdown::kWrite)) return;
  impl.observe(handle);
  const auto is_over = [&] {
    using sluice::tcp::State;
    const auto now = sockets.tcp_info(handle);
    if (impl.stopping || !now) return true;
    return now->state != State::kFinWait1 && now->state != State::kClosing && now->state != State::kLastAck;
  };
  (void)impl.wait(call.guard(), sluice::monotonic_now() + Duration::seconds(*seconds), handle, is_over);
}

}  // namespace

int sl_close(int fd) {
  if (fd < SL_FD_BASE) return ::close(fd);
  Call call(fd, Call::On::kAny);
  if (!call) return call.refuse();
  Impl& impl = call.runtime();
  const sluice::socket::Handle handle = call.handle();
  const sluice::Left left = sluice::release_descriptor(fd);
  Status closed;
  if (handle >= 0) {
    impl.on_ready(handle);
    if (left == sluice::Left::kNone) {
      sluice::EpollSet::forget(impl, handle);
      linger_before_close(call, handle);
      impl.side(handle).settings = {};
      closed = call.sockets().close(handle);
    }
  }
  impl.after_call();
  return answer(closed);
}

namespace {

// For bind() a family of 0 with no address is IPv4, as on Linux.
Result<Endpoint> to_local_endpoint(const sockaddr* address, socklen_t length) {
  sockaddr_in in{};
  if (address == nullptr || length < sizeof in || address->sa_family != AF_UNSPEC) return to_endpoint(address, length);
  memcpy(&in, address, sizeof in);
  if (in.sin_addr.s_addr == INADDR_ANY) in.sin_family = AF_INET;
  return to_endpoint(sluice::net::generic(in), sizeof in);
}

}  // namespace

int sl_bind(int fd, const sockaddr* address, socklen_t length) {
  const Call call(fd);
  if (!call) return call.refuse();
  if (sluice::is_packet(reference(call))) {
    const auto name = sluice::to_link_name(address, length);
    if (name && address->sa_family != AF_PACKET) return set_errno(Errno::kInvalid);
    return name ? answer(call.sockets().bind_link(call.handle(), *name)) : set_errno(name.error());
  }
  const auto local = to_local_endpoint(address, length);
  if (!local) return set_errno(local.error());
  return answer(call.sockets().bind(call.handle(), *local));
}

int sl_listen(int fd, int backlog) {
  const Call call(fd);
  if (!call) return call.refuse();
  return answer(call.sockets().listen(call.handle(), backlog));
}

int sl_accept(int fd, sockaddr* address, socklen_t* length) {
  return sl_accept4(fd, address, length, 0);
}

int sl_accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  Call call(fd);
  if (!call) return call.refuse();
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return set_errno(Errno::kInvalid);
  Endpoint peer;
  const auto handle = blocking(call, Ready::kIn, deadline_of(call, call.settings().seldom->receive_timeout, 0),
                               [&] { return call.sockets().accept(call.handle(), &peer); });
  if (!handle) return set_errno(handle.error());
  const int accepted = sluice::allocate_descriptor(call.runtime(), *handle);
  if (accepted < 0) {
    (void)call.sockets().close(*handle);
    return set_errno(Errno::kTooManyFiles);
  }
  call.runtime().side(*handle).settings = sluice::settings_of_accepted(call.settings(), flags);
  store_endpoint(peer, address, length);
  return accepted;
}

int sl_connect(int fd, const sockaddr* address, socklen_t length) {
  Call call(fd);
  if (!call) return call.refuse();
  if (address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) {
    return answer(call.sockets().disconnect(call.handle()));
  }
  if (sluice::is_packet(reference(call))) return set_errno(Errno::kNotSupported);
  const auto peer = to_endpoint(address, length);
  if (!peer) return set_errno(peer.error());
  const Status started = call.sockets().connect(call.handle(), *peer);
  call.runtime().after_call();
  if (started) return 0;
  // A blocking call waits for the end of a handshake that an earlier call has begun, too.
  const bool under_way = started.error() == Errno::kInProgress || started.error() == Errno::kAlready;
  const Instant deadline = deadline_of(call, call.settings().seldom->send_timeout, 0);
  if (!under_way || deadline == kNoWait) return set_errno(started.error());
  const Status waited =
      wait_for(call, deadline, [&] { return sluice::socket::any(call.sockets().ready(call.handle())); });
  if (!waited) return set_errno(waited.error() == Errno::kAgain ? started.error() : waited.error());
  const Status ended = call.sockets().connect(call.handle(), *peer);          // tells the end, and takes note of it
  return !ended && ended.error() == Errno::kIsConnected ? 0 : answer(ended);  // it was told to another thread
}

int sl_shutdown(int fd, int how) {
  const Call call(fd);
  if (!call) return call.refuse();
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return set_errno(Errno::kInvalid);
  using sluice::socket::Shutdown;
  const Status done = call.sockets().shutdown(call.handle(), how == SHUT_RD   ? Shutdown::kRead
                                                             : how == SHUT_WR ? Shutdown::kWrite
                                                                              : Shutdown::kBoth);
  call.runtime().after_call();
  return answer(done);
}

namespace {

int store_name(const Result<Endpoint>& name, sockaddr* address, socklen_t* length) {
  if (!name) return set_errno(name.error());
  if (address == nullptr || length == nullptr) return set_errno(Errno::kFault);
  if (*length > INT_MAX) return set_errno(Errno::kInvalid);  // it is a signed number to Linux
  store_endpoint(*name, address, length);
  return 0;
}

}  // namespace

int sl_getsockname(int fd, sockaddr* address, socklen_t* length) {
  const Call call(fd);
  if (!call) return call.refuse();
  if (!sluice::is_packet(reference(call))) {
    return store_name(call.sockets().local_name(call.handle()), address, length);
  }
  const auto name = call.sockets().link_name(call.handle());
  if (!name) return set_errno(name.error());
  if (address == nullptr || length == nullptr) return set_errno(Errno::kFault);
  *length = sluice::store_link_name(*name, address, *length);
  return 0;
}

int sl_getpeername(int fd, sockaddr* address, socklen_t* length) {
  const Call call(fd);
  if (!call) return call.refuse();
  return store_name(call.sockets().peer_name(call.handle()), address, length);
}

// --- data ------------------------------------------------------------------------------------------------------------

ssize_t sl_sendmsg(int fd, const msghdr* message, int flags) {
  Call call(fd);
  if (!call) return call.refuse();
  auto p = pieces_of(message->msg_iov, message->msg_iovlen);
  if (!p) return set_errno(p.error());
  if (message->msg_name != nullptr && sluice::is_packet(reference(call))) {
    const auto link = sluice::to_link_name(static_cast<const sockaddr*>(message->msg_name), message->msg_namelen);
    if (!link) return set_errno(link.error() == Errno::kNoDevice ? Errno::kNoSuchAddress : link.error());
    return send_pieces(call, *p, flags, nullptr, {.link = &*link});
  }
  const auto to = sluice::destination_of(*message, flags);
  if (!to) return set_errno(to.error());
  const bool chooses = message->msg_control != nullptr && message->msg_controllen > 0 && !is_stream(call);
  const auto choices = chooses ? sluice::choices_of(*message, call.sockets().ip()) : Result(sluice::ip::Choices());
  if (!choices) return set_errno(choices.error());
  return send_pieces(call, *p, flags, *to ? &**to : nullptr, {.choices = chooses ? &*choices : nullptr});
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
ssize_t sl_send(int fd, const void* data, size_t size, int flags) {
  return sl_sendto(fd, data, size, flags, nullptr, 0);
}
ssize_t sl_write(int fd, const void* data, size_t size) {
  if (fd < SL_FD_BASE) return ::write(fd, data, size);
  return sl_sendto(fd, data, size, 0, nullptr, 0);
}
ssize_t sl_writev(int fd, const iovec* pieces, int count) {
  if (fd < SL_FD_BASE) return ::writev(fd, pieces, count);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(std::max(count, 0));
  return sl_sendmsg(fd, &message, 0);
}

namespace {

// What the stack's clock lacks to the system's.
Duration clock_offset() {
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return Instant::from_nanos(now.tv_sec * 1'000'000'000 + now.tv_nsec) - sluice::monotonic_now();
}

// MSG_ERRQUEUE, as on Linux: what is left of the sent data as data, its destination as the name, and as ancillary data
// the error. Does not wait.
ssize_t receive_error(Call& call, msghdr& message) {
  if (is_stream(call)) return sluice::receive_report(reference(call), clock_offset(), message);
  const auto got = call.sockets().take_error(call.handle());
  if (!got) return set_errno(got.error());
  message.msg_flags = MSG_ERRQUEUE;
  sluice::store_error(reference(call), *got, message);
  if (message.msg_name != nullptr) {
    store_endpoint(got->destination, static_cast<sockaddr*>(message.msg_name), &message.msg_namelen);
  }
  auto p = pieces_of(message.msg_iov, message.msg_iovlen);
  if (!p) return set_errno(p.error());
  std::size_t done = 0;
  for (const auto& piece : p->writable(0)) {
    const std::size_t n = std::min(piece.size(), got->payload.size() - done);
    std::copy_n(got->payload.begin() + static_cast<std::ptrdiff_t>(done), n, piece.begin());
    done += n;
  }
  if (done < got->payload.size()) message.msg_flags |= MSG_TRUNC;
  return static_cast<ssize_t>(done);
}

bool at_mark(const Call& call) {
  return call.sockets().get_option(call.handle(), Option::kAtMark).value_or(0) != 0;
}

// What one of the socket's receives gives.
Result<Received> receive_once(Call& call, Pieces& p, int flags, Instant deadline) {
  const auto receives = [&] { return call.sockets().receives(call.handle(), 1); };
  return sluice::blocking_until(call, deadline, receives, [&] {
    return call.sockets().receive(
        call.handle(), p.writable(0),
        {.peek = (flags & MSG_PEEK) != 0, .trunc = (flags & MSG_TRUNC) != 0, .urgent = (flags & MSG_OOB) != 0});
  });
}

// Of a stream, for a call that may wait: as many bytes as it waits for (SO_RCVLOWAT, MSG_WAITALL), fewer before the
// urgent mark, at the end, or when the time is over. An error behind them is for the next call to tell.
Result<Received> receive_several(Call& call, Pieces& p, int flags, Instant deadline) {
  const std::size_t least = (flags & MSG_WAITALL) != 0 ? p.size() : std::min(p.size(), low_water(call));
  if ((flags & MSG_PEEK) != 0) {
    const Status waited = sluice::wait_for_bytes(call, deadline, least);
    return waited ? receive_once(call, p, flags, deadline) : fail(waited.error());
  }
  const auto receives = [&] { return call.sockets().receives(call.handle(), 1); };
  Received all;
  for (;;) {
    const auto got = sluice::blocking_until(call, deadline, receives, [&]() -> Result<Received> {
      const bool over = all.size > 0 && receives() && call.sockets().readable_bytes(call.handle()).value_or(0) == 0;
      return over ? Received() : call.sockets().receive(call.handle(), p.writable(all.size));
    });
    if (!got) return all.size > 0 ? Result(all) : fail(got.error());
    all.size += got->size;
    if (got->size == 0 || all.size >= least || at_mark(call)) return all;
  }
}

ssize_t receive_message(Call& call, msghdr& message, int flags) {
  constexpr int kOfPackets = MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC;
  if ((flags & ~kOfPackets) != 0 && sluice::is_packet(reference(call))) return set_errno(Errno::kInvalid);
  auto p = pieces_of(message.msg_iov, message.msg_iovlen);
  if (!p) return set_errno(p.error());
  const Instant deadline = receive_deadline(call, flags);
  const bool several = deadline != kNoWait && p->size() > 0 && is_stream(call);
  const auto got = several ? receive_several(call, *p, flags, deadline) : receive_once(call, *p, flags, deadline);
  if (!got) return set_errno(got.error());
  message.msg_flags = (got->truncated ? MSG_TRUNC : 0) | (got->urgent ? MSG_OOB : 0);
  if (call.closed_meanwhile()) return static_cast<ssize_t>(got->size);  // while it waited for more
  sluice::Ancillary ancillary(message);
  if ((call.settings().told != 0 && !is_stream(call)) || got->segment > 0) {
    sluice::store_facts(reference(call), *got, clock_offset(), ancillary);
  }
  sluice::store_inq(reference(call), ancillary);
  if (message.msg_name != nullptr && is_stream(call)) {
    message.msg_namelen = 0;
  } else if (message.msg_name != nullptr && sluice::is_packet(reference(call))) {
    (void)sluice::store_link_name(got->link, static_cast<sockaddr*>(message.msg_name), message.msg_namelen);
    message.msg_namelen = sizeof(sockaddr_ll);
  } else if (message.msg_name != nullptr) {
    store_endpoint(got->source, static_cast<sockaddr*>(message.msg_name), &message.msg_namelen);
  }
  return static_cast<ssize_t>(got->size);
}

}  // namespace

ssize_t sl_recvmsg(int fd, msghdr* message, int flags) {
  Call call(fd);
  if (!call) return call.refuse();
  if ((flags & MSG_ERRQUEUE) != 0) return receive_error(call, *message);
  return receive_message(call, *message, flags);
}

ssize_t sl_recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* length) {
  Call call(fd);
  if (!call) return call.refuse();
  iovec piece{data, size};
  msghdr message{};
  message.msg_name = from;
  message.msg_namelen = from != nullptr && length != nullptr ? *length : 0;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const ssize_t n = (flags & MSG_ERRQUEUE) != 0 ? receive_error(call, message) : receive_message(call, message, flags);
  if (n >= 0 && from != nullptr && length != nullptr) *length = message.msg_namelen;
  return n;
}
ssize_t sl_recv(int fd, void* data, size_t size, int flags) {
  return sl_recvfrom(fd, data, size, flags, nullptr, nullptr);
}
ssize_t sl_read(int fd, void* data, size_t size) {
  if (fd < SL_FD_BASE) return ::read(fd, data, size);
  return sl_recvfrom(fd, data, size, 0, nullptr, nullptr);
}
ssize_t sl_readv(int fd, const iovec* pieces, int count) {
  if (fd < SL_FD_BASE) return ::readv(fd, pieces, count);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(std::max(count, 0));
  return sl_recvmsg(fd, &message, 0);
}
