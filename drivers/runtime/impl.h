// Inside a Runtime: the stack, its lock, and who runs it. Private to drivers/runtime.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <poll.h>
#include <signal.h>

#include "drivers/runtime/control.h"
#include "drivers/runtime/spinner.h"
#include "drivers/runtime/system_types.h"
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

class EpollSet;
struct EpollMember;

// Whoever waits, works: a thread that waits for something runs the stack meanwhile, and the others sleep until it has
// news. While nobody waits, a helper thread takes the part.
struct Runtime::Impl final : socket::ReadyObserver {
  explicit Impl(const Options& options);
  ~Impl() override;

  // Holds the lock where there is one.
  class Guard {
   public:
    explicit Guard(Impl& impl) : impl_(impl), lock_(impl.mutex, std::defer_lock) {
      if (impl.threaded) lock_.lock();
      ++impl.calls;
      impl.stack->set_time(monotonic_now());
    }
    ~Guard() {
      if (lock_.owns_lock()) impl_.unlock(lock_);
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    std::unique_lock<std::mutex>& lock() { return lock_; }

   private:
    Impl& impl_;
    std::unique_lock<std::mutex> lock_;
  };

  using Done = std::function<bool()>;  // asked with the lock held, by any thread
  enum class Woken : std::uint8_t { kReady, kTimeout, kSignal };
  static constexpr socket::Handle kSeveral = -1;
  static constexpr std::size_t kRungAtOnce = 64;
  // What of the kernel's a wait is for as well.
  struct KernelWait {
    std::vector<pollfd> fds;            // their revents are for done() to ask for itself
    const sigset_t* signals = nullptr;  // blocked while it sleeps; null: those that the thread blocks
  };
  // Runs the stack, or lets others run it, until `done()` or the deadline. done() changes only with the socket `on`,
  // or, with kSeveral, with anything.
  Woken wait(Guard& guard, Instant deadline, socket::Handle on, const Done& done, const KernelWait* kernel = nullptr);

  // Calls f with the stack for its own, from whatever thread. False, and f was not called, when nobody ran the event
  // loop for `patience`.
  bool visit(const std::function<void(Stack&)>& f, Duration patience);
  // In the thread of the event loop, after wake_fd was rung: lets in who asked for it.
  void serve_visit();

  // After a call from a thread that does not wait: the worker may have to get up earlier, or a wait may be over.
  void after_call();

  // A socket has changed, or is gone: whoever waits on it is to be asked.
  void on_ready(socket::Handle handle) override;
  // From now on, on_ready() is called for this socket.
  void observe(socket::Handle handle);

  struct Waiter {
    const Done* done;                    // what it waits for
    socket::Handle on;                   // or kSeveral
    int bell = -1;                       // an eventfd, for who waits for the kernel's descriptors too
    std::atomic<std::uint32_t> rung{0};  // a futex, for the others
    bool asleep = false;                 // to be rung when there is news
    bool listed = false;                 // in `news`
    Waiter* next = nullptr;              // waits on the same socket
  };

  // What there is for a socket beside the stack. Stays where it is.
  struct SocketSide {
    [[no_unique_address]] SocketSettings settings;  // whose padding takes what follows
    std::uint32_t descriptors = 0;                  // the numbers that stand for it
    Waiter* waiters = nullptr;                      // a list
    EpollMember* members = nullptr;                 // a list
  };
  SocketSide& side(socket::Handle handle);

  // waiting.cc
  void enlist(Waiter& self);
  void strike_off(Waiter& self);
  void tell_waiters();  // those whose wait is over
  void ring(Waiter& waiter);
  void unlock(std::unique_lock<std::mutex>& lock);
  static bool sleep(Waiter& waiter, Duration longest, const KernelWait* kernel);
  enum class Part : std::uint8_t { kNone, kAsked, kWorks };
  Part take_over();
  void leave();
  void pass_on();
  void wake_helper();
  bool run_stack();
  bool work_once(std::unique_lock<std::mutex>& lock, Instant until, const Done& done, const KernelWait* kernel);
  bool sleep_until_news(std::unique_lock<std::mutex>& lock, Instant until, Waiter& self, const KernelWait* kernel);
  void kick_worker();
  void start_helper();
  void helper_loop();

  Options options;
  bool threaded;
  std::vector<std::unique_ptr<link::NetDevice>> devices;  // the device and its decorators, innermost first
  std::unique_ptr<MemoryPeer> peer;
  link::NetDevice* device = nullptr;  // the outermost
  std::unique_ptr<Stack> stack;

  std::mutex mutex;
  std::vector<Waiter*> waiters;                                 // in the order in which they came
  std::deque<SocketSide> sides;                                 // by handle
  std::vector<Waiter*> news;                                    // whose socket has changed
  std::size_t several = 0;                                      // of the waiters: those of kSeveral
  std::array<std::atomic<std::uint32_t>*, kRungAtOnce> rung{};  // to be woken when the lock is free
  std::size_t rung_count = 0;
  std::uint64_t calls = 0;       // that threads have made, waits included
  std::uint64_t calls_seen = 0;  // by the worker

  // Who runs the stack. A stand-in does it only because nobody better was there, and gives way to whoever comes.
  bool worker = false;
  bool stand_in = false;
  bool give_way = false;
  bool worker_asleep = false;
  const Done* worker_done = nullptr;
  Instant worker_until;   // when it will get up
  Instant left_at;        // when the last one left
  int quick_returns = 0;  // in a row: somebody was there again at once
  Spinner spinner;
  int unasked = 0;                  // rounds without a look at the kernel's descriptors
  std::vector<pollfd> descriptors;  // of the worker
  int wake_fd = -1;

  // Who wants to look at the stack of an event loop.
  std::mutex visit_mutex;
  std::condition_variable visited;
  const std::function<void(Stack&)>* visitor = nullptr;

  bool stopping = false;
  bool helper_dozes = false;
  std::condition_variable news_for_helper;
  std::condition_variable all_left;
  std::thread helper;
  std::unique_ptr<ControlServer> control;  // may be null
};

// The first runtime opened, or the one chosen for this thread.
Runtime::Impl* current_runtime();
void announce_runtime(Runtime::Impl* impl);
void forget_runtime(Runtime::Impl* impl);

// Descriptor table: what a number, or several (sl_dup), stand for: a socket, or a set of descriptors to wait for. An
// entry never moves. `runtime` and `generation` may be read at any time, the rest with the lock of the runtime, and all
// is written with that lock.
struct Descriptor {
  std::atomic<Runtime::Impl*> runtime{nullptr};  // null: the number is not open
  std::atomic<std::uint32_t> generation{0};      // changes when the number is closed
  socket::Handle handle = -1;                    // -1: no socket
  EpollSet* epoll = nullptr;                     // null: a socket
};
// -1: there are too many.
int allocate_descriptor(Runtime::Impl& runtime, socket::Handle handle);
int allocate_descriptor(Runtime::Impl& runtime, EpollSet& epoll);
Descriptor* find_descriptor(int fd);  // null: EBADF
// The numbers left that stand for the same. A set of descriptors goes with its last one; a socket is to be closed.
enum class Left : std::uint8_t { kNone, kSome };
Left release_descriptor(int fd);
void release_descriptors_of(const Runtime::Impl& runtime);

// One call on a descriptor: the entry, and the lock of its runtime. False when the number is not open, or not of this
// kind: refuse().
class Call {
 public:
  enum class On : std::uint8_t { kSocket, kAny };
  explicit Call(int fd, On on = On::kSocket);
  explicit operator bool() const { return guard_.has_value() && refusal_ == Errno::kOk; }
  [[nodiscard]] int refuse() const { return set_errno(refusal_); }
  // While this call waited, and the lock was free, somebody closed the descriptor; the entry may be another one's now.
  [[nodiscard]] bool closed_meanwhile() const { return entry_->generation != generation_; }

  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  [[nodiscard]] Runtime::Impl& runtime() const { return *runtime_; }
  [[nodiscard]] socket::Sockets& sockets() const { return runtime_->stack->sockets(); }
  [[nodiscard]] socket::Handle handle() const { return entry_->handle; }
  [[nodiscard]] SocketSettings& settings() const;
  [[nodiscard]] EpollSet* epoll() const { return entry_->epoll; }  // null: a socket
  [[nodiscard]] Runtime::Impl::Guard& guard() { return *guard_; }

 private:
  Descriptor* entry_;
  Runtime::Impl* runtime_;
  std::optional<Runtime::Impl::Guard> guard_;
  std::uint32_t generation_ = 0;
  Errno refusal_ = Errno::kBadFile;
};

// Buffers lent by this runtime stay valid, but are no longer given back to it; it must have its lock (zero_copy.cc).
void orphan_loans_of(const Runtime::Impl& runtime);

}  // namespace sluice
