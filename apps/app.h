// What all subcommands share: common options, a running stack, signals, statistics.
#pragma once

#include <signal.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitUnavailable = 77;  // the environment lacks something; the message names the remedy

struct Common {
  Options runtime;
  bool json = false;
  bool statistics = false;  // print counters at the end
};

// Opens the runtime, or says on stderr why not; the error is the exit code then.
Result<std::unique_ptr<Runtime>, int> open_runtime(const Common& common, Options::Threads threads);

// An IPv4 address in text; a message on stderr and false when it is none (there is no name resolution).
bool parse_host(const std::string& text, wire::Address& out);

// Counters and drops that are not zero, as a table or JSON, to stderr so that data on stdout stays clean.
void print_statistics(Runtime& runtime, bool json);

// A command that uses blocking calls. SIGINT and SIGTERM end the call that waits (EINTR) and are seen by interrupted();
// SIGUSR1 prints the statistics. At its end what was sent is given time to be acknowledged.
class BlockingSession {
 public:
  static Result<std::unique_ptr<BlockingSession>, int> open(const Common& common);
  ~BlockingSession();
  BlockingSession(const BlockingSession&) = delete;
  BlockingSession& operator=(const BlockingSession&) = delete;
  [[nodiscard]] Runtime& runtime() { return *runtime_; }
  void run_for(Duration time);  // sleeps, the stack goes on

 private:
  explicit BlockingSession(const Common& common);
  void print_on_signal();
  void linger_until_sent();

  const Common& common_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<bool> ending_{false};
  std::thread signals_;
};
bool interrupted();

// Whether a connection still has something to send, or to be told that it has arrived.
bool connections_busy(Runtime& runtime);

// A command that works by callbacks, on one thread. SIGINT and SIGTERM end run(), SIGUSR1 prints the statistics.
class LoopSession {
 public:
  static Result<std::unique_ptr<LoopSession>, int> open(const Common& common);
  LoopSession(const LoopSession&) = delete;
  LoopSession& operator=(const LoopSession&) = delete;
  ~LoopSession();
  [[nodiscard]] Runtime& runtime() { return *runtime_; }
  [[nodiscard]] EventLoop& loop() { return loop_; }
  int run();  // the exit code
  void linger(Duration longest);  // until what was sent on closed connections is acknowledged

 private:
  LoopSession(const Common& common, std::unique_ptr<Runtime> runtime);
  void on_signal();
  void stop_after_device();
  void stop_when_quiet();

  const Common& common_;
  std::unique_ptr<Runtime> runtime_;
  EventLoop loop_;
  int signal_fd_ = -1;
};

// Listening sockets of a server: on any address, not blocking. An empty one when the port cannot be had; errno says
// why.
net::Socket listen_stream(std::uint16_t port);
net::Socket bind_datagram(std::uint16_t port);

std::string describe(Errno error);

}  // namespace sluice::apps
