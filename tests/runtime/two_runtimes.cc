#include "tests/runtime/two_runtimes.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <ostream>

namespace sluice::runtime_test {

Watchdog::Watchdog() {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // a test's signals are for its own threads
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kPatience, [this] { return over_; })) return;
    fprintf(stderr, "this test has not ended in %lld s\n", static_cast<long long>(kPatience.count()));
    abort();
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  out << outcome.value;
  return outcome.value < 0 ? out << " (" << ::strerrorname_np(outcome.error) << ")" : out;
}

void set_timeout(int fd, int name, std::chrono::milliseconds timeout) {
  const timeval t{timeout.count() / 1000, timeout.count() % 1000 * 1000};
  ASSERT_EQ(sl_setsockopt(fd, SOL_SOCKET, name, &t, sizeof t), 0);
}
void set_int(int fd, int level, int name, int value) {
  ASSERT_EQ(sl_setsockopt(fd, level, name, &value, sizeof value), 0);
}

namespace {
std::unique_ptr<Runtime> open_on(link::NetDevice& device, const char* prefix, Duration spin) {
  Options options;
  options.spin = spin;
  options.addresses = {prefix};
  auto runtime = Runtime::open(options, device);
  return runtime ? std::move(*runtime) : nullptr;
}
}  // namespace

TwoRuntimes::TwoRuntimes(Duration spin)
    : server_(open_on(link_.end(0), "10.0.0.1/24", spin)), client_(open_on(link_.end(1), "10.0.0.2/24", spin)) {}

int TwoRuntimes::socket_of(Runtime& runtime, int type) {
  sl_use(runtime.c_handle());
  const int fd = sl_socket(AF_INET, type, 0);
  sl_use(nullptr);
  EXPECT_GE(fd, SL_FD_BASE);
  return fd;
}

int TwoRuntimes::socket_with_number(int number, Runtime& runtime, int type) {
  int fd = socket_of(runtime, type);
  while (fd < number) fd = socket_of(runtime, type);  // the lowest free one each time
  EXPECT_EQ(fd, number);
  return fd;
}

int TwoRuntimes::listener(std::uint16_t port, int type) {
  const int fd = socket_of(*server_, type);
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const sockaddr_in a = address(kServerHost, port);
  EXPECT_EQ(sl_bind(fd, generic(a), sizeof a), 0);
  EXPECT_EQ(sl_listen(fd, 128), 0);
  return fd;
}

int TwoRuntimes::connect_to_server(std::uint16_t port) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  const sockaddr_in a = address(kServerHost, port);
  EXPECT_EQ(sl_connect(fd, generic(a), sizeof a), 0) << strerrorname_np(errno);
  return fd;
}

TwoRuntimes::Pair TwoRuntimes::connected() {
  const int listening = listener();
  Pair pair;
  pair.client = connect_to_server();
  pair.server = sl_accept(listening, nullptr, nullptr);
  EXPECT_GE(pair.server, SL_FD_BASE);
  EXPECT_EQ(sl_close(listening), 0);
  return pair;
}

void TwoRuntimes::wait_for_blocked(Runtime& runtime, int threads) {
  wait_until([&] { return blocked(runtime) == threads; });
}

int TwoRuntimes::blocked(Runtime& runtime) {
  const Runtime::Impl::Guard guard(runtime.impl());
  return static_cast<int>(runtime.impl().waiters.size());
}

short TwoRuntimes::wait_for_events(int fd, short events) {
  pollfd p{fd, events, 0};
  wait_until([&] { return sl_poll(&p, 1, 1) >= 0 && (p.revents & events) == events; });
  return p.revents;
}

}  // namespace sluice::runtime_test
