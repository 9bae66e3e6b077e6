#include "sluice/runtime.hpp"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "drivers/capture.h"
#include "drivers/device_spec.h"
#include "drivers/impair.h"
#include "drivers/runtime/impl.h"
#include "stack/tcp/cc/registry.h"

namespace sluice {

namespace {
constexpr Duration kHelperPatience = 5_ms;  // without a worker for so long, the helper takes over
constexpr std::size_t kPollBudget = 64;

timespec to_timespec(Duration d) {
  const std::int64_t ns = std::max<std::int64_t>(d.to_nanos(), 0);
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

void ring(int event_fd) {
  const std::uint64_t one = 1;
  (void)!::write(event_fd, &one, sizeof one);
}
void silence(int event_fd) {
  std::uint64_t count = 0;
  (void)!::read(event_fd, &count, sizeof count);
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

Instant monotonic_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant::from_nanos(std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
}

Rng::Seed system_seed() {
  Rng::Seed seed{};
  if (::getrandom(seed.data(), seed.size(), 0) != static_cast<ssize_t>(seed.size())) {
    fprintf(stderr, "sluice: the system gives no entropy; without it connections could be guessed\n");
    abort();
  }
  return seed;
}

// --- opening ---------------------------------------------------------------------------------------------------------

Runtime::Impl::Impl(const Options& o) : options(o), threaded(o.threads == Options::Threads::kThreads), spinner(o.spin) {
  wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  last_work = monotonic_now();
}

Runtime::Impl::~Impl() {
  forget_runtime(this);
  {
    std::unique_lock lock(mutex);
    stopping = true;
    release_descriptors_of(*this);  // whoever waits on one leaves with EBADF
    stopping_or_left.notify_all();
    kick_worker();
    tell_waiters();
    stopping_or_left.wait(lock, [this] { return app_waiters == 0; });
    orphan_loans_of(*this);
  }
  if (helper.joinable()) helper.join();
  ::close(wake_fd);
}

namespace {

Result<void, Failure> decorate(Runtime::Impl& impl) {
  const Options& o = impl.options;
  if (!o.impair.empty()) {
    const auto what = drivers::parse_impairment(o.impair);
    if (!what) return fail(what.error());
    impl.devices.push_back(std::make_unique<drivers::Impair>(*impl.device, *what, o.seed));
    impl.device = impl.devices.back().get();
  }
  if (o.capture.empty()) return {};
  const link::Capabilities& c = impl.device->capabilities();
  auto writer = drivers::PcapWriter::create(o.capture, c.medium, c.fcs);
  if (!writer) return fail(writer.error());
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  const auto real = Instant::from_nanos(std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
  impl.devices.push_back(std::make_unique<drivers::Capture>(*impl.device, std::move(*writer), real - monotonic_now()));
  impl.device = impl.devices.back().get();
  return {};
}

Result<void, Failure> configure(Runtime::Impl& impl) {
  const Options& o = impl.options;
  ip::InterfaceConfig config;
  config.mtu = o.mtu;
  if (!o.mac.empty()) {
    const auto mac = wire::parse_mac(o.mac);
    if (!mac) return fail(Failure{"'" + o.mac + "' is no MAC address; write it like 02:00:00:00:00:01"});
    config.mac = *mac;
  }
  const auto interface = impl.stack->ip().add_interface(*impl.device, config);
  if (!interface) return fail(Failure{"the MAC must be unicast, and the MTU from 68 to 65535"});
  for (const std::string& text : o.addresses) {
    const auto prefix = wire::parse_prefix(text);
    if (!prefix || !prefix->address.is_v4()) {
      return fail(Failure{"'" + text + "' is no IPv4 address with a length; write it like 10.0.0.2/24"});
    }
    if (!impl.stack->ip().add_address(*interface, *prefix)) {
      return fail(Failure{"'" + text + "' cannot be a host's address; with /24, 10.0.0.1 to 10.0.0.254 can"});
    }
  }
  if (o.gateway.empty()) return {};
  const auto gateway = wire::parse_address(o.gateway);
  if (!gateway) return fail(Failure{"'" + o.gateway + "' is no address; the gateway is written like 10.0.0.1"});
  const ip::RouteEntry route{{wire::Ipv4Address{}, 0}, *gateway, *interface, 0};
  if (!impl.stack->ip().add_route(route)) return fail(Failure{"the gateway " + o.gateway + " is on no network of --addr"});
  return {};
}

Result<StackConfig, Failure> stack_config(const Options& o) {
  StackConfig config;
  config.seed = o.seed != 0 ? Rng::seed_from(o.seed) : system_seed();
  config.events = o.events;
  if (o.congestion.empty()) return config;
  config.tcp.congestion = tcp::cc::index_of(o.congestion);
  if (config.tcp.congestion != 0) return config;
  std::string known;
  for (std::uint8_t i = 1; tcp::cc::name_at(i) != nullptr; ++i) known += std::string(" ") + tcp::cc::name_at(i);
  return fail(Failure{"no congestion control '" + o.congestion + "'; there are:" + known});
}

}  // namespace

Result<std::unique_ptr<Runtime>, Failure> Runtime::open(const Options& options) {
  auto impl = std::make_unique<Impl>(options);
  if (options.device == "mem") {
    auto peer = start_memory_peer(options.addresses.empty() ? "" : options.addresses.front());
    if (!peer) return fail(peer.error());
    impl->peer = std::move(*peer);
    impl->device = &impl->peer->near_end();
  } else {
    const bool host_offload = options.segmentation == Options::Segmentation::kHost && options.impair.empty();
    auto device = drivers::open_device(options.device, host_offload ? drivers::HostOffload::kOn : drivers::HostOffload::kOff);
    if (!device) return fail(device.error());
    impl->devices.push_back(std::move(*device));
    impl->device = impl->devices.back().get();
  }
  return finish_open(std::move(impl));
}

Result<std::unique_ptr<Runtime>, Failure> Runtime::open(const Options& options, link::NetDevice& device) {
  auto impl = std::make_unique<Impl>(options);
  impl->device = &device;
  return finish_open(std::move(impl));
}

Result<std::unique_ptr<Runtime>, Failure> Runtime::finish_open(std::unique_ptr<Impl> impl) {
  const auto config = stack_config(impl->options);
  if (!config) return fail(config.error());
  if (const auto decorated = decorate(*impl); !decorated) return fail(decorated.error());
  impl->stack = std::make_unique<Stack>(*config);
  impl->stack->set_time(monotonic_now());
  if (const auto configured = configure(*impl); !configured) return fail(configured.error());
  announce_runtime(impl.get());
  if (impl->threaded) impl->start_helper();
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::~Runtime() = default;

sl_runtime* Runtime::c_handle() { return static_cast<sl_runtime*>(static_cast<void*>(impl_.get())); }
Instant Runtime::now() const { return monotonic_now(); }
const Counters& Runtime::counters() const { return impl_->stack->counters(); }
bool Runtime::device_finished() const {
  const Impl::Guard guard(*impl_);
  return impl_->device->finished();
}
Runtime::Impl& Runtime::impl() { return *impl_; }

void Runtime::with_stack(const std::function<void(Stack&)>& f) {
  Impl::Guard guard(*impl_);
  f(*impl_->stack);
  impl_->after_call();
}

// --- who runs the stack ----------------------------------------------------------------------------------------------

void Runtime::Impl::kick_worker() { ring(wake_fd); }

void Runtime::Impl::tell_waiters() {
  bool has_worker = worker;
  for (const Waiter* w : waiters) {
    if (!w->asleep) continue;
    const bool over = (*w->done)();
    if (over || !has_worker) ring(w->bell);
    if (!over) has_worker = true;
  }
}

void Runtime::Impl::after_call() {
  if (!threaded) return;
  if (worker_asleep && (stack->next_deadline() < worker_until || (*worker_done)())) kick_worker();
  if (app_waiters > 0) tell_waiters();
}

// One round as the worker: sleep until a frame, a deadline, a kick or a kernel descriptor; then run the stack. False when
// a signal ended the sleep. Spins first, if something happened just before.
bool Runtime::Impl::work_once(std::unique_lock<std::mutex>& lock, Instant until, const Done& done,
                              std::vector<pollfd>* kernel) {
  if (stack->poll(monotonic_now(), kPollBudget) || done()) return true;
  worker_until = std::min(stack->next_deadline(), until);
  const Instant now = monotonic_now();
  if (worker_until <= now) return true;
  std::vector<pollfd> fds;
  if (kernel != nullptr) fds = *kernel;
  const std::size_t count = fds.size();
  fds.push_back({wake_fd, POLLIN, 0});
  if (device->poll_handle() >= 0) fds.push_back({device->poll_handle(), POLLIN, 0});
  timespec wait = to_timespec(worker_until - now);
  if (spinner.again(now)) wait = {};
  worker_done = &done;
  worker_asleep = true;
  lock.unlock();
  const int ready = ::ppoll(fds.data(), fds.size(), worker_until.is_never() && wait.tv_sec != 0 ? nullptr : &wait, nullptr);
  const bool interrupted = ready < 0 && errno == EINTR;
  lock.lock();
  worker_asleep = false;
  if ((fds[count].revents & POLLIN) != 0) silence(wake_fd);
  if (kernel != nullptr) std::copy_n(fds.begin(), count, kernel->begin());
  if (ready > 0) {
    last_work = monotonic_now();
    spinner.on_work(last_work);
  }
  while (stack->poll(monotonic_now(), kPollBudget)) {
  }
  return !interrupted;
}

// One round as somebody else than the worker. False when a signal ended the sleep.
bool Runtime::Impl::sleep_until_news(std::unique_lock<std::mutex>& lock, Instant until, Waiter& self,
                                     std::vector<pollfd>* kernel) {
  std::vector<pollfd> fds;
  if (kernel != nullptr) fds = *kernel;
  const std::size_t count = fds.size();
  fds.push_back({self.bell, POLLIN, 0});
  // Without a bell it has to look from time to time.
  const Duration longest = self.bell >= 0 ? 3600_s : kHelperPatience;
  const timespec left = to_timespec(std::min(until - monotonic_now(), longest));
  self.asleep = true;
  lock.unlock();
  const bool interrupted = ::ppoll(fds.data(), fds.size(), &left, nullptr) < 0 && errno == EINTR;
  lock.lock();
  self.asleep = false;
  silence(self.bell);
  if (kernel != nullptr) std::copy_n(fds.begin(), count, kernel->begin());
  return !interrupted;
}

Runtime::Impl::Woken Runtime::Impl::wait(Guard& guard, Instant deadline, const Done& done,
                                         std::vector<pollfd>* kernel) {
  std::unique_lock<std::mutex>& lock = guard.lock();
  if (!threaded && !lock.owns_lock()) lock.lock();  // one thread only: never contended
  // No wait, and so no sign that somebody runs the stack.
  if (done()) return Woken::kReady;
  Waiter self{&done, bell_of_this_thread()};
  waiters.push_back(&self);
  ++app_waiters;
  if (worker && helper_works) kick_worker();  // the helper steps back
  // Who only looks works too: in a loop of such looks nobody else would.
  if (!worker && monotonic_now() >= deadline) (void)stack->poll(monotonic_now(), kPollBudget);
  bool works = false;
  Woken result = Woken::kReady;
  while (!done()) {
    if (monotonic_now() >= deadline) {
      result = Woken::kTimeout;
      break;
    }
    bool undisturbed = true;
    if (works || !worker) {
      works = worker = true;
      undisturbed = work_once(lock, deadline, done, kernel);
      tell_waiters();
    } else {
      undisturbed = sleep_until_news(lock, deadline, self, kernel);
    }
    if (!undisturbed && !done()) {
      result = Woken::kSignal;
      break;
    }
  }
  if (works) worker = false;
  waiters.remove(&self);
  --app_waiters;
  last_work = monotonic_now();
  if (app_waiters > 0) tell_waiters();  // somebody else takes the part
  if (stopping) stopping_or_left.notify_all();
  return result;
}

void Runtime::Impl::start_helper() {
  // Signals are for the application's threads, which shall see EINTR.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  helper = std::thread([this] { helper_loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Runtime::Impl::helper_loop() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    const bool idle = !worker && app_waiters == 0 && monotonic_now() - last_work >= kHelperPatience;
    if (!idle) {
      stopping_or_left.wait_for(lock, std::chrono::nanoseconds(kHelperPatience.to_nanos()));
      continue;
    }
    worker = helper_works = true;
    stack->set_time(monotonic_now());
    (void)work_once(
        lock, Instant::never(), [this] { return app_waiters > 0; }, nullptr);
    worker = helper_works = false;
    tell_waiters();
  }
}

}  // namespace sluice
