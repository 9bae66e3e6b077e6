// sluice/socket.h: the calls that lend buffers of the stack to the application, and the table of what is lent.
#include <errno.h>
#include <sys/socket.h>

#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "drivers/runtime/blocking.h"
#include "drivers/runtime/impl.h"
#include "sluice/socket.h"

using sluice::Bytes;
using sluice::Call;
using sluice::Descriptor;
using sluice::Errno;
using sluice::Instant;
using sluice::set_errno;
using sluice::Status;
using sluice::buf::Buffer;
using sluice::socket::Ready;
using Impl = sluice::Runtime::Impl;

namespace {

static_assert(SL_SEND_BUFFER_SIZE <= sluice::buf::Pool::kLarge);

// A buffer in the application's hands, and whence it came: that may be gone.
struct Loan {
  enum class Kind : std::uint8_t { kNone, kLent, kBorrowed };
  Kind kind = Kind::kNone;
  bool claimed = false;          // by the call that ends it
  std::uint32_t generation = 0;  // changes when the loan ends
  std::uint32_t index = 0;       // in the table
  std::uint32_t fd_generation = 0;
  int fd = -1;
  Impl* runtime = nullptr;  // null: it has ended
  Buffer buffer;
};

// The process's loans, also those of runtimes that have ended. A pool is used with the lock of its runtime; for what
// becomes of its buffers after that, the lock of the table stands in.
class Loans {
 public:
  // With the lock of the call's runtime.
  sl_buffer add(Loan::Kind kind, const Call& call, int fd, Buffer buffer) {
    const std::lock_guard guard(mutex_);
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(loans_.size()));
      loans_.emplace_back().index = free_.back();
    }
    Loan& loan = loans_[free_.back()];
    free_.pop_back();
    loan.kind = kind;
    loan.fd = fd;
    loan.fd_generation = call.generation();
    loan.runtime = &call.runtime();
    loan.buffer = std::move(buffer);
    const sluice::MutableBytes view = loan.buffer.writable();
    return {view.data(), view.size(), std::uint64_t{loan.generation} << 32 | (loan.index + 1)};
  }

  // For the one call that ends the loan; null when there is none of this name, or another call has it.
  Loan* claim(std::uint64_t name) {
    const std::lock_guard guard(mutex_);
    const auto index = static_cast<std::uint32_t>(name) - 1;
    if (index >= loans_.size()) return nullptr;
    Loan& loan = loans_[index];
    if (loan.kind == Loan::Kind::kNone || loan.claimed || loan.generation != name >> 32) return nullptr;
    loan.claimed = true;
    return &loan;
  }
  void unclaim(Loan& loan) {
    const std::lock_guard guard(mutex_);
    loan.claimed = false;
  }
  // Frees the buffer, if it is still there. With the lock of the loan's runtime, when that exists.
  void end(Loan& loan) {
    const std::lock_guard guard(mutex_);
    loan.buffer = {};
    loan.kind = Loan::Kind::kNone;
    loan.claimed = false;
    ++loan.generation;
    free_.push_back(loan.index);
  }
  void orphan(const Impl& runtime) {
    const std::lock_guard guard(mutex_);
    for (Loan& loan : loans_) {
      if (loan.runtime == &runtime) loan.runtime = nullptr;
    }
  }

 private:
  std::mutex mutex_;        // taken after the lock of a runtime
  std::deque<Loan> loans_;  // never move
  std::vector<std::uint32_t> free_;
};

Loans& loans() {
  static auto* all = new Loans;  // never destroyed: buffers may be returned while the program ends
  return *all;
}

// Lets go of a claim that did not end its loan.
class Claim {
 public:
  explicit Claim(const sl_buffer* buffer) : loan_(buffer != nullptr ? loans().claim(buffer->loan) : nullptr) {}
  ~Claim() {
    if (loan_ != nullptr) loans().unclaim(*loan_);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  explicit operator bool() const { return loan_ != nullptr; }
  Loan* operator->() const { return loan_; }
  void end() { loans().end(*std::exchange(loan_, nullptr)); }

 private:
  Loan* loan_;
};

}  // namespace

void sluice::orphan_loans_of(const Impl& runtime) {
  loans().orphan(runtime);
}

ssize_t sl_recvfrom_lend(int fd, sl_buffer* buffer, int flags, sockaddr* from, socklen_t* length) {
  if (buffer == nullptr || (flags & ~MSG_DONTWAIT) != 0) return set_errno(Errno::kInvalid);
  *buffer = {};
  Call call(fd);
  if (!call) return call.refuse();
  const Instant deadline = deadline_of(call, call.settings().seldom->receive_timeout, flags);
  if (const Status waited = wait_for_bytes(call, deadline, low_water(call)); !waited) return set_errno(waited.error());
  auto lent = blocking(call, Ready::kIn, deadline, [&] { return call.sockets().lend(call.handle()); });
  if (!lent) return set_errno(lent.error());
  sluice::store_endpoint(lent->source, from, length);
  if (!lent->block.empty()) *buffer = loans().add(Loan::Kind::kLent, call, fd, std::move(lent->block));
  return static_cast<ssize_t>(buffer->size);
}

ssize_t sl_recv_lend(int fd, sl_buffer* buffer, int flags) {
  return sl_recvfrom_lend(fd, buffer, flags, nullptr, nullptr);
}

int sl_send_borrow(int fd, sl_buffer* buffer) {
  if (buffer == nullptr) return set_errno(Errno::kInvalid);
  *buffer = {};
  const Call call(fd);
  if (!call) return call.refuse();
  if (!call.sockets().tcp_info(call.handle())) return set_errno(Errno::kNotSupported);
  Buffer block = call.runtime().stack->pool().allocate(sluice::buf::Pool::kLarge);
  if (!block) return set_errno(Errno::kNoBuffers);
  block.set_view(0, SL_SEND_BUFFER_SIZE);
  *buffer = loans().add(Loan::Kind::kBorrowed, call, fd, std::move(block));
  return 0;
}

ssize_t sl_send_commit(int fd, const sl_buffer* buffer, size_t size, int flags) {
  if ((flags & ~(MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL)) != 0) return set_errno(Errno::kInvalid);
  Call call(fd);
  if (!call) return call.refuse();
  Claim loan(buffer);
  const bool ours = loan && loan->kind == Loan::Kind::kBorrowed && loan->runtime == &call.runtime();
  if (!ours || size == 0 || size > loan->buffer.size()) return set_errno(Errno::kInvalid);
  loan->buffer.set_view(0, size);
  const Status sent = blocking(call, Ready::kOut, deadline_of(call, call.settings().seldom->send_timeout, flags), [&] {
    return call.sockets().send(call.handle(), loan->buffer, {.more = (flags & MSG_MORE) != 0});
  });
  if (!sent) {
    loan->buffer.set_view(0, SL_SEND_BUFFER_SIZE);
    return set_errno(sent.error());
  }
  loan.end();
  return static_cast<ssize_t>(size);
}

int sl_buffer_return(const sl_buffer* buffer) {
  if (buffer != nullptr && buffer->loan == 0) return 0;
  Claim loan(buffer);
  if (!loan) return set_errno(Errno::kInvalid);
  Impl* const runtime = loan->runtime;
  if (runtime == nullptr) {
    loan.end();
    return 0;
  }
  Impl::Guard guard(*runtime);
  const Descriptor* d = sluice::find_descriptor(loan->fd);
  const bool open = d != nullptr && d->runtime == runtime && d->generation == loan->fd_generation;
  const std::size_t size = loan->kind == Loan::Kind::kLent ? loan->buffer.size() : 0;
  loan.end();
  if (open && size > 0) runtime->stack->sockets().give_back(d->handle, size);
  runtime->after_call();
  return 0;
}
