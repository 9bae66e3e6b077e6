// Whoever waits, works: who runs the stack, and who is woken when (docs/adr/0004).
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "drivers/runtime/epoll_set.h"
#include "drivers/runtime/impl.h"

namespace sluice {

namespace {

constexpr std::size_t kPollBudget = 64;
constexpr int kRoundsUnasked = 16;          // of spinning, between two looks at the kernel's descriptors
constexpr Duration kQuick = 100_us;         // who is back within this time would have been served best by nobody else
constexpr int kTrusted = 2;                 // so often in a row, and the part is left open for who will be back
constexpr Duration kOpenPart = 1_ms;        // but not for longer
constexpr Duration kHelperPatience = 5_ms;  // without anybody for so long, the helper takes over
constexpr int kCalmRounds = 20;             // of the helper, until it sleeps on

timespec to_timespec(Duration d) {
  const std::int64_t ns = std::max<std::int64_t>(d.to_nanos(), 0);
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

void write_event(int event_fd) {
  const std::uint64_t one = 1;
  (void)!::write(event_fd, &one, sizeof one);
}
void read_event(int event_fd) {
  std::uint64_t count = 0;
  (void)!::read(event_fd, &count, sizeof count);
}

// A futex is woken by its address: whether the waiter is still there does not matter.
void wake(const std::atomic<std::uint32_t>* futex) {
  (void)::syscall(SYS_futex, futex, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// One eventfd a thread, as a thread waits in one call at a time. -1 when the process has no descriptor left.
int bell_of_this_thread() {
  struct Bell {
    int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ~Bell() { ::close(fd); }
  };
  thread_local const Bell bell;
  return bell.fd;
}

}  // namespace

// --- waking ----------------------------------------------------------------------------------------------------------

void Runtime::Impl::ring(Waiter& w) {
  w.asleep = false;
  if (w.bell >= 0) return write_event(w.bell);
  w.rung.store(1, std::memory_order_release);
  if (rung_count == rung.size()) return wake(&w.rung);
  rung[rung_count++] = &w.rung;
}

// Wakes those who were rung once the lock is free: they want it first of all.
void Runtime::Impl::unlock(std::unique_lock<std::mutex>& lock) {
  std::array<std::atomic<std::uint32_t>*, kRungAtOnce> addresses;
  const std::size_t count = std::exchange(rung_count, 0);
  std::copy_n(rung.begin(), count, addresses.begin());
  lock.unlock();
  for (std::size_t i = 0; i < count; ++i) wake(addresses[i]);
}

// With a time limit even where there is none: a signal then ends the sleep in any case, and false is returned. The
// lock is free meanwhile, and others may ask done(): what is polled here is a copy.
bool Runtime::Impl::sleep(Waiter& w, Duration longest, const KernelWait* kernel) {
  const timespec limit = to_timespec(longest);
  if (kernel == nullptr) {
    return ::syscall(SYS_futex, &w.rung, FUTEX_WAIT_PRIVATE, 0, &limit, nullptr, 0) == 0 || errno != EINTR;
  }
  std::vector<pollfd> fds = kernel->fds;
  fds.push_back({w.bell, POLLIN, 0});
  const bool interrupted = ::ppoll(fds.data(), fds.size(), &limit, kernel->signals) < 0 && errno == EINTR;
  if ((fds.back().revents & POLLIN) != 0) read_event(w.bell);
  return !interrupted;
}

void Runtime::Impl::kick_worker() {
  write_event(wake_fd);
}

Runtime::Impl::SocketSide& Runtime::Impl::side(socket::Handle handle) {
  const auto index = static_cast<std::size_t>(handle);
  if (sides.size() <= index) sides.resize(index + 1);
  return sides[index];
}

void Runtime::Impl::enlist(Waiter& self) {
  waiters.push_back(&self);
  if (self.on == kSeveral) return void(++several);
  self.next = std::exchange(side(self.on).waiters, &self);
  observe(self.on);
}

// An event loop that observes the socket passes on what it hears.
void Runtime::Impl::observe(socket::Handle handle) {
  if (stack->sockets().observer(handle) == nullptr) (void)stack->sockets().set_observer(handle, this);
}

void Runtime::Impl::strike_off(Waiter& self) {
  waiters.erase(std::find(waiters.begin(), waiters.end(), &self));
  if (self.listed) news.erase(std::find(news.begin(), news.end(), &self));
  if (self.on == kSeveral) return void(--several);
  Waiter** link = &side(self.on).waiters;
  while (*link != &self) link = &(*link)->next;
  *link = self.next;
}

void Runtime::Impl::on_ready(socket::Handle handle) {
  SocketSide& of = side(handle);
  EpollSet::on_ready(of.members);
  for (Waiter* w = of.waiters; w != nullptr; w = w->next) {
    if (!w->listed) news.push_back(w);
    w->listed = true;
  }
}

void Runtime::Impl::tell_waiters() {
  for (Waiter* w : news) {
    w->listed = false;
    if (w->asleep && (*w->done)()) ring(*w);
  }
  news.clear();
  if (several == 0) return;
  for (Waiter* w : waiters) {
    if (w->on == kSeveral && w->asleep && (*w->done)()) ring(*w);
  }
}

void Runtime::Impl::after_call() {
  if (!threaded) return;
  if (worker_asleep && (stack->next_deadline() < worker_until || (*worker_done)())) kick_worker();
  tell_waiters();
}

// --- the worker's part -----------------------------------------------------------------------------------------------

// A thread begins to wait. It runs the stack unless somebody does who has come for that himself.
Runtime::Impl::Part Runtime::Impl::take_over() {
  const bool quick = monotonic_now() - left_at < kQuick;
  if (!worker || stand_in) quick_returns = quick ? std::min(quick_returns + 1, kTrusted) : 0;
  if (!worker) {
    worker = true;
    return Part::kWorks;
  }
  if (!stand_in || give_way) return Part::kNone;
  give_way = true;
  kick_worker();
  return Part::kAsked;
}

// The worker's own wait is over. Mostly it will be back at once - it answers, and waits for the next request - and so
// the part is left open where that was so before: to wake somebody costs more than the answer.
void Runtime::Impl::leave() {
  const bool asked_for = give_way;
  worker = stand_in = give_way = false;
  left_at = monotonic_now();
  wake_helper();
  if (asked_for || quick_returns < kTrusted) pass_on();
}

// The part is open, and may stay so: who is woken for it may find its own wait over, and go.
void Runtime::Impl::wake_helper() {
  if (!helper_dozes) return;
  helper_dozes = false;
  news_for_helper.notify_all();
}

// Nobody runs the stack: who came last is woken for it. It would wait longest, and its memory is still in the cache.
void Runtime::Impl::pass_on() {
  const auto last = std::find_if(waiters.rbegin(), waiters.rend(), [](const Waiter* w) { return w->asleep; });
  if (last != waiters.rend()) ring(**last);
}

// True when there is more to do at once.
bool Runtime::Impl::run_stack() {
  const Counters& counters = stack->counters();
  const std::uint64_t before = counters.get(Counter::kLinkRxFrames);
  const Instant now = monotonic_now();
  const bool more = stack->poll(now, kPollBudget);
  if (counters.get(Counter::kLinkRxFrames) != before) spinner.on_work(now);
  return more;
}

// One round as the worker: run the stack; without news sleep until a frame, a deadline, a kick or a descriptor of the
// kernel. False when a signal ended the sleep.
bool Runtime::Impl::work_once(std::unique_lock<std::mutex>& lock, Instant until, const Done& done,
                              const KernelWait* kernel) {
  const bool more = run_stack();
  tell_waiters();
  if (more || done()) return true;
  worker_until = std::min(stack->next_deadline(), until);
  const Instant now = monotonic_now();
  if (worker_until <= now) return true;
  // While other threads are busy it does not take a processor from them to look again.
  const bool others = std::exchange(calls_seen, calls) != calls;
  const bool look_again = !others && spinner.again(now);
  if (look_again && ++unasked < kRoundsUnasked) {  // frames tell by themselves; others may have the lock meanwhile
    unlock(lock);
    lock.lock();
    return true;
  }
  unasked = 0;
  descriptors.clear();
  if (kernel != nullptr) descriptors = kernel->fds;
  const std::size_t count = descriptors.size();
  descriptors.push_back({wake_fd, POLLIN, 0});
  if (device->poll_handle() >= 0) descriptors.push_back({device->poll_handle(), POLLIN, 0});
  const timespec limit = to_timespec(look_again ? Duration() : std::min(worker_until - now, 3600_s));
  worker_done = &done;
  worker_asleep = true;
  unlock(lock);
  const sigset_t* signals = kernel != nullptr ? kernel->signals : nullptr;
  const bool interrupted = ::ppoll(descriptors.data(), descriptors.size(), &limit, signals) < 0 && errno == EINTR;
  lock.lock();
  worker_asleep = false;
  if ((descriptors[count].revents & POLLIN) != 0) {
    read_event(wake_fd);
    if (!threaded) serve_visit();
  }
  return !interrupted;
}

// One round as somebody else than the worker. False when a signal ended the sleep.
bool Runtime::Impl::sleep_until_news(std::unique_lock<std::mutex>& lock, Instant until, Waiter& self,
                                     const KernelWait* kernel) {
  // Without a bell it has to look from time to time.
  const Duration longest = kernel == nullptr || self.bell >= 0 ? 3600_s : kHelperPatience;
  const Duration left = std::min(until - monotonic_now(), longest);
  self.rung.store(0, std::memory_order_relaxed);
  self.asleep = true;
  unlock(lock);
  const bool undisturbed = sleep(self, left, kernel);
  lock.lock();
  self.asleep = false;
  return undisturbed;
}

Runtime::Impl::Woken Runtime::Impl::wait(Guard& guard, Instant deadline, socket::Handle on, const Done& done,
                                         const KernelWait* kernel) {
  std::unique_lock<std::mutex>& lock = guard.lock();
  if (!threaded && !lock.owns_lock()) lock.lock();  // one thread only: never contended
  // No wait, and so no sign that somebody runs the stack.
  if (done()) return Woken::kReady;
  Waiter self{.done = &done, .on = on, .bell = kernel != nullptr ? bell_of_this_thread() : -1};
  enlist(self);
  calls_seen = calls;
  const Part part = take_over();
  bool works = part == Part::kWorks;
  // Who only looks works too: in a loop of such looks nobody else would.
  if (works && monotonic_now() >= deadline) (void)run_stack();
  Woken result = Woken::kReady;
  while (!done()) {
    if (monotonic_now() >= deadline) {
      result = Woken::kTimeout;
      break;
    }
    if (!works && !worker) {
      works = worker = true;
      stand_in = part != Part::kAsked;
    }
    const bool undisturbed =
        works ? work_once(lock, deadline, done, kernel) : sleep_until_news(lock, deadline, self, kernel);
    if (works && rung_count > 0) {
      unlock(lock);
      lock.lock();
    }
    if (works && stand_in && give_way && !done()) {
      works = worker = stand_in = give_way = false;
      wake_helper();
      pass_on();
      continue;  // it may be this one again
    }
    if (!undisturbed && !done()) {
      result = Woken::kSignal;
      break;
    }
  }
  strike_off(self);
  if (works) {
    leave();
  } else if (!worker) {  // may have been woken to run the stack, and its own wait was over
    wake_helper();
  }
  if (stopping) all_left.notify_all();
  return result;
}

// --- the helper ------------------------------------------------------------------------------------------------------

void Runtime::Impl::start_helper() {
  // Signals are for the application's threads, which shall see EINTR.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  helper = std::thread([this] { helper_loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Looks from time to time whether the part is open: for long with waiters, then one of them gets it; for longer
// without, then the helper takes it itself. While somebody works undisturbed it sleeps on.
void Runtime::Impl::helper_loop() {
  std::unique_lock lock(mutex);
  const auto nap = [&](Duration d) {
    unlock(lock);
    lock.lock();
    if (!stopping) news_for_helper.wait_for(lock, std::chrono::nanoseconds(d.to_nanos()));
  };
  int calm = 0;
  while (!stopping) {
    if (worker) {
      if (++calm < kCalmRounds) {
        nap(kHelperPatience);
        continue;
      }
      calm = 0;
      helper_dozes = true;
      news_for_helper.wait(lock, [this] { return stopping || !helper_dozes; });
    } else if (!waiters.empty()) {
      nap(kOpenPart);
      if (worker || monotonic_now() - left_at < kOpenPart) continue;
      quick_returns = 0;
      pass_on();
    } else if (monotonic_now() - left_at < kHelperPatience) {
      nap(kHelperPatience);
    } else {
      worker = stand_in = true;
      stack->set_time(monotonic_now());
      (void)work_once(
          lock, Instant::never(), [this] { return give_way || stopping; }, nullptr);
      worker = stand_in = give_way = false;
      pass_on();
      unlock(lock);  // whoever was rung is to be woken
      lock.lock();
    }
  }
}

}  // namespace sluice
