// Inside a Runtime: the stack, its lock, and who runs it. Private to drivers/runtime.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <poll.h>

#include "sluice/runtime.hpp"
#include "stack/link/netdev.h"

namespace sluice {

Instant monotonic_now();
Rng::Seed system_seed();  // from getrandom(2); ends the program when the system has no entropy to give (RFC6528-03)

// A peer for `--dev mem`: a second stack in a thread of its own, with the small services (mem_peer.cc).
class MemoryPeer {
 public:
  virtual ~MemoryPeer() = default;
  virtual link::NetDevice& near_end() = 0;
};
Result<std::unique_ptr<MemoryPeer>, Failure> start_memory_peer(const std::string& near_prefix);

// Whoever waits, works: a thread that waits for something runs the stack meanwhile, and the others sleep until it has
// news. While nobody waits, a helper thread takes the part.
struct Runtime::Impl {
  explicit Impl(const Options& options);
  ~Impl();

  // Holds the lock where there is one.
  class Guard {
   public:
    explicit Guard(Impl& impl) : lock_(impl.mutex, std::defer_lock) {
      if (impl.threaded) lock_.lock();
      impl.stack->set_time(monotonic_now());
    }
    std::unique_lock<std::mutex>& lock() { return lock_; }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  enum class Woken : std::uint8_t { kReady, kTimeout, kSignal };
  // Runs the stack until `done()` or the deadline. `kernel` are descriptors of the kernel to wait for as well; done()
  // sees their revents.
  Woken wait(Guard& guard, Instant deadline, const std::function<bool()>& done, std::vector<pollfd>* kernel = nullptr);

  // After a call from a thread that does not wait: the worker may have to get up earlier, or others may be ready.
  void after_call();

  struct Waiter {
    int event_fd = -1;  // written when there is news, for those who wait in poll(2)
    bool news = false;
  };

  void start_helper();
  void helper_loop();
  bool work_once(std::unique_lock<std::mutex>& lock, Instant until, const std::function<bool()>& done,
                 std::vector<pollfd>* kernel);
  void tell_waiters();
  void kick_worker();

  Options options;
  bool threaded;
  std::vector<std::unique_ptr<link::NetDevice>> devices;  // the device and its decorators, innermost first
  std::unique_ptr<MemoryPeer> peer;
  link::NetDevice* device = nullptr;  // the outermost
  std::unique_ptr<Stack> stack;

  std::mutex mutex;
  std::condition_variable news;
  std::list<Waiter*> waiters;
  bool worker = false;        // somebody runs the stack
  bool helper_works = false;  // it is the helper
  bool worker_asleep = false;
  Instant worker_until;  // when it will get up
  int app_waiters = 0;
  Instant last_work;
  int wake_fd = -1;
  bool stopping = false;
  std::condition_variable helper_wake;
  std::thread helper;
};

// The first runtime opened, or the one chosen for this thread.
Runtime::Impl* current_runtime();
void announce_runtime(Runtime::Impl* impl);
void forget_runtime(Runtime::Impl* impl);

// Descriptor table: number to runtime and handle.
struct Descriptor {
  Runtime::Impl* runtime = nullptr;
  socket::Handle handle = -1;
  std::uint32_t generation = 0;  // changes when the number is closed
  bool nonblocking = false;
  bool receive_ttl = false;  // IP_RECVTTL
  Duration receive_timeout;  // 0: none
  Duration send_timeout;
};
int allocate_descriptor(Runtime::Impl* runtime, socket::Handle handle, bool nonblocking);
Descriptor* find_descriptor(int fd);  // null: EBADF
void release_descriptor(int fd);

short poll_events_of(socket::Ready ready);

}  // namespace sluice
