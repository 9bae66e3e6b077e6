// EventLoop: watching and unwatching inside callbacks, timers, and stop() from another thread. The loop's runtime has
// no lock; its peer is a runtime with threads at the other end of the link.
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

class Loop : public TwoRuntimes {
 protected:
  Loop() {
    server_.reset();
    Options options;
    options.addresses = {"10.0.0.1/24"};
    options.threads = Options::Threads::kEventLoop;
    server_ = std::move(*Runtime::open(options, link_.end(0)));
    loop_.emplace(*server_);
  }
  ~Loop() override { loop_.reset(); }

  template <typename Condition>
  void run_until(Condition&& condition) {
    while (!condition()) (void)loop_->run_once(5_ms);
  }
  // The server's end is accepted by the loop.
  Pair connected_through_loop(std::uint16_t port = kPort) {
    Pair pair;
    const int listening = listener(port, SOCK_STREAM | SOCK_NONBLOCK);
    loop_->watch(listening, POLLIN,
                 [&](short) { pair.server = sl_accept4(listening, nullptr, nullptr, SOCK_NONBLOCK); });
    Background connecting([&] { return connect_to_server(port); });
    run_until([&] { return pair.server >= 0 && connecting.done(); });
    pair.client = static_cast<int>(connecting.get().value);
    loop_->unwatch(listening);
    EXPECT_EQ(sl_close(listening), 0);
    return pair;
  }

  std::optional<EventLoop> loop_;
};

TEST_F(Loop, EchoesToABlockingClient) {
  const Pair pair = connected_through_loop();
  loop_->watch(pair.server, POLLIN, [&](short revents) {
    EXPECT_EQ(revents & POLLIN, POLLIN);
    char buffer[64];
    const ssize_t n = sl_recv(pair.server, buffer, sizeof buffer, 0);
    if (n > 0) {
      EXPECT_EQ(sl_send(pair.server, buffer, static_cast<std::size_t>(n), 0), n);
      return;
    }
    loop_->unwatch(pair.server);
    EXPECT_EQ(sl_close(pair.server), 0);
    loop_->stop();
  });
  Background client([&] {
    char got[5];
    long failures = 0;
    for (int i = 0; i < 20; ++i) {
      if (sl_send(pair.client, "hello", 5, 0) != 5 || sl_recv(pair.client, got, 5, MSG_WAITALL) != 5) ++failures;
    }
    return failures + sl_close(pair.client);
  });
  loop_->run();
  EXPECT_EQ(client.get(), (Outcome{0}));
}

TEST_F(Loop, WatchingIsLevelTriggered) {
  const Pair pair = connected_through_loop();
  ASSERT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  std::string got;
  loop_->watch(pair.server, POLLIN, [&](short) {
    char byte = 0;
    if (sl_recv(pair.server, &byte, 1, 0) == 1) got += byte;
  });
  run_until([&] { return got.size() == 3; });
  EXPECT_EQ(got, "abc");
}

TEST_F(Loop, CallbackReplacesItself) {
  const Pair pair = connected_through_loop();
  std::string calls;
  loop_->watch(pair.server, POLLOUT, [&](short) {
    calls += 'a';
    loop_->watch(pair.server, POLLOUT, [&](short) { calls += 'b'; });
  });
  run_until([&] { return calls.size() >= 3; });
  EXPECT_EQ(calls.substr(0, 3), "abb");
}

TEST_F(Loop, CallbackChangesItsEvents) {
  const Pair pair = connected_through_loop();
  int calls = 0;
  loop_->watch(pair.server, POLLOUT, [&](short revents) {
    ++calls;
    if (revents == POLLOUT) loop_->set_events(pair.server, POLLIN);
    if (revents == POLLIN) loop_->set_events(pair.server, 0);
  });
  run_until([&] { return calls == 1; });
  for (int i = 0; i < 3; ++i) (void)loop_->run_once(Duration());
  EXPECT_EQ(calls, 1);
  ASSERT_EQ(sl_send(pair.client, "x", 1, 0), 1);
  run_until([&] { return calls == 2; });
  for (int i = 0; i < 3; ++i) (void)loop_->run_once(Duration());
  EXPECT_EQ(calls, 2);
}

// Both are ready in the same round. Whoever is called first ends the other, which then must not be called.
TEST_F(Loop, CallbackUnwatchesAndClosesAnother) {
  const Pair one = connected_through_loop(), two = connected_through_loop();
  int calls = 0;
  const auto end = [&](int other) {
    ++calls;
    loop_->unwatch(other);
    EXPECT_EQ(sl_close(other), 0);
  };
  loop_->watch(one.server, POLLOUT, [&](short) { loop_->unwatch(one.server), end(two.server); });
  loop_->watch(two.server, POLLOUT, [&](short) { loop_->unwatch(two.server), end(one.server); });
  run_until([&] { return calls > 0; });
  for (int i = 0; i < 3; ++i) (void)loop_->run_once(Duration());
  EXPECT_EQ(calls, 1);
}

TEST_F(Loop, CallbackClosesItselfAndWatchesTheSameNumberAgain) {
  const Pair pair = connected_through_loop();
  int fresh = -1;
  short seen = 0;
  loop_->watch(pair.server, POLLOUT, [&](short) {
    loop_->unwatch(pair.server);
    EXPECT_EQ(sl_close(pair.server), 0);
    fresh = socket_with_number(pair.server, *server_, SOCK_STREAM | SOCK_NONBLOCK);
    loop_->watch(fresh, POLLIN, [&](short revents) { seen = revents, loop_->unwatch(fresh); });
  });
  run_until([&] { return seen != 0; });
  EXPECT_EQ(seen, POLLHUP);
}

TEST_F(Loop, ClosedWithoutUnwatchingIsForgottenWhenTheNumberIsWatchedAgain) {
  const Pair pair = connected_through_loop();
  int old_calls = 0, new_calls = 0;
  loop_->watch(pair.server, POLLIN, [&](short) { ++old_calls; });
  ASSERT_EQ(sl_close(pair.server), 0);
  const int fresh = socket_with_number(pair.server, *server_, SOCK_STREAM | SOCK_NONBLOCK);
  loop_->watch(fresh, POLLIN, [&](short) { ++new_calls; });
  run_until([&] { return new_calls > 0; });
  EXPECT_EQ(old_calls, 0);
}

TEST_F(Loop, KernelDescriptors) {
  const int event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const std::uint64_t one = 1;
  int calls = 0;
  loop_->watch(event, POLLIN, [&](short revents) {
    EXPECT_EQ(revents, POLLIN);
    if (++calls == 2) loop_->unwatch(event);  // it is still readable
  });
  for (int i = 0; i < 3; ++i) (void)loop_->run_once(Duration());
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(::write(event, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  run_until([&] { return calls == 2; });
  for (int i = 0; i < 3; ++i) (void)loop_->run_once(Duration());
  EXPECT_EQ(calls, 2);
  ::close(event);
}

// --- timers ----------------------------------------------------------------------------------------------------------

TEST_F(Loop, TimersRunInTheirOrderAndNotBeforeTheirTime) {
  std::string order;
  const auto before = std::chrono::steady_clock::now();
  loop_->after(20_ms, [&] {
    order += 'c';
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(20));
    loop_->stop();
  });
  loop_->after(Duration(), [&] { order += 'a'; });
  loop_->after(1_ms, [&] { order += 'b'; });
  loop_->run();
  EXPECT_EQ(order, "abc");
}

TEST_F(Loop, TimersCancelAndStartOthersInCallbacks) {
  std::string order;
  const auto never = loop_->after(2_ms, [&] { order += 'x'; });
  loop_->after(1_ms, [&] {
    order += 'a';
    loop_->cancel(never);
    loop_->after(Duration(), [&] {
      order += 'b';
      loop_->after(5_ms, [&] { loop_->stop(); });
    });
  });
  loop_->cancel(never + 100);  // none such
  loop_->run();
  EXPECT_EQ(order, "ab");
}

// --- stop ------------------------------------------------------------------------------------------------------------

TEST_F(Loop, StopFromAnotherThreadWakesTheLoop) {
  std::atomic<bool> running{false};
  loop_->after(Duration(), [&] { running = true; });
  Background stopping([&] {
    wait_until([&] { return running.load(); });
    loop_->stop();
    return 0;
  });
  loop_->run();
  EXPECT_EQ(stopping.get(), (Outcome{0}));
}

TEST_F(Loop, StopBeforeRunIsNotLost) {
  Background stopping([&] { return loop_->stop(), 0; });
  loop_->run();  // whichever of them comes first
  bool ran = false;
  loop_->after(Duration(), [&] { ran = true, loop_->stop(); });
  loop_->run();  // a stop ends one run
  EXPECT_TRUE(ran);
}

TEST_F(Loop, RuntimeEndsWithConnectionsOpenAndWatched) {
  const Pair pair = connected_through_loop();
  loop_->watch(pair.server, POLLIN, [](short) {});
  loop_.reset();
  server_.reset();
  char byte = 0;
  EXPECT_EQ(sl_recv(pair.client, &byte, 1, 0), 0);
  EXPECT_EQ(outcome_of([&] { return sl_close(pair.server); }), failed(EBADF));
}

}  // namespace
}  // namespace sluice::runtime_test
