// Carries the bytes of one connection both ways between our end of the program's pair and the stack. Each byte is
// copied once, by the kernel: from the pair into a block of the stack's send queue, and from where it was received into
// the pair. What is on its way is bounded: one block up, kMostLent down; the rest waits on its side, and its sender
// with it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "sluice/socket.hpp"

namespace sluice::apps::run {

class Pump {
 public:
  // Both descriptors are non-blocking and outlive the pump. `spare` is a block of the stack's, or none; all pumps share
  // it.
  Pump(int kernel, int stack, net::Loan& spare) : kernel_(kernel), stack_(stack), spare_(spare) {}

  // A side is ready; `revents` as of poll.
  void on_kernel(short revents);
  void on_stack(short revents);
  // What to watch a side for; nothing: not even its end.
  [[nodiscard]] std::optional<int> kernel_events() const;
  [[nodiscard]] std::optional<int> stack_events() const;

  enum class Outcome : std::uint8_t {
    kGoing,
    kClosed,   // both directions have ended, or the program has closed its end and all it wrote is sent
    kAborted,  // the program has closed its end without having read all: the peer must hear of that as a reset
    kFailed,   // the connection has: error()
  };
  [[nodiscard]] Outcome outcome() const;
  [[nodiscard]] int error() const { return error_; }

 private:
  static constexpr std::size_t kMostLent = 16;
  static constexpr int kRounds = 8;  // in a row, before others have their turn

  void move_up();
  bool take_from_program();
  void move_down();
  bool take_from_stack();
  bool give_to_program();
  void drop_lent(std::size_t bytes);
  void fail(int error);

  const int kernel_;
  const int stack_;
  net::Loan& spare_;

  net::Loan block_;        // on the way up
  std::size_t held_ = 0;   // bytes of it
  bool starved_ = false;   // the stack had no block
  bool up_ended_ = false;  // what the program has written is sent, or can no longer be
  bool aborted_ = false;

  std::array<net::Loan, kMostLent> lent_;  // on the way down
  std::size_t first_ = 0, count_ = 0;      // of these
  std::size_t given_ = 0;                  // bytes of the first that the program has already
  bool down_ended_ = false;

  bool gone_ = false;        // the program's end is closed, both ways
  bool stack_over_ = false;  // it has ended, and that can be looked at only when the program has taken what is lent
  int failure_ = 0;          // what the stack said when it had no more to give
  int error_ = 0;            // of the connection
};

}  // namespace sluice::apps::run
