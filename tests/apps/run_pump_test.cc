// What carries the bytes of one connection between a program's end of a pair and the stack: both ways, in order,
// bounded, and with every kind of end. The program is played by this thread, the peer too, on a runtime of its own.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "apps/run/kernel_fd.h"
#include "apps/run/pump.h"
#include "tests/runtime/two_runtimes.h"

namespace sluice::apps::run {
namespace {

using runtime_test::failed;
using runtime_test::Outcome;
using runtime_test::outcome_of;
using Bytes = std::vector<std::uint8_t>;

class RunPump : public runtime_test::TwoRuntimes {
 protected:
  RunPump() : pair_(connected()), stack_(pair_.server), peer_(pair_.client) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    ours_ = KernelFd(ends[0]);
    program_ = KernelFd(ends[1]);
    EXPECT_EQ(sl_fcntl(stack_.fd(), F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(sl_fcntl(peer_.fd(), F_SETFL, O_NONBLOCK), 0);
    pump_.emplace(ours_.get(), stack_.fd(), spare_);
  }
  ~RunPump() override { pump_.reset(), spare_.reset(); }

  // One turn of the loop that a pump lives in: each side is looked at for what the pump wants to hear of it.
  void turn() {
    if (const auto wanted = pump_->kernel_events()) {
      pollfd p{ours_.get(), static_cast<short>(*wanted), 0};
      if (::poll(&p, 1, 0) == 1) pump_->on_kernel(p.revents);
    }
    if (const auto wanted = pump_->stack_events()) {
      pollfd p{stack_.fd(), static_cast<short>(*wanted), 0};
      if (sl_poll(&p, 1, 1) == 1) pump_->on_stack(p.revents);
    }
  }
  template <typename Condition>
  void turn_until(Condition&& condition) {
    while (!condition()) turn();  // the watchdog ends what has no end
  }
  void turn_until_over() {
    turn_until([this] { return pump_->outcome() != Pump::Outcome::kGoing; });
  }
  // As many turns as let what can move come to rest.
  void settle() {
    for (int i = 0; i < 200; ++i) turn();
  }

  // Reads what there is; false at the end.
  static bool read_some(const KernelFd& from, Bytes& to) {
    std::uint8_t buffer[8192];
    const ssize_t n = ::recv(from.get(), buffer, sizeof buffer, 0);
    if (n > 0) to.insert(to.end(), buffer, buffer + n);
    return n != 0;
  }
  static bool read_some(const net::Socket& from, Bytes& to) {
    std::uint8_t buffer[8192];
    const ssize_t n = sl_recv(from.fd(), buffer, sizeof buffer, 0);
    if (n > 0) to.insert(to.end(), buffer, buffer + n);
    return n != 0;
  }
  // Writes until there is no more room; how many bytes.
  std::size_t fill_from_program() {
    std::size_t written = 0;
    for (ssize_t n = 0; n >= 0; written += static_cast<std::size_t>(n)) {
      const Bytes piece = numbered(written, 10'000);
      n = ::send(program_.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
      if (n < 0) break;
    }
    return written;
  }
  std::size_t fill_from_peer() {
    std::size_t written = 0;
    for (int full = 0; full < 100;) {  // until nothing has moved for a while
      const Bytes piece = numbered(written, 10'000);
      const ssize_t n = sl_send(peer_.fd(), piece.data(), piece.size(), 0);
      if (n > 0) written += static_cast<std::size_t>(n);
      full = n > 0 ? 0 : full + 1;
      turn();
    }
    return written;
  }
  // Bytes that say where in the stream they stand.
  static Bytes numbered(std::size_t from, std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>((from + i) * 2654435761u >> 13);
    return bytes;
  }

  Pair pair_;
  net::Socket stack_, peer_;
  KernelFd ours_, program_;
  net::Loan spare_;
  std::optional<Pump> pump_;
};

TEST_F(RunPump, CarriesBothWays) {
  ASSERT_EQ(::send(program_.get(), "question", 8, 0), 8);
  Bytes heard, told;
  turn_until([&] { return read_some(peer_, heard), heard.size() == 8; });
  EXPECT_EQ(std::string(heard.begin(), heard.end()), "question");
  ASSERT_EQ(sl_send(peer_.fd(), "answer", 6, 0), 6);
  turn_until([&] { return read_some(program_, told), told.size() == 6; });
  EXPECT_EQ(std::string(told.begin(), told.end()), "answer");
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kGoing);
}

// The program says that it will write no more, and goes on reading; then the peer ends.
TEST_F(RunPump, HalfClosedByTheProgram) {
  ASSERT_EQ(::send(program_.get(), "last", 4, 0), 4);
  ASSERT_EQ(::shutdown(program_.get(), SHUT_WR), 0);
  Bytes heard;
  turn_until([&] { return !read_some(peer_, heard); });
  EXPECT_EQ(heard.size(), 4u);
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kGoing);
  ASSERT_EQ(sl_send(peer_.fd(), "still", 5, 0), 5);
  Bytes told;
  turn_until([&] { return read_some(program_, told), told.size() == 5; });
  ASSERT_EQ(sl_shutdown(peer_.fd(), SHUT_WR), 0);
  turn_until_over();
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kClosed);
  EXPECT_FALSE(read_some(program_, told)) << "the program does not see the end";
}

TEST_F(RunPump, HalfClosedByThePeer) {
  ASSERT_EQ(sl_send(peer_.fd(), "last", 4, 0), 4);
  ASSERT_EQ(sl_shutdown(peer_.fd(), SHUT_WR), 0);
  Bytes told, heard;
  turn_until([&] { return !read_some(program_, told); });
  EXPECT_EQ(told.size(), 4u);
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kGoing);
  ASSERT_EQ(::send(program_.get(), "still", 5, 0), 5);
  turn_until([&] { return read_some(peer_, heard), heard.size() == 5; });
  program_.reset();
  turn_until_over();
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kClosed);
}

// A program that writes a lot and is gone: all of it arrives.
TEST_F(RunPump, WhatWasWrittenBeforeTheEndArrives) {
  const std::size_t written = fill_from_program();
  program_.reset();
  Bytes heard;
  turn_until([&] {
    (void)read_some(peer_, heard);
    return pump_->outcome() != Pump::Outcome::kGoing;
  });
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kClosed);
  pump_.reset();
  stack_.reset();
  runtime_test::wait_until([&] { return !read_some(peer_, heard); });
  EXPECT_EQ(heard, numbered(0, written));
}

TEST_F(RunPump, TheProgramLeavesSomethingUnread) {
  ASSERT_EQ(sl_send(peer_.fd(), "unread", 6, 0), 6);
  settle();
  program_.reset();
  turn_until_over();
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kAborted);
}

TEST_F(RunPump, ThePeerResets) {
  const linger now{1, 0};
  ASSERT_EQ(sl_setsockopt(peer_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  peer_.reset();
  turn_until_over();
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kFailed);
  EXPECT_EQ(pump_->error(), ECONNRESET);
}

// Its sender comes to a halt too: what is on its way is bounded.
TEST_F(RunPump, AProgramThatDoesNotRead) {
  const std::size_t sent = fill_from_peer();
  EXPECT_LT(sent, std::size_t{16} << 20);
  EXPECT_EQ(*pump_->stack_events() & POLLIN, 0) << "it would be woken for what it cannot take";
  EXPECT_EQ(*pump_->kernel_events() & POLLOUT, POLLOUT);
  Bytes told;
  turn_until([&] { return read_some(program_, told), told.size() >= sent; });
  EXPECT_EQ(told, numbered(0, sent));
  EXPECT_EQ(*pump_->stack_events() & POLLIN, POLLIN);
}

TEST_F(RunPump, APeerThatDoesNotRead) {
  std::size_t written = 0;
  for (int full = 0; full < 100;) {
    const Bytes piece = numbered(written, 10'000);
    const ssize_t n = ::send(program_.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
    if (n > 0) written += static_cast<std::size_t>(n);
    full = n > 0 ? 0 : full + 1;
    turn();
  }
  EXPECT_LT(written, std::size_t{16} << 20);
  EXPECT_EQ(*pump_->kernel_events() & POLLIN, 0) << "it would be woken for what it cannot take";
  EXPECT_EQ(*pump_->stack_events() & POLLOUT, POLLOUT);
  Bytes heard;
  turn_until([&] { return read_some(peer_, heard), heard.size() >= written; });
  EXPECT_EQ(heard, numbered(0, written));
}

// The connection fails while the program still has bytes to take: those first, then the failure.
TEST_F(RunPump, WhatCameBeforeAFailureIsGivenFirst) {
  const std::size_t sent = fill_from_peer();
  const linger now{1, 0};
  ASSERT_EQ(sl_setsockopt(peer_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  peer_.reset();
  settle();
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kGoing);
  Bytes told;
  turn_until([&] {
    while (::recv(program_.get(), told.data(), 0, MSG_PEEK) == 0 && told.size() < sent) {
      const std::size_t before = told.size();
      (void)read_some(program_, told);
      if (told.size() == before) break;
    }
    return pump_->outcome() != Pump::Outcome::kGoing;
  });
  EXPECT_EQ(pump_->outcome(), Pump::Outcome::kFailed);
  EXPECT_EQ(pump_->error(), ECONNRESET);
  EXPECT_GT(told.size(), 0u);
  Bytes expected = numbered(0, sent);
  expected.resize(told.size());
  EXPECT_EQ(told, expected);
}

}  // namespace
}  // namespace sluice::apps::run
