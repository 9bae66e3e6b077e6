// Two runtimes of one process, joined by an Ethernet in memory, and what the tests of the BSD calls do with them.
//
// No test here depends on speed: it waits for a state, never for a time to pass, and a watchdog ends the program when
// a wait has no end.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/time.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "drivers/memory_link.h"
#include "drivers/runtime/impl.h"
#include "sluice/socket.h"

namespace sluice::runtime_test {

constexpr std::chrono::seconds kPatience{120};
constexpr std::uint16_t kPort = 4000;
constexpr std::uint16_t kDeafPort = 4001;  // nobody listens there

inline sockaddr_in address(const char* host, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  ::inet_pton(AF_INET, host, &a.sin_addr);
  return a;
}
inline const sockaddr* generic(const sockaddr_in& a) {
  return reinterpret_cast<const sockaddr*>(&a);
}

// Ends the program when the test has not ended in time: a blocked thread cannot be made to fail.
class Watchdog {
 public:
  Watchdog();
  ~Watchdog();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

// What a call returned, and errno where that was -1.
struct Outcome {
  long value = 0;
  int error = 0;
  bool operator==(const Outcome&) const = default;
};
inline Outcome failed(int error) {
  return {-1, error};
}
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

template <typename Call>
Outcome outcome_of(Call&& call) {
  errno = 0;
  const long value = static_cast<long>(call());
  return {value, value < 0 ? errno : 0};
}

// A call in a thread of its own. get() waits for its end.
class Background {
 public:
  template <typename Call>
  explicit Background(Call call)
      : thread_([this, call = std::move(call)] { outcome_ = outcome_of(call), done_ = true; }) {}
  ~Background() {
    if (thread_.joinable()) thread_.join();
  }
  Outcome get() {
    thread_.join();
    return outcome_;
  }
  [[nodiscard]] bool done() const { return done_; }
  pthread_t native() { return thread_.native_handle(); }

 private:
  Outcome outcome_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

template <typename Condition>
void wait_until(Condition&& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void set_timeout(int fd, int name, std::chrono::milliseconds timeout);
void set_int(int fd, int level, int name, int value);

class TwoRuntimes : public testing::Test {
 protected:
  static constexpr const char* kServerHost = "10.0.0.1";
  static constexpr const char* kClientHost = "10.0.0.2";
  static constexpr const char* kNobody = "10.0.0.9";  // does not answer ARP

  explicit TwoRuntimes(Duration spin = Options().spin);
  ~TwoRuntimes() override = default;

  // A socket of one side. The calling thread may be any.
  static int socket_of(Runtime& runtime, int type);
  // The same, with this number, which must be free.
  static int socket_with_number(int number, Runtime& runtime, int type);
  int listener(std::uint16_t port = kPort, int type = SOCK_STREAM);
  struct Pair {
    int server = -1;
    int client = -1;
  };
  Pair connected();  // over TCP, and the listener closed again
  int connect_to_server(std::uint16_t port = kPort);
  static int blocked(Runtime& runtime);  // threads in calls on this side
  static void wait_for_blocked(Runtime& runtime, int threads);
  // Until the readiness of the descriptor has all these bits.
  static short wait_for_events(int fd, short events);

  Watchdog watchdog_;
  drivers::SharedMemoryLink link_;
  std::unique_ptr<Runtime> server_;
  std::unique_ptr<Runtime> client_;
};

}  // namespace sluice::runtime_test
