// epoll(7); see epoll_set.h.
#include "drivers/runtime/epoll_set.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "drivers/runtime/blocking.h"
#include "sluice/socket.h"

namespace sluice {
namespace {

constexpr std::uint32_t kModes = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;
constexpr std::uint32_t kAlways = EPOLLERR | EPOLLHUP;
// EPOLLEXCLUSIVE goes with these only, and cannot be changed.
constexpr std::uint32_t kWithExclusive =
    EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

bool is_bad_mode(int operation, std::uint32_t events) {
  if ((events & EPOLLEXCLUSIVE) == 0) return false;
  return operation == EPOLL_CTL_MOD || (events & ~kWithExclusive) != 0;
}

}  // namespace

EpollSet::EpollSet(Runtime::Impl& runtime) : runtime_(runtime), kernel_set_(::epoll_create1(EPOLL_CLOEXEC)) {}

EpollSet::~EpollSet() {
  while (!members_.empty()) remove(members_.begin());
  ::close(kernel_set_);
}

int EpollSet::control(int operation, int fd, socket::Handle handle, const epoll_event* event) {
  const auto found = members_.find({fd, handle});
  const bool there = found != members_.end();
  if (operation == EPOLL_CTL_ADD) {
    if (is_bad_mode(operation, event->events)) return EINVAL;
    if (there) return EEXIST;
    const auto added = members_.try_emplace({fd, handle}, EpollMember{*this, handle, *event}).first;
    added->second.next = std::exchange(runtime_.side(handle).members, &added->second);
    runtime_.observe(handle);
    return list(added->second), 0;
  }
  if (operation != EPOLL_CTL_MOD && operation != EPOLL_CTL_DEL) return EINVAL;
  if (!there) return ENOENT;
  if (operation == EPOLL_CTL_DEL) return remove(found), 0;
  EpollMember& member = found->second;
  if (is_bad_mode(operation, event->events) || (member.event.events & EPOLLEXCLUSIVE) != 0) return EINVAL;
  member.event = *event;
  member.edge = true;
  return list(member), 0;
}

int EpollSet::control_kernel(int operation, int fd, epoll_event* event) {
  return ::epoll_ctl(kernel_set_, operation, fd, event) == 0 ? 0 : errno;
}

void EpollSet::remove(std::map<Key, EpollMember>::iterator at) {
  EpollMember& member = at->second;
  if (member.listed) list_.erase(std::find(list_.begin(), list_.end(), &member));
  EpollMember** link = &runtime_.side(member.handle).members;
  while (*link != &member) link = &(*link)->next;
  *link = member.next;
  members_.erase(at);
}

void EpollSet::on_ready(EpollMember* members) {
  for (EpollMember* m = members; m != nullptr; m = m->next) {
    m->edge = true;
    m->set.list(*m);
  }
}

void EpollSet::forget(Runtime::Impl& runtime, socket::Handle handle) {
  while (EpollMember* member = runtime.side(handle).members) {
    EpollSet& set = member->set;
    set.remove(
        std::find_if(set.members_.begin(), set.members_.end(), [&](const auto& m) { return &m.second == member; }));
  }
}

void EpollSet::list(EpollMember& member) {
  if (member.listed) return;
  member.listed = true;
  list_.push_back(&member);
}

// What there is to tell of a member.
std::uint32_t EpollSet::events_of(const EpollMember& member) const {
  const std::uint32_t wanted = member.event.events;
  if ((wanted & ~kModes) == 0 && (wanted & EPOLLONESHOT) != 0) return 0;  // told once, until it is set anew
  if ((wanted & EPOLLET) != 0 && !member.edge) return 0;
  const auto now = static_cast<std::uint16_t>(poll_events_of(runtime_.stack->sockets().ready(member.handle)));
  return now & (wanted | kAlways) & ~kModes;
}

bool EpollSet::ready() {
  pollfd kernel{kernel_set_, POLLIN, 0};
  if (::poll(&kernel, 1, 0) > 0) return true;
  while (!list_.empty()) {
    if (events_of(*list_.front()) != 0) return true;
    list_.front()->listed = list_.front()->edge = false;
    list_.pop_front();
  }
  return false;
}

std::size_t EpollSet::collect_ours(std::span<epoll_event> room) {
  std::size_t count = 0;
  for (std::size_t left = list_.size(); left > 0 && count < room.size(); --left) {
    EpollMember& member = *list_.front();
    list_.pop_front();
    member.listed = false;
    const std::uint32_t events = events_of(member);
    member.edge = false;
    if (events == 0) continue;
    room[count++] = {events, member.event.data};
    const std::uint32_t wanted = member.event.events;
    if ((wanted & EPOLLONESHOT) != 0) {
      member.event.events = wanted & kModes;
    } else if ((wanted & EPOLLET) == 0) {
      list(member);  // looked at again: it may have more
    }
  }
  return count;
}

std::size_t EpollSet::collect_kernel(std::span<epoll_event> room) const {
  if (room.empty()) return 0;
  const int n = ::epoll_wait(kernel_set_, room.data(), static_cast<int>(room.size()), 0);
  return static_cast<std::size_t>(std::max(n, 0));
}

int EpollSet::collect(std::span<epoll_event> room) {
  kernel_first_ = !kernel_first_;
  std::size_t count = kernel_first_ ? collect_kernel(room) : 0;
  count += collect_ours(room.subspan(count));
  if (!kernel_first_) count += collect_kernel(room.subspan(count));
  return static_cast<int>(count);
}

}  // namespace sluice

// --- the calls -------------------------------------------------------------------------------------------------------

using sluice::Call;
using sluice::EpollSet;
using sluice::Errno;
using sluice::set_errno;
using Impl = sluice::Runtime::Impl;

int sl_epoll_create1(int flags) {
  Impl* impl = sluice::current_runtime();
  if (impl == nullptr) return set_errno(Errno::kNetworkDown);
  if ((flags & ~EPOLL_CLOEXEC) != 0) return set_errno(Errno::kInvalid);
  const Impl::Guard guard(*impl);
  auto epoll = std::make_unique<EpollSet>(*impl);
  if (epoll->kernel_set() < 0) return -1;
  const int fd = sluice::allocate_descriptor(*impl, *epoll);
  if (fd < 0) return set_errno(Errno::kTooManyFiles);
  (void)epoll.release();  // it is the descriptor's now
  return fd;
}

int sl_epoll_ctl(int set, int operation, int fd, epoll_event* event) {
  if (set < SL_FD_BASE) {
    if (fd < SL_FD_BASE) return ::epoll_ctl(set, operation, fd, event);
    return set_errno(Errno::kPerm);  // the kernel does not know our sockets
  }
  const Call call(set, Call::On::kAny);
  if (!call) return call.refuse();
  EpollSet* epoll = call.epoll();
  if (epoll == nullptr || fd == set) return set_errno(Errno::kInvalid);
  if (event == nullptr && operation != EPOLL_CTL_DEL) return set_errno(Errno::kFault);
  int error = 0;
  if (fd < SL_FD_BASE) {
    error = epoll->control_kernel(operation, fd, event);
  } else {
    const sluice::Descriptor* d = sluice::find_descriptor(fd);
    if (d == nullptr) return set_errno(Errno::kBadFile);
    if (d->runtime != &call.runtime() || d->handle < 0) return set_errno(Errno::kInvalid);
    error = epoll->control(operation, fd, d->handle, event);
  }
  call.runtime().after_call();
  return error == 0 ? 0 : (errno = error, -1);
}

int sl_epoll_wait(int set, epoll_event* events, int room, int timeout_ms) {
  return sl_epoll_pwait(set, events, room, timeout_ms, nullptr);
}

int sl_epoll_pwait(int set, epoll_event* events, int room, int timeout_ms, const sigset_t* signals) {
  if (set < SL_FD_BASE) return ::epoll_pwait(set, events, room, timeout_ms, signals);
  Call call(set, Call::On::kAny);
  if (!call) return call.refuse();
  EpollSet* epoll = call.epoll();
  if (epoll == nullptr || room <= 0) return set_errno(Errno::kInvalid);
  if (events == nullptr) return set_errno(Errno::kFault);
  const sluice::Instant deadline =
      timeout_ms < 0 ? sluice::Instant::never() : sluice::monotonic_now() + sluice::Duration::millis(timeout_ms);
  const Impl::KernelWait kernel{{{epoll->kernel_set(), POLLIN, 0}}, signals};
  const Impl::Woken woken = call.runtime().wait(
      call.guard(), deadline, Impl::kSeveral, [&] { return call.closed_meanwhile() || epoll->ready(); }, &kernel);
  if (call.closed_meanwhile()) return set_errno(Errno::kBadFile);
  if (woken == Impl::Woken::kSignal) return set_errno(Errno::kIntr);
  return epoll->collect({events, static_cast<std::size_t>(room)});
}
