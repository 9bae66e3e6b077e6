// The entry of the shared object, and the table of calls it fills. Each is one line to the session.
#include "drivers/packetdrill/adapter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <cstdarg>

namespace sluice::packetdrill {
namespace {

Session* current = nullptr;

Session& of(void* userdata) {
  return *static_cast<Session*>(userdata);
}

// One buffer as a message.
class OneBuffer {
 public:
  OneBuffer(void* data, std::size_t size) : piece_{data, size} {
    message.msg_iov = &piece_;
    message.msg_iovlen = 1;
  }
  OneBuffer(const void* data, std::size_t size) : OneBuffer(const_cast<void*>(data), size) {}
  OneBuffer(const OneBuffer&) = delete;
  OneBuffer& operator=(const OneBuffer&) = delete;
  msghdr message{};

 private:
  iovec piece_;
};

msghdr several(const iovec* pieces, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<std::size_t>(std::max(count, 0));
  return message;
}

void end_session(void* u) {
  current = nullptr;
  delete &of(u);
}

// --- sockets ---------------------------------------------------------------------------------------------------------

int call_socket(void* u, int domain, int type, int protocol) {
  return of(u).socket(domain, type, protocol);
}
int call_bind(void* u, int fd, const sockaddr* address, socklen_t length) {
  return of(u).bind(fd, address, length);
}
int call_listen(void* u, int fd, int backlog) {
  return of(u).listen(fd, backlog);
}
int call_accept(void* u, int fd, sockaddr* address, socklen_t* length) {
  return of(u).accept(fd, address, length);
}
int call_connect(void* u, int fd, const sockaddr* address, socklen_t length) {
  return of(u).connect(fd, address, length);
}
int call_close(void* u, int fd) {
  return of(u).close(fd);
}
int call_shutdown(void* u, int fd, int how) {
  return of(u).shutdown(fd, how);
}
int call_getsockopt(void* u, int fd, int level, int name, void* value, socklen_t* length) {
  return of(u).getsockopt(fd, level, name, value, length);
}
int call_setsockopt(void* u, int fd, int level, int name, const void* value, socklen_t length) {
  return of(u).setsockopt(fd, level, name, value, length);
}
int call_fcntl(void* u, int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const int argument = command == F_GETFL || command == F_GETFD ? 0 : va_arg(rest, int);
  va_end(rest);
  return of(u).fcntl(fd, command, argument);
}
int call_ioctl(void* u, int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return of(u).ioctl(fd, request, argument);
}

// --- data ------------------------------------------------------------------------------------------------------------

ssize_t call_recvmsg(void* u, int fd, msghdr* message, int flags) {
  return of(u).receive(fd, *message, flags);
}
ssize_t call_recvfrom(void* u, int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* length) {
  OneBuffer one(data, size);
  one.message.msg_name = from;
  one.message.msg_namelen = from != nullptr && length != nullptr ? *length : 0;
  const ssize_t n = of(u).receive(fd, one.message, flags);
  if (n >= 0 && from != nullptr && length != nullptr) *length = one.message.msg_namelen;
  return n;
}
ssize_t call_recv(void* u, int fd, void* data, size_t size, int flags) {
  return call_recvfrom(u, fd, data, size, flags, nullptr, nullptr);
}
ssize_t call_read(void* u, int fd, void* data, size_t size) {
  return call_recv(u, fd, data, size, 0);
}
ssize_t call_readv(void* u, int fd, const iovec* pieces, int count) {
  msghdr message = several(pieces, count);
  return of(u).receive(fd, message, 0);
}

ssize_t call_sendmsg(void* u, int fd, const msghdr* message, int flags) {
  return of(u).send(fd, *message, flags);
}
ssize_t call_sendto(void* u, int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  OneBuffer one(data, size);
  one.message.msg_name = const_cast<sockaddr*>(to);
  one.message.msg_namelen = length;
  return of(u).send(fd, one.message, flags);
}
ssize_t call_send(void* u, int fd, const void* data, size_t size, int flags) {
  return call_sendto(u, fd, data, size, flags, nullptr, 0);
}
ssize_t call_write(void* u, int fd, const void* data, size_t size) {
  return call_send(u, fd, data, size, 0);
}
ssize_t call_writev(void* u, int fd, const iovec* pieces, int count) {
  const msghdr message = several(pieces, count);
  return of(u).send(fd, message, 0);
}
int call_pipe(void* u, int ends[2]) {
  return of(u).pipe(ends);
}
ssize_t call_splice(void* u, int from, loff_t*, int to, loff_t*, size_t size, unsigned flags) {
  return of(u).splice(from, to, size, flags);
}

// --- readiness -------------------------------------------------------------------------------------------------------

int call_poll(void* u, pollfd* fds, nfds_t count, int timeout_ms) {
  return of(u).poll(fds, count, timeout_ms);
}
int call_epoll_create(void* u, int size) {
  return of(u).epoll_create(size);
}
int call_epoll_ctl(void* u, int epoll, int operation, int fd, epoll_event* event) {
  return of(u).epoll_ctl(epoll, operation, fd, event);
}
int call_epoll_wait(void* u, int epoll, epoll_event* events, int most, int timeout_ms) {
  return of(u).epoll_wait(epoll, events, most, timeout_ms);
}

// --- network and clock -----------------------------------------------------------------------------------------------

int call_netdev_send(void* u, const void* packet, size_t size) {
  of(u).inject({static_cast<const std::uint8_t*>(packet), size});
  return 0;
}

// Of length 0 when no packet will come: the tool takes that for a bad packet, and the script fails.
int call_netdev_receive(void* u, void* buffer, size_t* size, long long* time_us) {
  IpDevice::Packet packet;
  const bool got = of(u).next_packet(packet);
  if (got && packet.bytes.size() > *size) return errno = EMSGSIZE, -1;
  *size = packet.bytes.size();
  if (!got) return 0;
  memcpy(buffer, packet.bytes.data(), packet.bytes.size());
  *time_us = packet.sent_at.to_nanos() / 1000;
  return 0;
}

int call_usleep(void* u, useconds_t time) {
  of(u).sleep(Duration::micros(time));
  return 0;
}
int call_gettimeofday(void* u, timeval* now, struct timezone*) {
  const std::int64_t us = of(u).look_at_clock().to_nanos() / 1000;
  *now = {us / 1'000'000, us % 1'000'000};
  return 0;
}

constexpr Interface kCalls = {
    nullptr,          end_session,         call_socket,   call_bind,         call_listen,       call_accept,
    call_connect,     call_read,           call_readv,    call_recv,         call_recvfrom,     call_recvmsg,
    call_write,       call_writev,         call_send,     call_sendto,       call_sendmsg,      call_fcntl,
    call_ioctl,       call_close,          call_shutdown, call_getsockopt,   call_setsockopt,   call_poll,
    call_netdev_send, call_netdev_receive, call_usleep,   call_gettimeofday, call_epoll_create, call_epoll_ctl,
    call_epoll_wait,  call_pipe,           call_splice};

}  // namespace

Session* current_session() {
  return current;
}

}  // namespace sluice::packetdrill

// Fills the table; bad flags end the tool, which has no other way to hear of them.
extern "C" void packetdrill_interface_init(const char* flags, sluice::packetdrill::Interface* calls);
void packetdrill_interface_init(const char* flags, sluice::packetdrill::Interface* calls) {
  using namespace sluice::packetdrill;
  auto profile = parse_profile(flags != nullptr ? flags : "");
  if (!profile) {
    fprintf(stderr, "sluice: '%s' in --so_flags is not understood\n", profile.error().c_str());
    exit(EXIT_FAILURE);
  }
  *calls = kCalls;
  current = new Session(*profile);
  calls->userdata = current;
}
