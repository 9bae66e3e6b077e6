#include "apps/run/call.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <utility>

namespace sluice::apps::run {

Call::~Call() {
  if (open_) fail(EINTR);
}

Call::Call(Call&& other) noexcept
    : listener_(other.listener_), notification_(other.notification_), open_(std::exchange(other.open_, false)) {}

bool Call::waits() const {
  return ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &notification_.id) == 0;
}

bool Call::read(std::uint64_t address, void* to, std::size_t size) const {
  const iovec theirs{reinterpret_cast<void*>(address), size};
  return read({&theirs, 1}, to, size);
}
bool Call::write(std::uint64_t address, const void* from, std::size_t size) const {
  const iovec theirs{reinterpret_cast<void*>(address), size};
  return write({&theirs, 1}, from, size);
}

// The caller may have gone, and another process may have its number: what was read counts only if it still waits.
bool Call::read(std::span<const iovec> pieces, void* to, std::size_t size) const {
  if (size == 0) return true;
  const iovec ours{to, size};
  const ssize_t n = ::process_vm_readv(thread(), &ours, 1, pieces.data(), pieces.size(), 0);
  return n == static_cast<ssize_t>(size) && waits();
}
bool Call::write(std::span<const iovec> pieces, const void* from, std::size_t size) const {
  if (size == 0) return true;
  const iovec ours{const_cast<void*>(from), size};
  return waits() &&
         ::process_vm_writev(thread(), &ours, 1, pieces.data(), pieces.size(), 0) == static_cast<ssize_t>(size);
}

bool Call::respond(std::int64_t value, int error, std::uint32_t flags) {
  open_ = false;
  seccomp_notif_resp response{};
  response.id = notification_.id;
  response.val = value;
  response.error = error;
  response.flags = flags;
  return ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

bool Call::answer(std::int64_t value) {
  return respond(value, 0, 0);
}
bool Call::fail(int error) {
  return respond(0, -error, 0);
}
void Call::let_through() {
  respond(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

int Call::give(const KernelFd& file, int flags) {
  seccomp_notif_addfd request{};
  request.id = notification_.id;
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  request.srcfd = static_cast<std::uint32_t>(file.get());
  request.newfd_flags = (flags & SOCK_CLOEXEC) != 0 ? O_CLOEXEC : 0;
  const int number = ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  if (number < 0) {
    fail(errno);
  } else {
    open_ = false;
  }
  return number;
}

int SocketAddress::read_from(const Call& call, std::uint64_t address, std::uint64_t size) {
  if (size > sizeof storage) return EINVAL;
  length = static_cast<socklen_t>(size);
  return call.read(address, &storage, length) ? 0 : EFAULT;
}

int SocketAddress::write_to(const Call& call, std::uint64_t address, std::uint64_t size_address) const {
  if (address == 0 || size_address == 0) return 0;
  socklen_t room = 0;
  if (!call.read(size_address, room)) return EFAULT;
  if (room > INT32_MAX) return EINVAL;
  const bool written = call.write(address, &storage, std::min(room, length)) && call.write(size_address, length);
  return written ? 0 : EFAULT;
}

}  // namespace sluice::apps::run
