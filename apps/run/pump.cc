#include "apps/run/pump.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

namespace sluice::apps::run {

namespace {

bool hung_up(int kernel) {
  pollfd p{kernel, 0, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

}  // namespace

void Pump::on_kernel(short revents) {
  if ((revents & (POLLHUP | POLLERR)) != 0) gone_ = true;
  if (held_ == 0 && (gone_ || (revents & POLLIN) != 0)) move_up();
  if (count_ > 0 && (gone_ || (revents & POLLOUT) != 0)) move_down();
}

void Pump::on_stack(short revents) {
  const bool over = (revents & (POLLERR | POLLHUP)) != 0;
  if ((held_ > 0 || starved_) && ((revents & POLLOUT) != 0 || over)) move_up();
  if (count_ == 0) {
    if ((revents & POLLIN) != 0 || over) move_down();
  } else {
    stack_over_ = stack_over_ || over;
  }
}

std::optional<int> Pump::kernel_events() const {
  if (gone_) return std::nullopt;
  return (!up_ended_ && held_ == 0 && !starved_ ? POLLIN : 0) | (count_ > 0 ? POLLOUT : 0);
}

std::optional<int> Pump::stack_events() const {
  if (stack_over_) return std::nullopt;
  return (!down_ended_ && !gone_ && count_ == 0 ? POLLIN : 0) | (held_ > 0 || starved_ ? POLLOUT : 0);
}

Pump::Outcome Pump::outcome() const {
  if (aborted_) return Outcome::kAborted;
  if (error_ != 0 && (gone_ || count_ == 0)) return Outcome::kFailed;
  if (gone_ && up_ended_) return count_ > 0 ? Outcome::kAborted : Outcome::kClosed;
  return up_ended_ && down_ended_ ? Outcome::kClosed : Outcome::kGoing;
}

void Pump::fail(int error) {
  if (error_ == 0) error_ = error;
  up_ended_ = true;
  held_ = 0;
  starved_ = false;
}

// --- from the program to the stack -----------------------------------------------------------------------------------

// When the program's end is closed nobody will tell that there is more: then all of it is taken.
void Pump::move_up() {
  for (int round = 0; !up_ended_ && (gone_ || round < kRounds); ++round) {
    if (held_ == 0 && !take_from_program()) return;
    if (sl_send_commit(stack_, &block_.buffer(), held_, 0) < 0) {
      if (errno != EAGAIN) fail(errno);
      return;
    }
    (void)block_.release();
    held_ = 0;
  }
}

bool Pump::take_from_program() {
  if (!block_) block_ = std::move(spare_);
  if (!block_) {
    sl_buffer fresh{};
    starved_ = sl_send_borrow(stack_, &fresh) < 0;
    if (starved_) return false;
    block_ = net::Loan(fresh);
  }
  starved_ = false;
  const ssize_t n = ::recv(kernel_, block_.bytes().data(), block_.bytes().size(), 0);
  if (n > 0) {
    held_ = static_cast<std::size_t>(n);
    return true;
  }
  spare_ = std::move(block_);
  if (n < 0 && errno == EAGAIN) return false;
  up_ended_ = true;
  aborted_ = n < 0;  // ECONNRESET: closed with something unread
  gone_ = gone_ || hung_up(kernel_);
  if (!gone_) (void)sl_shutdown(stack_, SHUT_WR);  // otherwise the stack's socket is closed, as SO_LINGER has it
  return false;
}

// --- from the stack to the program -----------------------------------------------------------------------------------

void Pump::move_down() {
  for (int round = 0; round < kRounds; ++round) {
    const bool more = count_ > 0 || (!down_ended_ && take_from_stack());
    if (count_ > 0 && !give_to_program()) return;
    stack_over_ = false;
    if (!more) return;
  }
}

// Whether there may be more after this.
bool Pump::take_from_stack() {
  first_ = 0;
  while (count_ < kMostLent) {
    sl_buffer buffer{};
    const ssize_t n = failure_ == 0 ? sl_recv_lend(stack_, &buffer, 0) : 0;
    if (n > 0) {
      lent_[count_++] = net::Loan(buffer);
      continue;
    }
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) failure_ = errno;  // told once
    if (count_ > 0) return true;  // the end comes when these have gone
    if (failure_ != 0) {
      fail(failure_);
    } else if (error_ == 0) {
      (void)::shutdown(kernel_, SHUT_WR);
    }
    down_ended_ = true;
    return false;
  }
  return true;
}

// Whether all of it is given.
bool Pump::give_to_program() {
  std::array<iovec, kMostLent> pieces{};
  for (std::size_t i = 0; i < count_; ++i) {
    const MutableBytes bytes = lent_[first_ + i].bytes().subspan(i == 0 ? given_ : 0);
    pieces[i] = {bytes.data(), bytes.size()};
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count_;
  const ssize_t n = ::sendmsg(kernel_, &message, MSG_NOSIGNAL);
  if (n < 0 && errno == EAGAIN) return false;
  drop_lent(n < 0 ? SIZE_MAX : static_cast<std::size_t>(n));  // a program that reads no more: to nowhere
  return count_ == 0;
}

void Pump::drop_lent(std::size_t bytes) {
  while (count_ > 0) {
    net::Loan& front = lent_[first_];
    const std::size_t left = front.bytes().size() - given_;
    if (bytes < left) {
      given_ += bytes;
      return;
    }
    bytes -= left;
    given_ = 0;
    front.reset();
    ++first_;
    --count_;
  }
}

}  // namespace sluice::apps::run
