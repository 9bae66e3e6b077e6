#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>

#include "drivers/runtime/impl.h"
#include "sluice/runtime.hpp"

namespace sluice {

namespace {
constexpr int kStackRounds = 8;     // batches of frames taken in before callbacks run
constexpr int kRoundsUnasked = 16;  // rounds without a look at the kernel's descriptors, while there is work
}  // namespace

// Sockets whose readiness changed are put on a list by the stack; only they are looked at. One that stays ready stays
// on the list, so watching is level-triggered.
struct EventLoop::Impl final : socket::ReadyObserver {
  struct Watch {
    Callback callback;
    int fd = -1;  // -1: nothing is watched
    short events = 0;
    bool listed = false;
  };

  explicit Impl(Runtime::Impl& r) : runtime(r), epoll_fd(::epoll_create1(EPOLL_CLOEXEC)), spinner(r.options.spin) {
    if (runtime.device->poll_handle() >= 0) add_kernel(runtime.device->poll_handle(), EPOLLIN);
    add_kernel(runtime.wake_fd, EPOLLIN);
  }
  ~Impl() override {
    for (Watch& watch : ours) {
      if (watch.fd >= 0) unwatch_ours(watch.fd);
    }
    ::close(epoll_fd);
  }

  void add_kernel(int fd, std::uint32_t events) const {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    if (::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 && errno == EEXIST)
      ::epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &e);
  }

  void on_ready(socket::Handle handle) override {
    runtime.on_ready(handle);  // other threads may wait on it
    const auto index = static_cast<std::size_t>(handle);
    if (index < ours.size() && ours[index].fd >= 0) list(ours[index]);
  }
  void list(Watch& w) {
    if (w.listed) return;
    w.listed = true;
    ready.push_back(&w);
  }

  // The watch on the socket of a descriptor; null when nobody watches it by this number.
  Watch* watch_on(int fd, const Descriptor* d) {
    if (d == nullptr || d->handle < 0 || static_cast<std::size_t>(d->handle) >= ours.size()) return nullptr;
    Watch& watch = ours[static_cast<std::size_t>(d->handle)];
    return watch.fd == fd ? &watch : nullptr;
  }
  void unwatch_ours(int fd) {
    const Descriptor* d = find_descriptor(fd);
    Watch* watch = watch_on(fd, d);
    if (watch == nullptr) return;
    (void)runtime.stack->sockets().set_observer(d->handle, &runtime);
    watch->fd = -1;  // it may be on a list still
    watch->callback = nullptr;
  }

  // The callback may watch, unwatch or replace itself.
  static void call(Watch& w, short revents) {
    Callback running = std::exchange(w.callback, nullptr);
    running(revents);
    if (!w.callback && w.fd >= 0) w.callback = std::move(running);
  }

  void run_stack();
  void run_ready();
  void run_timers();
  void sleep(Duration longest);

  Runtime::Impl& runtime;
  int epoll_fd;
  std::deque<Watch> ours;  // by handle; they stay where they are
  std::unordered_map<int, std::unique_ptr<Watch>> kernel;
  std::vector<std::unique_ptr<Watch>> graveyard;  // the kernel's that were unwatched while callbacks run
  std::vector<Watch*> ready, round;
  // In the order in which they are due, and for cancel() by their number.
  std::map<std::pair<Instant, TimerId>, std::function<void()>> timers;
  std::unordered_map<TimerId, Instant> due;
  TimerId next_id = 1;
  std::atomic<bool> stopped{false};  // set by any thread
  Spinner spinner;
  int unasked = 0;
};

EventLoop::EventLoop(Runtime& runtime) : impl_(std::make_unique<Impl>(runtime.impl())) {}
EventLoop::~EventLoop() = default;

void EventLoop::watch(int fd, short events, Callback callback) {
  Impl& im = *impl_;
  if (fd < SL_FD_BASE) {
    auto& slot = im.kernel[fd];
    if (slot == nullptr) slot = std::make_unique<Impl::Watch>();
    slot->fd = fd;
    slot->events = events;
    slot->callback = std::move(callback);
    std::uint32_t wanted = 0;
    if ((events & POLLIN) != 0) wanted |= EPOLLIN;
    if ((events & POLLOUT) != 0) wanted |= EPOLLOUT;
    im.add_kernel(fd, wanted);
    return;
  }
  const Descriptor* d = find_descriptor(fd);
  if (d == nullptr || d->handle < 0) return;
  const auto index = static_cast<std::size_t>(d->handle);
  if (im.ours.size() <= index) im.ours.resize(index + 1);
  Impl::Watch& watch = im.ours[index];
  watch.fd = fd;
  watch.events = events;
  watch.callback = std::move(callback);
  (void)im.runtime.stack->sockets().set_observer(d->handle, &im);
  im.list(watch);
}

void EventLoop::set_events(int fd, short events) {
  if (fd >= SL_FD_BASE) {
    if (Impl::Watch* w = impl_->watch_on(fd, find_descriptor(fd)); w != nullptr) {
      w->events = events;
      impl_->list(*w);
    }
  } else if (const auto k = impl_->kernel.find(fd); k != impl_->kernel.end()) {
    watch(fd, events, std::move(k->second->callback));
  }
}

void EventLoop::unwatch(int fd) {
  Impl& im = *impl_;
  if (fd >= SL_FD_BASE) return im.unwatch_ours(fd);
  const auto at = im.kernel.find(fd);
  if (at == im.kernel.end()) return;
  at->second->fd = -1;
  im.graveyard.push_back(std::move(at->second));
  im.kernel.erase(at);
  ::epoll_ctl(im.epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::after(Duration delay, std::function<void()> callback) {
  const TimerId id = impl_->next_id++;
  const Instant at = monotonic_now() + delay;
  impl_->timers.emplace(std::pair(at, id), std::move(callback));
  impl_->due.emplace(id, at);
  return id;
}

void EventLoop::cancel(TimerId id) {
  const auto found = impl_->due.find(id);
  if (found == impl_->due.end()) return;
  impl_->timers.erase({found->second, id});
  impl_->due.erase(found);
}

void EventLoop::Impl::run_stack() {
  const Counters& counters = runtime.stack->counters();
  const std::uint64_t before = counters.get(Counter::kLinkRxFrames);
  for (int i = 0; i < kStackRounds && runtime.stack->poll(monotonic_now()); ++i) {
  }
  if (counters.get(Counter::kLinkRxFrames) != before) spinner.on_work(monotonic_now());
}

void EventLoop::Impl::run_ready() {
  std::swap(ready, round);
  for (Watch* w : round) {
    w->listed = false;
    const Descriptor* d = w->fd >= 0 ? find_descriptor(w->fd) : nullptr;
    if (watch_on(w->fd, d) != w) continue;  // unwatched meanwhile, or closed before that
    const short now = poll_events_of(runtime.stack->sockets().ready(d->handle));
    const auto wanted = static_cast<short>(now & (w->events | POLLERR | POLLHUP));
    if (wanted == 0) continue;
    spinner.on_work(monotonic_now());
    list(*w);  // looked at again: it may have more
    call(*w, wanted);
  }
  round.clear();
  graveyard.clear();
}

void EventLoop::Impl::run_timers() {
  const Instant now = monotonic_now();
  while (!timers.empty() && timers.begin()->first.first <= now) {
    const auto first = timers.begin();
    const auto callback = std::move(first->second);
    due.erase(first->first.second);
    timers.erase(first);
    callback();
  }
}

// Waits for the device and the kernel's descriptors. While there is work, or soon will be, they are looked at only now
// and then: the device tells by itself.
void EventLoop::Impl::sleep(Duration longest) {
  const Instant now = monotonic_now();
  const bool busy = !ready.empty() || spinner.again(now);
  if (busy && ++unasked < kRoundsUnasked) return;
  unasked = 0;
  Instant until = std::min(runtime.stack->next_deadline(), now + longest);
  if (!timers.empty()) until = std::min(until, timers.begin()->first.first);
  const Duration wait = busy ? Duration() : std::max(until - now, Duration());
  std::array<epoll_event, 64> events{};
  const auto ns = std::min<std::int64_t>(wait.to_nanos(), 3'600'000'000'000);
  const timespec limit{ns / 1'000'000'000, ns % 1'000'000'000};
  const int n = ::epoll_pwait2(epoll_fd, events.data(), static_cast<int>(events.size()), &limit, nullptr);
  for (int i = 0; i < n; ++i) {
    const epoll_event& e = events[static_cast<std::size_t>(i)];
    spinner.on_work(monotonic_now());
    const auto at = kernel.find(e.data.fd);
    if (at == kernel.end()) {
      std::uint64_t count = 0;
      if (e.data.fd == runtime.wake_fd) {
        (void)!::read(runtime.wake_fd, &count, sizeof count);
        runtime.serve_visit();
      }
      continue;
    }
    int revents = 0;
    if ((e.events & EPOLLIN) != 0) revents |= POLLIN;
    if ((e.events & EPOLLOUT) != 0) revents |= POLLOUT;
    if ((e.events & EPOLLERR) != 0) revents |= POLLERR;
    if ((e.events & EPOLLHUP) != 0) revents |= POLLHUP;
    call(*at->second, static_cast<short>(revents));
  }
}

bool EventLoop::run_once(Duration longest_wait) {
  impl_->run_stack();
  {
    const udp::Hold together(impl_->runtime.stack->udp());  // what the callbacks send
    impl_->run_ready();
    impl_->run_timers();
  }
  if (!impl_->stopped) impl_->sleep(longest_wait);
  return !impl_->stopped;
}

void EventLoop::run() {
  while (run_once(3600_s)) {
  }
  impl_->stopped = false;
}

void EventLoop::stop() {
  impl_->stopped = true;
  const std::uint64_t one = 1;
  (void)!::write(impl_->runtime.wake_fd, &one, sizeof one);
}

}  // namespace sluice
