// A running stack: device, clock, lock. What the command line's common options choose is in Options.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "drivers/failure.h"
#include "sluice/socket.h"
#include "stack/base/counters.h"
#include "stack/base/result.h"
#include "stack/stack.h"

namespace sluice {

struct Options {
  // "tap:NAME" "tun:NAME" "live:IFACE" "pcap:IN[,OUT]" "mem" (see `sluice help devices`)
  std::string device;
  std::vector<std::string> addresses;  // "10.0.0.2/24"
  std::string gateway;
  std::string mac;
  std::uint32_t mtu = 0;  // 0: the device's
  // File that every frame in and out is written to: pcap, or when its name ends with .pcapng, with the stack's
  // decisions as comments. Empty: none.
  std::string capture;
  std::string impair;  // "loss=1%,delay=10ms,..." (see drivers/impair.h); empty: none
  // Unix socket on which other processes of this user may ask for connections, counters, routes ... (docs/CONTROL.md);
  // empty: none.
  std::string control;
  // What names are looked up in: a hosts(5) file, then the name servers that a resolv.conf(5) has.
  std::string hosts = "/etc/hosts";
  std::string resolver = "/etc/resolv.conf";
  tcp::TcpConfig tcp{};    // the mechanisms of TCP, each with its switch
  std::string congestion;  // name; empty: that of `tcp`
  std::uint64_t seed = 0;  // 0: from the system's entropy
  // kHost: the kernel behind a TAP or TUN cuts our large segments, joins those for us, and completes checksums.
  // kNone: all of that is done here, frame by frame; so with `impair`, which is to meet frames as a wire carries them.
  enum class Segmentation : std::uint8_t { kHost, kNone } segmentation = Segmentation::kHost;
  // Whether TCP segments that arrive in a row are joined before they are looked at, where the device does not do it.
  ip::InterfaceConfig::Coalescing coalescing = ip::InterfaceConfig::Coalescing::kOn;
  // kEventLoop: one thread only, no lock is taken. kThreads: any thread may call; whoever waits, works.
  enum class Threads : std::uint8_t { kThreads, kEventLoop } threads = Threads::kThreads;
  // How long to look for frames before sleeping, once something has happened, as long as that pays. 0: sleep at once.
  Duration spin = 50_us;
  EventSink* events = nullptr;
};

// The value for tcp::TcpConfig::congestion; the failure lists the names there are.
Result<std::uint8_t, Failure> congestion_named(const std::string& name);

class Runtime {
 public:
  // Opens the device, builds the stack and gives it its addresses.
  static Result<std::unique_ptr<Runtime>, Failure> open(const Options& options);
  // A stack on a device that the caller made; the device must outlive the runtime.
  static Result<std::unique_ptr<Runtime>, Failure> open(const Options& options, link::NetDevice& device);
  // Closes the sockets that are left: calls blocked in them return EBADF. No other thread may begin a call meanwhile,
  // and an event loop has to end before its runtime.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  [[nodiscard]] sl_runtime* c_handle();  // for sl_use()
  [[nodiscard]] Instant now() const;     // CLOCK_MONOTONIC
  // Runs f with the lock held; the way to look at the stack (counters, neighbours, connections).
  void with_stack(const std::function<void(Stack&)>& f);
  [[nodiscard]] const Counters& counters() const;  // without the lock: for the thread that runs the event loop
  [[nodiscard]] bool device_finished() const;      // a capture has been replayed to its end

  struct Impl;
  [[nodiscard]] Impl& impl();  // for the parts of the runtime

 private:
  explicit Runtime(std::unique_ptr<Impl> impl);
  static Result<std::unique_ptr<Runtime>, Failure> finish_open(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Callbacks instead of blocking calls, on one thread, for a runtime with Threads::kEventLoop. Sockets are made with
// sl_socket(... SOCK_NONBLOCK ...).
class EventLoop {
 public:
  explicit EventLoop(Runtime& runtime);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  using Callback = std::function<void(short revents)>;  // POLLIN, POLLOUT, POLLERR, POLLHUP
  // Calls back whenever the descriptor (sluice's or the kernel's) is ready for `events`; level-triggered.
  // Watching again changes events and callback. A socket has one watch, by the number that was watched last.
  void watch(int fd, short events, Callback callback);
  void set_events(int fd, short events);
  void unwatch(int fd);  // before closing it

  using TimerId = std::uint64_t;
  TimerId after(Duration delay, std::function<void()> callback);
  void cancel(TimerId id);

  void run();                            // until stop(), be it called before; a stop() ends one run()
  bool run_once(Duration longest_wait);  // one round; false after stop()
  void stop();                           // from any thread

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
