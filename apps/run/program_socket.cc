#include "apps/run/program_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>

#include <algorithm>
#include <array>

namespace sluice::apps::run {

namespace {

constexpr std::size_t kMostRetired = 1024;
constexpr std::uint64_t kLongestOption = 4096;  // bytes

// Of the descriptor rather than of the protocol: the program's end has them itself, and it is what read and write wait
// on.
bool concerns_descriptor(int level, int name) {
  if (level != SOL_SOCKET) return false;
  constexpr int kNames[] = {SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW, SO_RCVLOWAT, SO_COOKIE};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

// Hints that the stack has no use for. A program that cannot give them may give up (glibc's resolver without
// IP_RECVERR); one that could would not see a difference.
bool may_be_ignored(int level, int name) {
  if (level == IPPROTO_IP) return name == IP_RECVERR || name == IP_BIND_ADDRESS_NO_PORT;
  return level == SOL_SOCKET && (name == SO_PRIORITY || name == SO_OOBINLINE || name == SO_BUSY_POLL);
}

}  // namespace

// --- the table -------------------------------------------------------------------------------------------------------

SocketTable::SocketTable() = default;
SocketTable::~SocketTable() = default;

ProgramSocket& SocketTable::add(std::unique_ptr<ProgramSocket> socket) {
  const std::uint64_t identity = socket->identity();
  return *(sockets_[identity] = std::move(socket));
}

ProgramSocket* SocketTable::find(std::uint64_t identity) const {
  const auto found = sockets_.find(identity);
  return found != sockets_.end() ? found->second.get() : nullptr;
}

void SocketTable::retire(const ProgramSocket& socket) {
  retired_.push_back(socket.identity());
  if (retired_.size() <= kMostRetired) return;
  sockets_.erase(retired_.front());
  retired_.pop_front();
}

void SocketTable::look_for_closed() {
  std::vector<ProgramSocket*> open_ones;
  for (const auto& [identity, socket] : sockets_) {
    if (socket->our_end() >= 0) open_ones.push_back(socket.get());
  }
  for (ProgramSocket* socket : open_ones) socket->look_for_close();
}

// --- pairs -----------------------------------------------------------------------------------------------------------

Result<Ends> make_ends(int type, int flags) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) < 0) return net::last_error();
  Ends ends{KernelFd(pair[0]), KernelFd(pair[1])};
  if ((flags & SOCK_NONBLOCK) == 0) (void)::fcntl(pair[1], F_SETFL, O_RDWR);
  ends.identity = identity_of(pair[1]);
  return ends;
}

bool is_nonblocking(const KernelFd& theirs) {
  return (::fcntl(theirs.get(), F_GETFL) & O_NONBLOCK) != 0;
}

Duration time_limit(const KernelFd& theirs, int option) {
  timeval limit{};
  socklen_t length = sizeof limit;
  if (::getsockopt(theirs.get(), SOL_SOCKET, option, &limit, &length) < 0) return {};
  return Duration::seconds(limit.tv_sec) + Duration::micros(limit.tv_usec);
}

// --- life ------------------------------------------------------------------------------------------------------------

ProgramSocket::ProgramSocket(Context& context, Kind kind, KernelFd ours, std::uint64_t identity, net::Socket stack)
    : context_(context), kind_(kind), ours_(std::move(ours)), stack_(std::move(stack)), identity_(identity) {}

ProgramSocket::~ProgramSocket() {
  unwatch_kernel();
  unwatch_stack();
}

void ProgramSocket::watch_stack(int events) {
  if (stack_events_ == events) return;
  if (stack_events_) {
    context_.loop.set_events(stack_.fd(), static_cast<short>(events));
  } else {
    context_.loop.watch(stack_.fd(), static_cast<short>(events), [this](short revents) { on_stack(revents); });
  }
  stack_events_ = events;
}
void ProgramSocket::watch_kernel(int events) {
  if (kernel_events_ == events) return;
  if (kernel_events_) {
    context_.loop.set_events(ours_.get(), static_cast<short>(events));
  } else {
    context_.loop.watch(ours_.get(), static_cast<short>(events), [this](short revents) {
      // The loop may have heard the end of a descriptor that had the number before.
      const bool end = (revents & (POLLHUP | POLLERR)) != 0;
      if (end) {
        look_for_close();
      } else {
        on_kernel(revents);
      }
    });
  }
  kernel_events_ = events;
}
void ProgramSocket::unwatch_stack() {
  if (stack_events_) context_.loop.unwatch(stack_.fd());
  stack_events_.reset();
}
void ProgramSocket::unwatch_kernel() {
  if (kernel_events_) context_.loop.unwatch(ours_.get());
  kernel_events_.reset();
}

void ProgramSocket::look_for_close() {
  pollfd p{ours_.get(), POLLIN | POLLOUT, 0};
  if (::poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0) on_kernel(p.revents);
}

void ProgramSocket::end() {
  local_.length = sizeof local_.storage;
  (void)sl_getsockname(stack_.fd(), local_.get(), &local_.length);
  unwatch_stack();
  unwatch_kernel();
  stack_.reset();
  ours_.reset();
  context_.sockets.retire(*this);  // the last of all: this may be the end of an older one
}

// --- names -----------------------------------------------------------------------------------------------------------

void ProgramSocket::bind(Call call) const {
  SocketAddress address;
  if (const int error = address.read_from(call, call.argument(1), call.argument(2)); error != 0) {
    call.fail(error);
    return;
  }
  int bound = sl_bind(stack_.fd(), address.get(), address.length);
  if (bound < 0 && errno == EADDRINUSE) {
    context_.sockets.look_for_closed();
    bound = sl_bind(stack_.fd(), address.get(), address.length);
  }
  if (bound < 0) {
    call.fail(stack_ ? errno : EINVAL);
  } else {
    call.answer(0);
  }
}

void ProgramSocket::tell_local_name(Call call) {
  if (stack_) {
    local_.length = sizeof local_.storage;
    (void)sl_getsockname(stack_.fd(), local_.get(), &local_.length);
  }
  const int error = local_.write_to(call, call.argument(1), call.argument(2));
  if (error != 0) {
    call.fail(error);
  } else {
    call.answer(0);
  }
}

void ProgramSocket::tell_peer_name(Call call) const {
  SocketAddress peer;
  peer.length = sizeof peer.storage;
  if (!stack_ || sl_getpeername(stack_.fd(), peer.get(), &peer.length) < 0) {
    call.fail(ENOTCONN);
    return;
  }
  const int error = peer.write_to(call, call.argument(1), call.argument(2));
  if (error != 0) {
    call.fail(error);
  } else {
    call.answer(0);
  }
}

// --- options ---------------------------------------------------------------------------------------------------------

int ProgramSocket::take_error() {
  int error = take_noted_error();
  socklen_t length = sizeof error;
  if (error == 0 && stack_) (void)sl_getsockopt(stack_.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

void ProgramSocket::set_option(Call call) const {
  const int level = call.int_argument(1);
  const int name = call.int_argument(2);
  if (concerns_descriptor(level, name)) return call.let_through();
  std::vector<std::uint8_t> value(std::min(call.argument(4), kLongestOption));
  if (!call.read(call.argument(3), value.data(), value.size())) {
    call.fail(EFAULT);
    return;
  }
  const auto length = static_cast<socklen_t>(value.size());
  const bool set = !stack_ || sl_setsockopt(stack_.fd(), level, name, value.data(), length) == 0;
  if (set || (errno == ENOPROTOOPT && may_be_ignored(level, name))) {
    call.answer(0);
  } else {
    call.fail(errno);
  }
}

std::optional<int> ProgramSocket::own_option(int level, int name) {
  if (level != SOL_SOCKET) return std::nullopt;
  if (name == SO_ERROR) return take_error();
  if (name == SO_DOMAIN) return AF_INET;
  if (name == SO_TYPE) return kind_.type;
  if (name == SO_PROTOCOL) return kind_.protocol;
  return std::nullopt;
}

void ProgramSocket::get_option(Call call) {
  const int level = call.int_argument(1);
  const int name = call.int_argument(2);
  if (concerns_descriptor(level, name)) return call.let_through();
  socklen_t length = 0;
  if (!call.read(call.argument(4), length)) {
    call.fail(EFAULT);
    return;
  }
  std::vector<std::uint8_t> value(std::min<std::uint64_t>(length, kLongestOption));
  if (const auto own = own_option(level, name)) {
    length = static_cast<socklen_t>(std::min(value.size(), sizeof *own));
    std::copy_n(static_cast<const std::uint8_t*>(static_cast<const void*>(&*own)), length, value.data());
  } else {
    length = static_cast<socklen_t>(value.size());
    if (sl_getsockopt(stack_.fd(), level, name, value.data(), &length) < 0) {
      call.fail(stack_ ? errno : EINVAL);
      return;
    }
  }
  const bool told = call.write(call.argument(3), value.data(), length) && call.write(call.argument(4), length);
  if (told) {
    call.answer(0);
  } else {
    call.fail(EFAULT);
  }
}

}  // namespace sluice::apps::run
