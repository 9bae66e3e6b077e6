#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
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
    int fd = -1;
    short events = 0;
    bool listed = false;
    bool gone = false;
  };

  explicit Impl(Runtime::Impl& r) : runtime(r), epoll_fd(::epoll_create1(EPOLL_CLOEXEC)), spinner(r.options.spin) {
    if (runtime.device->poll_handle() >= 0) add_kernel(runtime.device->poll_handle(), EPOLLIN);
    add_kernel(runtime.wake_fd, EPOLLIN);
  }
  ~Impl() override {
    for (const auto& watch : ours) {
      if (watch != nullptr) unwatch_ours(watch->fd);
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
    if (index < by_handle.size() && by_handle[index] != nullptr) list(*by_handle[index]);
  }
  void list(Watch& w) {
    if (w.listed) return;
    w.listed = true;
    ready.push_back(&w);
  }

  // The place of a watch on a socket: null when there is none.
  std::unique_ptr<Watch>& our_watch(int fd) {
    const auto index = static_cast<std::size_t>(fd - SL_FD_BASE);
    if (ours.size() <= index) ours.resize(std::max(index + 64, ours.size() + ours.size() / 8));
    return ours[index];
  }
  void unwatch_ours(int fd) {
    const Descriptor* d = find_descriptor(fd);
    if (d == nullptr) return;
    (void)runtime.stack->sockets().set_observer(d->handle, &runtime);
    by_handle[static_cast<std::size_t>(d->handle)] = nullptr;
  }

  // The callback may watch, unwatch or replace itself.
  static void call(Watch& w, short revents) {
    Callback running = std::move(w.callback);
    w.callback = nullptr;
    running(revents);
    if (!w.callback) w.callback = std::move(running);
  }

  void run_stack();
  void run_ready();
  void run_timers();
  void sleep(Duration longest);

  Runtime::Impl& runtime;
  int epoll_fd;
  std::vector<std::unique_ptr<Watch>> ours;  // by descriptor
  std::unordered_map<int, std::unique_ptr<Watch>> kernel;
  std::vector<std::unique_ptr<Watch>> graveyard;  // unwatched while callbacks run
  std::vector<Watch*> by_handle;
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
  if (d == nullptr) return;
  auto& slot = im.our_watch(fd);
  if (slot == nullptr) slot = std::make_unique<Impl::Watch>();
  slot->fd = fd;
  slot->events = events;
  slot->callback = std::move(callback);
  const auto index = static_cast<std::size_t>(d->handle);
  if (im.by_handle.size() <= index) im.by_handle.resize(index + 64);
  im.by_handle[index] = slot.get();
  (void)im.runtime.stack->sockets().set_observer(d->handle, &im);
  im.list(*slot);
}

void EventLoop::set_events(int fd, short events) {
  if (fd >= SL_FD_BASE) {
    if (Impl::Watch* w = impl_->our_watch(fd).get(); w != nullptr) {
      w->events = events;
      impl_->list(*w);
    }
  } else if (const auto k = impl_->kernel.find(fd); k != impl_->kernel.end()) {
    watch(fd, events, std::move(k->second->callback));
  }
}

void EventLoop::unwatch(int fd) {
  Impl& im = *impl_;
  std::unique_ptr<Impl::Watch> watch;
  if (fd >= SL_FD_BASE) {
    watch = std::move(im.our_watch(fd));
  } else if (const auto at = im.kernel.find(fd); at != im.kernel.end()) {
    watch = std::move(at->second);
    im.kernel.erase(at);
  }
  if (watch == nullptr) return;
  if (fd >= SL_FD_BASE) {
    im.unwatch_ours(fd);
  } else {
    ::epoll_ctl(im.epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
  }
  watch->gone = true;
  im.graveyard.push_back(std::move(watch));
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
    if (w->gone) continue;
    const Descriptor* d = find_descriptor(w->fd);
    if (d == nullptr) continue;
    const short now = poll_events_of(runtime.stack->sockets().ready(d->handle));
    const auto wanted = static_cast<short>(now & (w->events | POLLERR | POLLHUP));
    if (wanted == 0) continue;
    spinner.on_work(monotonic_now());
    list(*w);  // looked at again: it may have more
    call(*w, wanted);
  }
  round.clear();
  std::erase_if(ready, [](const Watch* w) { return w->gone; });
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
  impl_->run_ready();
  impl_->run_timers();
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
