// A stack in virtual time for a tool with two threads: the second makes the calls that may block. The clock stands
// still but for what the tool asks; between two of its steps all timers run at their exact times.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "drivers/packetdrill/ip_device.h"
#include "drivers/packetdrill/profile.h"
#include "stack/stack.h"

namespace sluice::packetdrill {

class Host {
 public:
  using Lock = std::unique_lock<std::mutex>;

  explicit Host(Profile profile);  // the calling thread is the tool's first

  // Every function below is called with the lock held.
  Lock lock() { return Lock(mutex_); }
  Stack& stack();  // made when first asked for: the profile may change until then
  [[nodiscard]] bool has_stack() const { return stack_ != nullptr; }
  [[nodiscard]] const Profile& profile() const { return profile_; }
  void set_profile(const Profile& profile);  // what TCP can take over while it runs: see Tcp::set_config()

  // The way to this destination carries packets of `mtu` bytes, 68 at least.
  void set_route(const wire::Prefix& destination, std::uint32_t mtu);

  [[nodiscard]] Instant now() const { return now_; }
  // What gettimeofday tells. Each look takes a microsecond: who waits looks until the time has come.
  Instant look_at_clock(Lock& lock);
  void sleep(Lock& lock, Duration time);
  void inject(Bytes packet);
  // Runs until a packet leaves. False: nothing is scheduled, or not within kPatience.
  bool next_packet(Lock& lock, IpDevice::Packet& packet);

  // Until `done` or the deadline; false: the deadline. The tool's second thread sleeps, and the first moves the clock;
  // when the first waits nobody else would, so it moves the clock itself.
  bool wait(Lock& lock, Instant deadline, const std::function<bool()>& done);
  // After a call: what it made possible is sent, and a sleeping call may be over.
  void after_call();

 private:
  static constexpr Duration kPatience = 200_s;

  struct Waiter {
    const std::function<bool()>* done;
    Instant deadline;
    std::thread::id thread;
    bool over = false;
  };

  void run_stack();
  void tell_waiters();
  void let_woken_look(Lock& lock);
  bool forget_woken(std::thread::id thread);  // false: it was none
  void advance_to(Lock& lock, Instant target);
  [[nodiscard]] Instant next_event() const;
  bool wait_alone(Lock& lock, Instant deadline, const std::function<bool()>& done);

  std::mutex mutex_;
  std::condition_variable changed_;
  Profile profile_;
  IpDevice device_;
  ip::InterfaceId interface_ = ip::kNoInterface;
  Instant now_ = Instant::from_nanos(1'000'000'000'000'000);
  std::thread::id first_thread_ = std::this_thread::get_id();
  std::vector<Waiter*> waiters_;
  // Threads whose wait is over and that have not looked at the clock since. Until they have, it stands still: so the
  // tool sees a call end when it ended, however slow the threads are.
  std::vector<std::thread::id> woken_;
  bool call_ended_ = false;  // one has looked: it is about to tell the tool
  std::unique_ptr<Stack> stack_;
};

}  // namespace sluice::packetdrill
