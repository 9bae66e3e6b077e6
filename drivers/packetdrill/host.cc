// The virtual time of host.h.
#include "drivers/packetdrill/host.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sluice::packetdrill {

Host::Host(Profile profile) : profile_(std::move(profile)), device_(profile_.mtu) {}

Stack& Host::stack() {
  if (stack_ != nullptr) return *stack_;
  stack_ = std::make_unique<Stack>(profile_.stack);
  stack_->set_time(now_);
  ip::InterfaceConfig config;
  config.coalescing = ip::InterfaceConfig::Coalescing::kOff;  // the tool's packets are to be seen one by one
  config.address_check = ip::InterfaceConfig::AddressCheck::kNone;
  interface_ = stack_->ip().add_interface(device_, config).value();
  (void)stack_->ip().add_address(interface_, profile_.local);
  (void)stack_->ip().add_route({{wire::Ipv4Address{}, 0}, ip::Address(), interface_, 0});
  return *stack_;
}

void Host::set_profile(const Profile& profile) {
  profile_ = profile;
  if (stack_ != nullptr) stack_->tcp().set_config(profile_.stack.tcp);
}

void Host::set_route(const wire::Prefix& destination, std::uint32_t mtu) {
  ip::Ip& ip = stack().ip();
  const ip::RouteEntry entry{destination, ip::Address(), interface_, 0, mtu};
  (void)ip.remove_route(entry);
  (void)ip.add_route(entry);
}

// --- the clock -------------------------------------------------------------------------------------------------------

Instant Host::look_at_clock(Lock& lock) {
  if (!forget_woken(std::this_thread::get_id())) advance_to(lock, now_ + 1_us);
  return now_;
}

// A call that has just ended gets real time to tell the tool so, which holds no lock of its own while it sleeps.
void Host::sleep(Lock& lock, Duration time) {
  constexpr std::chrono::milliseconds kToTell(5);
  advance_to(lock, now_ + time);
  if (!std::exchange(call_ended_, false)) return;
  lock.unlock();
  std::this_thread::sleep_for(kToTell);
  lock.lock();
}

Instant Host::next_event() const {
  Instant next = stack_ != nullptr ? stack_->next_deadline() : Instant::never();
  for (const Waiter* w : waiters_) {
    if (!w->over) next = std::min(next, w->deadline);
  }
  return next;
}

void Host::advance_to(Lock& lock, Instant target) {
  for (;;) {
    let_woken_look(lock);
    const Instant next = next_event();
    if (next > target) break;
    now_ = std::max(now_, next);
    run_stack();
  }
  now_ = std::max(now_, target);
  if (stack_ != nullptr) stack_->set_time(now_);
}

void Host::run_stack() {
  if (stack_ != nullptr) {
    while (stack_->poll(now_)) {
    }
  }
  tell_waiters();
}

void Host::inject(Bytes packet) {
  device_.inject(packet);
  run_stack();
}

bool Host::next_packet(Lock& lock, IpDevice::Packet& packet) {
  const Instant end = now_ + kPatience;
  for (;;) {
    run_stack();
    let_woken_look(lock);
    if (device_.take(packet)) return true;
    const Instant next = next_event();
    if (next > end) return false;
    now_ = std::max(now_, next);
  }
}

// --- threads that wait -----------------------------------------------------------------------------------------------

void Host::tell_waiters() {
  for (Waiter* w : waiters_) {
    if (w->over || (now_ < w->deadline && !(*w->done)())) continue;
    w->over = true;
    woken_.push_back(w->thread);
    changed_.notify_all();
  }
}

void Host::let_woken_look(Lock& lock) {
  // A tool that does not look is not waited for in vain.
  constexpr std::chrono::seconds kLongest(2);
  if (woken_.empty()) return;
  (void)changed_.wait_for(lock, kLongest, [this] { return woken_.empty(); });
  woken_.clear();
}

bool Host::forget_woken(std::thread::id thread) {
  if (std::erase(woken_, thread) == 0) return false;
  call_ended_ = true;
  changed_.notify_all();
  return true;
}

bool Host::wait(Lock& lock, Instant deadline, const std::function<bool()>& done) {
  if (done()) return true;
  (void)forget_woken(std::this_thread::get_id());
  if (std::this_thread::get_id() == first_thread_) return wait_alone(lock, deadline, done);
  Waiter self{&done, deadline, std::this_thread::get_id()};
  waiters_.push_back(&self);
  tell_waiters();
  changed_.wait(lock, [&self] { return self.over; });
  std::erase(waiters_, &self);
  return done();
}

bool Host::wait_alone(Lock& lock, Instant deadline, const std::function<bool()>& done) {
  const Instant end = std::min(deadline, now_ + kPatience);
  while (!done()) {
    run_stack();
    let_woken_look(lock);
    const Instant next = next_event();
    if (done()) break;
    if (next > end) {
      now_ = end;
      return false;
    }
    now_ = std::max(now_, next);
  }
  return true;
}

void Host::after_call() {
  run_stack();
}

}  // namespace sluice::packetdrill
