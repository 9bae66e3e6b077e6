// Sockets and their data; the descriptors that stand for several are in session_poll.cc.
#include "drivers/packetdrill/session.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <utility>

#include "drivers/runtime/ancillary.h"

namespace sluice::packetdrill {

using socket::Ready;

Session::Session(Profile profile) : host_(std::move(profile)) {}
Session::~Session() = default;

// --- descriptors -----------------------------------------------------------------------------------------------------

Descriptor* Session::find(int fd, Descriptor::Kind kind) {
  const auto it = descriptors_.find(fd);
  return it != descriptors_.end() && it->second->kind == kind ? it->second.get() : nullptr;
}

int Session::add(std::unique_ptr<Descriptor> descriptor) {
  int fd = kFirstDescriptor;
  while (descriptors_.contains(fd)) ++fd;
  descriptors_.emplace(fd, std::move(descriptor));
  return fd;
}

int Session::wrap(socket::Handle handle, int type) {
  auto d = std::make_unique<Descriptor>(Descriptor::Kind::kSocket);
  d->handle = handle;
  d->settings.nonblocking = (type & SOCK_NONBLOCK) != 0;
  (void)host_.stack().sockets().set_observer(handle, d.get());
  return add(std::move(d));
}

int Session::socket(int domain, int type, int protocol) {
  const Lock lock = host_.lock();
  const auto kind = socket_type_of(domain, type, protocol);
  if (!kind) return set_errno(kind.error());
  const auto handle = host_.stack().sockets().open(socket::Family::kV4, *kind);
  return handle ? wrap(*handle, type) : set_errno(handle.error());
}

int Session::close(int fd) {
  if (fd < kFirstDescriptor) return ::close(fd);
  const Lock lock = host_.lock();
  const auto it = descriptors_.find(fd);
  if (it == descriptors_.end()) return set_errno(Errno::kBadFile);
  for (auto& [number, d] : descriptors_) {
    std::erase_if(d->interests, [fd](const Descriptor::Interest& i) { return i.fd == fd; });
  }
  Status closed;
  if (it->second->kind == Descriptor::Kind::kSocket) {
    (void)host_.stack().sockets().set_observer(it->second->handle, nullptr);
    closed = host_.stack().sockets().close(it->second->handle);
  }
  descriptors_.erase(it);
  host_.after_call();
  return answer(closed);
}

// --- waiting ---------------------------------------------------------------------------------------------------------

Instant Session::deadline_of(const Descriptor& d, Duration timeout, int flags) const {
  if (d.settings.nonblocking || (flags & MSG_DONTWAIT) != 0) return Instant::past();
  return timeout == Duration() ? Instant::never() : host_.now() + timeout;
}

template <typename Attempt>
auto Session::blocking(Lock& lock, Descriptor& d, Ready wanted, Instant deadline, Attempt&& attempt)
    -> decltype(attempt()) {
  for (;;) {
    auto result = attempt();
    host_.after_call();
    if (result || result.error() != Errno::kAgain || deadline == Instant::past()) return result;
    const Ready news = wanted | Ready::kError | Ready::kHangup;
    const auto done = [&] { return any(host_.stack().sockets().ready(d.handle) & news); };
    if (!host_.wait(lock, deadline, done)) return result;
  }
}

// --- connections -----------------------------------------------------------------------------------------------------

int Session::bind(int fd, const sockaddr* address, socklen_t length) {
  const Lock lock = host_.lock();
  const Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  const auto local = to_endpoint(address, length);
  return local ? answer(host_.stack().sockets().bind(d->handle, *local)) : set_errno(local.error());
}

int Session::listen(int fd, int backlog) {
  const Lock lock = host_.lock();
  const Descriptor* d = find_socket(fd);
  return d != nullptr ? answer(host_.stack().sockets().listen(d->handle, backlog)) : set_errno(Errno::kBadFile);
}

int Session::accept(int fd, sockaddr* address, socklen_t* length) {
  Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  socket::Endpoint peer;
  const auto handle = blocking(lock, *d, Ready::kIn, deadline_of(*d, d->settings.seldom->receive_timeout, 0),
                               [&] { return host_.stack().sockets().accept(d->handle, &peer); });
  if (!handle) return set_errno(handle.error());
  store_endpoint(peer, address, length);
  return wrap(*handle, 0);
}

int Session::connect(int fd, const sockaddr* address, socklen_t length) {
  Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  socket::Sockets& sockets = host_.stack().sockets();
  if (address != nullptr && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) {
    const Status done = sockets.disconnect(d->handle);
    host_.after_call();
    return answer(done);
  }
  const auto peer = to_endpoint(address, length);
  if (!peer) return set_errno(peer.error());
  const Status started = sockets.connect(d->handle, *peer);
  host_.after_call();
  if (started) return 0;
  const bool under_way = started.error() == Errno::kInProgress || started.error() == Errno::kAlready;
  const Instant deadline = deadline_of(*d, d->settings.seldom->send_timeout, 0);
  if (!under_way || deadline == Instant::past()) return set_errno(started.error());
  if (!host_.wait(lock, deadline, [&] { return any(sockets.ready(d->handle)); })) return set_errno(started.error());
  const Status ended = sockets.connect(d->handle, *peer);  // tells the end, and takes note of it
  return answer(ended);
}

int Session::shutdown(int fd, int how) {
  const Lock lock = host_.lock();
  const Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return set_errno(Errno::kInvalid);
  using socket::Shutdown;
  const Shutdown what = how == SHUT_RD ? Shutdown::kRead : how == SHUT_WR ? Shutdown::kWrite : Shutdown::kBoth;
  const Status done = host_.stack().sockets().shutdown(d->handle, what);
  host_.after_call();
  return answer(done);
}

// --- data ------------------------------------------------------------------------------------------------------------

ssize_t Session::send(int fd, const msghdr& message, int flags) {
  Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  auto left = pieces_of(message.msg_iov, message.msg_iovlen);
  if (!left) return set_errno(left.error());
  const auto to = destination_of(message, flags);
  if (!to) return set_errno(to.error());
  socket::Sockets& sockets = host_.stack().sockets();
  const Instant deadline = deadline_of(*d, d->settings.seldom->send_timeout, flags);
  std::size_t done = 0;
  // A blocking stream send returns when all is in the send queue, and the handshake over if it has begun one.
  for (;; flags &= ~MSG_FASTOPEN) {
    const auto sent = blocking(lock, *d, Ready::kOut, deadline, [&] {
      return sockets.send(d->handle, left->from(done), *to ? &**to : nullptr, send_flags_of(flags));
    });
    if (sent) done += *sent;
    const bool begun = sent ? sockets.in_handshake(d->handle) : sent.error() == Errno::kInProgress;
    if (begun && deadline != Instant::past()) {
      if (!host_.wait(lock, deadline, [&] { return !sockets.in_handshake(d->handle); })) {
        if (done > 0) break;
        return set_errno(Errno::kInProgress);
      }
      if (const auto error = sockets.get_option(d->handle, socket::Option::kError); error && *error != 0) {
        return set_errno(static_cast<Errno>(*error));
      }
      if (done < left->size() || !sent) continue;
    }
    if (!sent && done == 0) return set_errno(sent.error());
    if (!sent || done >= left->size() || deadline == Instant::past()) break;
  }
  ask_for_reports(reference(*d), flags, done);
  return static_cast<ssize_t>(done);
}

ssize_t Session::receive(int fd, msghdr& message, int flags) {
  Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  auto p = pieces_of(message.msg_iov, message.msg_iovlen);
  if (!p) return set_errno(p.error());
  if ((flags & MSG_ERRQUEUE) != 0) return receive_report(reference(*d), Duration(), message);
  const Instant deadline = deadline_of(*d, d->settings.seldom->receive_timeout, flags);
  const auto got = blocking(lock, *d, Ready::kIn, deadline, [&] {
    return host_.stack().sockets().receive(
        d->handle, p->writable(0),
        {.peek = (flags & MSG_PEEK) != 0, .trunc = (flags & MSG_TRUNC) != 0, .urgent = (flags & MSG_OOB) != 0});
  });
  if (!got) return set_errno(got.error());
  message.msg_flags = got->truncated ? MSG_TRUNC : 0;
  Ancillary ancillary(message);
  store_inq(reference(*d), ancillary);
  if (message.msg_name != nullptr) {
    store_endpoint(got->source, static_cast<sockaddr*>(message.msg_name), &message.msg_namelen);
  }
  return static_cast<ssize_t>(got->size);
}

// --- options ---------------------------------------------------------------------------------------------------------

int Session::fcntl(int fd, int command, long argument) {
  const Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  return d != nullptr ? control_descriptor(d->settings, command, argument) : set_errno(Errno::kBadFile);
}

int Session::ioctl(int fd, unsigned long request, void* argument) {
  const Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  return d != nullptr ? control_device(reference(*d), request, argument) : set_errno(Errno::kBadFile);
}

int Session::getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  const Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  return d != nullptr ? get_socket_option(reference(*d), level, name, value, length) : set_errno(Errno::kBadFile);
}

int Session::setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  const Lock lock = host_.lock();
  Descriptor* d = find_socket(fd);
  if (d == nullptr) return set_errno(Errno::kBadFile);
  int doubled = 0;
  if (host_.profile().kind == Profile::Kind::kLinux && level == SOL_SOCKET && name == SO_SNDBUF &&
      length >= sizeof doubled) {  // Linux counts its own overhead in this size, and so doubles what is asked for
    std::memcpy(&doubled, value, sizeof doubled);
    doubled = std::min(doubled, INT_MAX / 2) * 2;
    value = &doubled;
  }
  const int done = set_socket_option(reference(*d), level, name, value, length);
  host_.after_call();
  return done;
}

void Session::forget_fast_open() {
  const Lock lock = host_.lock();
  if (host_.has_stack()) host_.stack().tcp().forget_fast_open();
}

bool Session::apply_sysctl(std::string_view name, std::string_view value) {
  const Lock lock = host_.lock();
  constexpr std::string_view kPrefix = "net.ipv4.";
  if (!name.starts_with(kPrefix)) return false;
  Profile profile = host_.profile();
  if (!packetdrill::apply_sysctl(profile, name.substr(kPrefix.size()), value)) return false;
  host_.set_profile(profile);
  return true;
}

void Session::reset_sysctls() {
  const Lock lock = host_.lock();
  Profile profile = host_.profile();
  packetdrill::reset_sysctls(profile);
  host_.set_profile(profile);
}

void Session::set_route(const wire::Prefix& destination, std::uint32_t mtu) {
  const Lock lock = host_.lock();
  host_.set_route(destination, mtu);
}

// --- the tool's side -------------------------------------------------------------------------------------------------

void Session::inject(Bytes packet) {
  const Lock lock = host_.lock();
  host_.inject(packet);
}

bool Session::next_packet(IpDevice::Packet& packet) {
  Lock lock = host_.lock();
  return host_.next_packet(lock, packet);
}

void Session::sleep(Duration time) {
  Lock lock = host_.lock();
  host_.sleep(lock, time);
}

Instant Session::look_at_clock() {
  Lock lock = host_.lock();
  return host_.look_at_clock(lock);
}

// --- pipes -----------------------------------------------------------------------------------------------------------

int Session::pipe(int ends[2]) {
  const Lock lock = host_.lock();
  const auto pipe = std::make_shared<Descriptor::Pipe>();
  for (const int end : {0, 1}) {
    auto d = std::make_unique<Descriptor>(end == 0 ? Descriptor::Kind::kPipeRead : Descriptor::Kind::kPipeWrite);
    d->pipe = pipe;
    ends[end] = add(std::move(d));
  }
  return 0;
}

ssize_t Session::splice(int from, int to, std::size_t size, unsigned flags) {
  Lock lock = host_.lock();
  Descriptor* source = find_socket(from);
  Descriptor* target = find_socket(to);
  const Descriptor* reading = find(from, Descriptor::Kind::kPipeRead);
  const Descriptor* writing = find(to, Descriptor::Kind::kPipeWrite);
  if (source != nullptr && writing != nullptr) return splice_from_socket(lock, *source, *writing->pipe, size, flags);
  if (reading != nullptr && target != nullptr) return splice_to_socket(lock, *reading->pipe, *target, size, flags);
  return set_errno(descriptors_.contains(from) && descriptors_.contains(to) ? Errno::kInvalid : Errno::kBadFile);
}

ssize_t Session::splice_from_socket(Lock& lock, Descriptor& from, Descriptor::Pipe& pipe, std::size_t size,
                                    unsigned flags) {
  const std::size_t room = std::min(size, Descriptor::Pipe::kRoom - pipe.bytes.size());
  if (room == 0 && size > 0) return set_errno(Errno::kAgain);
  std::vector<std::uint8_t> bytes(room);
  const MutableBytes piece(bytes);
  const int wait = (flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0;
  const auto got = blocking(lock, from, Ready::kIn, deadline_of(from, from.settings.seldom->receive_timeout, wait),
                            [&] { return host_.stack().sockets().receive(from.handle, std::span(&piece, 1)); });
  if (!got) return set_errno(got.error());
  pipe.bytes.insert(pipe.bytes.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(got->size));
  return static_cast<ssize_t>(got->size);
}

ssize_t Session::splice_to_socket(Lock& lock, Descriptor::Pipe& pipe, Descriptor& to, std::size_t size,
                                  unsigned flags) {
  const Bytes piece = Bytes(pipe.bytes).first(std::min(size, pipe.bytes.size()));
  if (piece.empty()) return set_errno(Errno::kAgain);
  const int wait = (flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0;
  const bool more = (flags & SPLICE_F_MORE) != 0;
  const auto sent = blocking(lock, to, Ready::kOut, deadline_of(to, to.settings.seldom->send_timeout, wait), [&] {
    return host_.stack().sockets().send(to.handle, std::span(&piece, 1), nullptr, {.more = more});
  });
  if (!sent) return set_errno(sent.error());
  pipe.bytes.erase(pipe.bytes.begin(), pipe.bytes.begin() + static_cast<std::ptrdiff_t>(*sent));
  return static_cast<ssize_t>(*sent);
}

}  // namespace sluice::packetdrill
