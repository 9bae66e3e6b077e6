#include "apps/app.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>

namespace sluice::apps {

namespace {
std::atomic<bool> interrupt_seen{false};

void block(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

Result<std::unique_ptr<Runtime>, int> open_runtime(const Common& common, Options::Threads threads) {
  Options options = common.runtime;
  options.threads = threads;
  if (options.device.empty()) {
    fprintf(stderr,
            "sluice: --dev is missing; `--dev mem --addr 10.0.0.1/24` needs no privilege (`sluice help devices`)\n");
    return fail(kExitUsage);
  }
  if (options.addresses.empty()) {
    fprintf(stderr, "sluice: --addr is missing: our address with its length, like --addr 10.0.0.2/24\n");
    return fail(kExitUsage);
  }
  auto opened = Runtime::open(options);
  if (opened) return std::move(*opened);
  fprintf(stderr, "sluice: %s\n", opened.error().message.c_str());
  return fail(opened.error().cause == Failure::Cause::kEnvironment ? kExitUnavailable : kExitUsage);
}

bool parse_host(const std::string& text, wire::Address& out) {
  const auto address = wire::parse_address(text);
  if (address && address->is_v4()) {
    out = *address;
    return true;
  }
  fprintf(stderr, "sluice: '%s' is not an IPv4 address; names are not resolved here\n", text.c_str());
  return false;
}

bool connections_busy(Runtime& runtime) {
  bool busy = false;
  runtime.with_stack([&](Stack& stack) {
    stack.tcp().visit_connections(
        [](void* arg, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
          const bool over = info.state == tcp::State::kTimeWait || info.state == tcp::State::kListen ||
                            info.state == tcp::State::kFinWait2 || info.state == tcp::State::kSynReceived;
          if (!over) *static_cast<bool*>(arg) = true;
        },
        &busy);
  });
  return busy;
}

void print_statistics(Runtime& runtime, bool json) {
  nlohmann::ordered_json counters;
  nlohmann::ordered_json drops;
  runtime.with_stack([&](Stack& stack) {
    for (std::size_t i = 0; i < kCounterCount; ++i) {
      const auto c = static_cast<Counter>(i);
      if (stack.counters().get(c) != 0) counters[name_of(c)] = stack.counters().get(c);
    }
    for (std::size_t i = 0; i < kDropCount; ++i) {
      const auto d = static_cast<Drop>(i);
      if (stack.counters().get(d) != 0) drops[name_of(d)] = stack.counters().get(d);
    }
  });
  if (json) {
    fprintf(stderr, "%s\n", nlohmann::ordered_json{{"counters", counters}, {"drops", drops}}.dump().c_str());
    return;
  }
  for (const auto& [name, value] : counters.items())
    fprintf(stderr, "%14llu  %s\n", value.get<unsigned long long>(), name.c_str());
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto d = static_cast<Drop>(i);
    if (!drops.contains(name_of(d))) continue;
    fprintf(stderr, "%14llu  dropped: %s (%s)\n", drops[name_of(d)].get<unsigned long long>(), name_of(d),
            meaning_of(d));
  }
}

// --- blocking commands
// ---------------------------------------------------------------------------------------------------

bool interrupted() {
  return interrupt_seen;
}

Result<std::unique_ptr<BlockingSession>, int> BlockingSession::open(const Common& common) {
  block(SIGUSR1);  // before there are threads: they inherit it
  std::unique_ptr<BlockingSession> session(new BlockingSession(common));
  auto runtime = open_runtime(common, Options::Threads::kThreads);
  if (!runtime) return fail(runtime.error());
  session->runtime_ = std::move(*runtime);
  session->signals_ = std::thread([s = session.get()] { s->print_on_signal(); });
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_seen = true; };  // no SA_RESTART: blocking calls return
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return session;
}

BlockingSession::BlockingSession(const Common& common) : common_(common) {}

BlockingSession::~BlockingSession() {
  if (runtime_ == nullptr) return;
  linger_until_sent();
  if (common_.statistics) print_statistics(*runtime_, common_.json);
  ending_ = true;
  pthread_kill(signals_.native_handle(), SIGUSR1);
  signals_.join();
}

void BlockingSession::print_on_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (int signal = 0; sigwait(&set, &signal) == 0 && !ending_;) print_statistics(*runtime_, common_.json);
}

void BlockingSession::run_for(Duration time) {
  const net::Socket idle(sl_socket(AF_INET, SOCK_DGRAM, 0));
  pollfd p{idle.fd(), POLLIN, 0};
  (void)sl_poll(&p, 1, static_cast<int>(time.to_millis()));
}

// When the process ends, its connections end with it: what was sent is given 5 s to be acknowledged.
void BlockingSession::linger_until_sent() {
  const Instant end = runtime_->now() + 5_s;
  while (connections_busy(*runtime_) && runtime_->now() < end && !interrupted()) run_for(10_ms);
}

// --- commands by callbacks
// ---------------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<LoopSession>, int> LoopSession::open(const Common& common) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) block(signal);
  auto runtime = open_runtime(common, Options::Threads::kEventLoop);
  if (!runtime) return fail(runtime.error());
  return std::unique_ptr<LoopSession>(new LoopSession(common, std::move(*runtime)));
}

LoopSession::LoopSession(const Common& common, std::unique_ptr<Runtime> runtime)
    : common_(common), runtime_(std::move(runtime)), loop_(*runtime_) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, signal);
  signal_fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  loop_.watch(signal_fd_, POLLIN, [this](short) { on_signal(); });
}

LoopSession::~LoopSession() {
  loop_.unwatch(signal_fd_);
  ::close(signal_fd_);
}

void LoopSession::on_signal() {
  signalfd_siginfo info{};
  if (::read(signal_fd_, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo != SIGUSR1) return loop_.stop();
  print_statistics(*runtime_, common_.json);
}

// A capture comes to its end, other devices do not.
void LoopSession::stop_after_device() {
  if (runtime_->device_finished()) return loop_.stop();
  loop_.after(200_ms, [this] { stop_after_device(); });
}

int LoopSession::run() {
  if (common_.runtime.device.starts_with("pcap:")) loop_.after(200_ms, [this] { stop_after_device(); });
  loop_.run();
  if (common_.statistics) print_statistics(*runtime_, common_.json);
  return kExitOk;
}

void LoopSession::stop_when_quiet() {
  if (!connections_busy(*runtime_)) return loop_.stop();
  loop_.after(5_ms, [this] { stop_when_quiet(); });
}

void LoopSession::linger(Duration longest) {
  loop_.after(longest, [this] { loop_.stop(); });
  stop_when_quiet();
  loop_.run();
}

net::Socket listen_stream(std::uint16_t port) {
  constexpr int kBacklog = 1024;
  net::Socket s(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  const int on = 1;
  (void)sl_setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in a = net::to_sockaddr({wire::Ipv4Address::any(), port});
  if (sl_bind(s.fd(), net::generic(a), sizeof a) < 0 || sl_listen(s.fd(), kBacklog) < 0) return {};
  return s;
}

net::Socket bind_datagram(std::uint16_t port) {
  net::Socket s(sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  const sockaddr_in a = net::to_sockaddr({wire::Ipv4Address::any(), port});
  if (sl_bind(s.fd(), net::generic(a), sizeof a) < 0) return {};
  return s;
}

std::string describe(Errno error) {
  return strerror(static_cast<int>(error));
}

}  // namespace sluice::apps
