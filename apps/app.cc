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
}

std::unique_ptr<Runtime> open_runtime(const Common& common, Options::Threads threads) {
  Options options = common.runtime;
  options.threads = threads;
  if (options.device.empty()) {
    fprintf(stderr, "sluice: no device; try --dev mem --addr 10.0.0.1/24, which needs no privilege (`sluice help devices`)\n");
    return nullptr;
  }
  auto opened = Runtime::open(options);
  if (opened) return std::move(*opened);
  fprintf(stderr, "sluice: %s\n", opened.error().message.c_str());
  return nullptr;
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
  for (const auto& [name, value] : counters.items()) fprintf(stderr, "%14llu  %s\n", value.get<unsigned long long>(), name.c_str());
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto d = static_cast<Drop>(i);
    if (!drops.contains(name_of(d))) continue;
    fprintf(stderr, "%14llu  dropped: %s (%s)\n", drops[name_of(d)].get<unsigned long long>(), name_of(d), meaning_of(d));
  }
}

void handle_signals(EventLoop& loop, Runtime& runtime, const Common& common) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  loop.watch(fd, POLLIN, [&loop, &runtime, &common, fd](short) {
    signalfd_siginfo info{};
    if (::read(fd, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGUSR1) return print_statistics(runtime, common.json);
    if (common.statistics) print_statistics(runtime, common.json);
    loop.stop();
  });
}

void catch_interrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_seen = true; };  // no SA_RESTART: blocking calls return
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
bool interrupted() { return interrupt_seen; }

void linger_until_sent(Runtime& runtime) {
  const Instant end = runtime.now() + 5_s;
  const net::Socket idle(sl_socket(AF_INET, SOCK_DGRAM, 0));
  for (bool busy = true; busy && runtime.now() < end && !interrupted();) {
    busy = false;
    runtime.with_stack([&](Stack& stack) {
      stack.tcp().visit_connections(
          [](void* arg, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
            const bool over = info.state == tcp::State::kTimeWait || info.state == tcp::State::kListen ||
                              info.state == tcp::State::kFinWait2 || info.state == tcp::State::kSynReceived;
            if (!over) *static_cast<bool*>(arg) = true;
          },
          &busy);
    });
    pollfd p{idle.fd(), POLLIN, 0};
    if (busy) (void)sl_poll(&p, 1, 10);  // runs the stack meanwhile
  }
}

std::string describe(Errno error) { return strerror(static_cast<int>(error)); }

}  // namespace sluice::apps
