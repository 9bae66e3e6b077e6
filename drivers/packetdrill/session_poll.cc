// poll and epoll over the sockets of a session.
#include <errno.h>

#include <algorithm>

#include "drivers/packetdrill/session.h"

namespace sluice::packetdrill {

using socket::Ready;

namespace {

Instant deadline_after(Instant now, int timeout_ms) {
  return timeout_ms < 0 ? Instant::never() : now + Duration::millis(timeout_ms);
}

}  // namespace

Ready Session::ready_of(const Descriptor& d) {
  if (d.kind == Descriptor::Kind::kSocket) return host_.stack().sockets().ready(d.handle);
  if (d.kind == Descriptor::Kind::kPipeRead) return d.pipe->bytes.empty() ? Ready::kNone : Ready::kIn;
  if (d.kind == Descriptor::Kind::kPipeWrite) {
    return d.pipe->bytes.size() < Descriptor::Pipe::kRoom ? Ready::kOut : Ready::kNone;
  }
  const bool news =
      std::any_of(d.interests.begin(), d.interests.end(), [this](const auto& i) { return events_of(i) != 0; });
  return news ? Ready::kIn : Ready::kNone;
}

int Session::check(pollfd* fds, nfds_t count) {
  int ready = 0;
  for (pollfd& f : std::span(fds, count)) {
    f.revents = 0;
    if (f.fd < 0) continue;
    const auto it = descriptors_.find(f.fd);
    const int wanted = f.events | POLLERR | POLLHUP;
    f.revents = it == descriptors_.end() ? static_cast<short>(POLLNVAL)
                                         : static_cast<short>(poll_events_of(ready_of(*it->second)) & wanted);
    if (f.revents != 0) ++ready;
  }
  return ready;
}

int Session::poll(pollfd* fds, nfds_t count, int timeout_ms) {
  Lock lock = host_.lock();
  int ready = 0;
  const auto done = [&] { return (ready = check(fds, count)) > 0; };
  if (!done()) (void)host_.wait(lock, deadline_after(host_.now(), timeout_ms), done);
  return ready;
}

// --- epoll -----------------------------------------------------------------------------------------------------------

int Session::epoll_create(int size) {
  if (size <= 0) return set_errno(Errno::kInvalid);
  const Lock lock = host_.lock();
  return add(std::make_unique<Descriptor>(Descriptor::Kind::kEpoll));
}

int Session::epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  const Lock lock = host_.lock();
  Descriptor* e = find(epoll, Descriptor::Kind::kEpoll);
  if (e == nullptr || !descriptors_.contains(fd)) return set_errno(Errno::kBadFile);
  const auto it = std::find_if(e->interests.begin(), e->interests.end(), [fd](const auto& i) { return i.fd == fd; });
  const bool known = it != e->interests.end();
  switch (operation) {
    case EPOLL_CTL_ADD:
      if (known) return set_errno(Errno::kExist);
      e->interests.push_back({fd, *event});
      return 0;
    case EPOLL_CTL_MOD:
      if (!known) return errno = ENOENT, -1;
      *it = {fd, *event};
      return 0;
    case EPOLL_CTL_DEL:
      if (!known) return errno = ENOENT, -1;
      e->interests.erase(it);
      return 0;
    default:
      return set_errno(Errno::kInvalid);
  }
}

// What there is to report; nothing for an edge that was reported already.
std::uint32_t Session::events_of(const Descriptor::Interest& interest) {
  const auto it = descriptors_.find(interest.fd);
  if (it == descriptors_.end() || (interest.event.events & ~(EPOLLET | EPOLLONESHOT)) == 0) return 0;
  if ((interest.event.events & EPOLLET) != 0 && interest.seen == it->second->news) return 0;
  const auto events = static_cast<std::uint16_t>(poll_events_of(ready_of(*it->second)));
  return events & (interest.event.events | EPOLLERR | EPOLLHUP);  // the numbers are those of poll
}

int Session::collect(Descriptor& epoll, epoll_event* events, int most) {
  int n = 0;
  for (Descriptor::Interest& i : epoll.interests) {
    if (n == most) break;
    const std::uint32_t found = events_of(i);
    if (found == 0) continue;
    i.seen = descriptors_.at(i.fd)->news;
    events[n] = i.event;
    events[n++].events = found;
    if ((i.event.events & EPOLLONESHOT) != 0) i.event.events = EPOLLONESHOT;
  }
  return n;
}

int Session::epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms) {
  Lock lock = host_.lock();
  Descriptor* e = find(epoll, Descriptor::Kind::kEpoll);
  if (e == nullptr) return set_errno(Errno::kBadFile);
  if (most <= 0) return set_errno(Errno::kInvalid);
  const auto done = [&] { return any(ready_of(*e)); };
  if (!done()) (void)host_.wait(lock, deadline_after(host_.now(), timeout_ms), done);
  return collect(*e, events, most);
}

}  // namespace sluice::packetdrill
