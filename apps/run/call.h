// A system call of the program that waits for our answer. Its caller sleeps until then, or until a signal or its end:
// after that an answer reaches nobody, and every function here says so.
#pragma once

#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "apps/run/kernel_fd.h"
#include "stack/base/types.h"

namespace sluice::apps::run {

class Call {
 public:
  Call(int listener, const seccomp_notif& notification) : listener_(listener), notification_(notification) {}
  ~Call();  // a call nobody has answered fails with EINTR
  Call(Call&& other) noexcept;
  Call& operator=(Call&&) = delete;

  [[nodiscard]] int number() const { return notification_.data.nr; }
  [[nodiscard]] pid_t thread() const { return static_cast<pid_t>(notification_.pid); }
  [[nodiscard]] std::uint64_t argument(std::size_t index) const { return notification_.data.args[index]; }
  [[nodiscard]] int int_argument(std::size_t index) const { return static_cast<int>(argument(index)); }
  [[nodiscard]] int descriptor() const { return int_argument(0); }  // of all calls but socket
  [[nodiscard]] bool waits() const;                                 // the caller is still there

  // The caller's memory; false when it cannot be had: EFAULT.
  bool read(std::uint64_t address, void* to, std::size_t size) const;
  bool write(std::uint64_t address, const void* from, std::size_t size) const;
  // The same with the caller's memory in pieces, at most IOV_MAX.
  bool read(std::span<const iovec> pieces, void* to, std::size_t size) const;
  bool write(std::span<const iovec> pieces, const void* from, std::size_t size) const;
  template <typename T>
  bool read(std::uint64_t address, T& value) const {
    return read(address, &value, sizeof value);
  }
  template <typename T>
  bool write(std::uint64_t address, const T& value) const {
    return write(address, &value, sizeof value);
  }

  // One of these ends it; false when the caller has not waited.
  bool answer(std::int64_t value);
  bool fail(int error);
  void let_through();  // to the kernel, as if it had not been trapped
  // A new descriptor of the caller's is the answer, close-on-exec when `flags` has SOCK_CLOEXEC. Returns its number, or
  // -1: the caller has not waited, or has been told that its table is full.
  int give(const KernelFd& file, int flags);

 private:
  bool respond(std::int64_t value, int error, std::uint32_t flags);

  int listener_;
  seccomp_notif notification_;
  bool open_ = true;
};

// A socket address as it stands in the caller's memory.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] sockaddr* get() { return static_cast<sockaddr*>(static_cast<void*>(&storage)); }
  // 0, or an errno.
  int read_from(const Call& call, std::uint64_t address, std::uint64_t size);
  // As much as there is room for; what *size_address holds becomes the whole length. Null addresses: nothing.
  [[nodiscard]] int write_to(const Call& call, std::uint64_t address, std::uint64_t size_address) const;
};

}  // namespace sluice::apps::run
