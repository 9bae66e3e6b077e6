#include "sluice/runtime.hpp"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "drivers/capture.h"
#include "drivers/device_spec.h"
#include "drivers/impair.h"
#include "drivers/runtime/impl.h"
#include "stack/tcp/cc/registry.h"

namespace sluice {

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
  left_at = monotonic_now();
}

Runtime::Impl::~Impl() {
  control.reset();
  forget_runtime(this);
  {
    std::unique_lock lock(mutex);
    stopping = true;
    release_descriptors_of(*this);  // whoever waits on one leaves with EBADF
    news_for_helper.notify_all();
    kick_worker();
    for (Waiter* w : waiters) ring(*w);
    unlock(lock);
    lock.lock();
    all_left.wait(lock, [this] { return waiters.empty(); });
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
  auto writer = drivers::create_capture(o.capture, c.medium, c.fcs);
  if (!writer) return fail(writer.error());
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  const auto real = Instant::from_nanos(std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
  auto capture = std::make_unique<drivers::Capture>(*impl.device, std::move(*writer), real - monotonic_now());
  impl.options.events = capture->events(o.events);
  impl.device = capture.get();
  impl.devices.push_back(std::move(capture));
  return {};
}

Result<void, Failure> configure(Runtime::Impl& impl) {
  const Options& o = impl.options;
  ip::InterfaceConfig config;
  config.mtu = o.mtu;
  config.coalescing = o.coalescing;
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
  if (!impl.stack->ip().add_route(route))
    return fail(Failure{"the gateway " + o.gateway + " is on no network of --addr"});
  return {};
}

}  // namespace

Result<std::uint8_t, Failure> congestion_named(const std::string& name) {
  if (const std::uint8_t index = tcp::cc::index_of(name); index != 0) return index;
  std::string known;
  for (std::uint8_t i = 1; tcp::cc::name_at(i) != nullptr; ++i) known += std::string(" ") + tcp::cc::name_at(i);
  return fail(Failure{"no congestion control '" + name + "'; there are:" + known});
}

namespace {

Result<StackConfig, Failure> stack_config(const Options& o) {
  StackConfig config;
  config.seed = o.seed != 0 ? Rng::seed_from(o.seed) : system_seed();
  config.events = o.events;
  config.tcp = o.tcp;
  if (o.congestion.empty()) return config;
  const auto congestion = congestion_named(o.congestion);
  if (!congestion) return fail(congestion.error());
  config.tcp.congestion = *congestion;
  return config;
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
    auto device =
        drivers::open_device(options.device, host_offload ? drivers::HostOffload::kOn : drivers::HostOffload::kOff);
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
  if (const auto decorated = decorate(*impl); !decorated) return fail(decorated.error());
  const auto config = stack_config(impl->options);
  if (!config) return fail(config.error());
  impl->stack = std::make_unique<Stack>(*config);
  impl->stack->set_time(monotonic_now());
  if (const auto configured = configure(*impl); !configured) return fail(configured.error());
  announce_runtime(impl.get());
  if (impl->threaded) impl->start_helper();
  if (!impl->options.control.empty()) {
    auto control = ControlServer::open(impl->options.control, *impl);
    if (!control) return fail(control.error());
    impl->control = std::move(*control);
  }
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::~Runtime() = default;

sl_runtime* Runtime::c_handle() {
  return static_cast<sl_runtime*>(static_cast<void*>(impl_.get()));
}
Instant Runtime::now() const {
  return monotonic_now();
}
const Counters& Runtime::counters() const {
  return impl_->stack->counters();
}
bool Runtime::device_finished() const {
  const Impl::Guard guard(*impl_);
  return impl_->device->finished();
}
Runtime::Impl& Runtime::impl() {
  return *impl_;
}

// --- visits ----------------------------------------------------------------------------------------------------------

bool Runtime::Impl::visit(const std::function<void(Stack&)>& f, Duration patience) {
  if (threaded) {
    const Guard guard(*this);
    f(*stack);
    after_call();
    return true;
  }
  std::unique_lock lock(visit_mutex);
  visitor = &f;
  kick_worker();
  (void)visited.wait_for(lock, std::chrono::nanoseconds(patience.to_nanos()), [this] { return visitor == nullptr; });
  return std::exchange(visitor, nullptr) == nullptr;
}

void Runtime::Impl::serve_visit() {
  const std::lock_guard lock(visit_mutex);
  if (visitor == nullptr) return;
  stack->set_time(monotonic_now());
  (*visitor)(*stack);
  visitor = nullptr;
  visited.notify_all();
}

void Runtime::with_stack(const std::function<void(Stack&)>& f) {
  Impl::Guard guard(*impl_);
  f(*impl_->stack);
  impl_->after_call();
}

}  // namespace sluice
