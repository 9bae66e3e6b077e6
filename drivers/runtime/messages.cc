// Several messages in one call: sl_sendmmsg() and sl_recvmmsg().
#include <algorithm>

#include "drivers/runtime/blocking.h"
#include "sluice/socket.h"

using sluice::Duration;
using sluice::Errno;
using sluice::Instant;
using sluice::set_errno;

namespace {
constexpr unsigned kMostMessages = 1024;  // of one call, as on Linux
}

int sl_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  int done = 0;
  for (mmsghdr& m : std::span(messages, std::min(count, kMostMessages))) {
    const ssize_t sent = sl_sendmsg(fd, &m.msg_hdr, flags);
    if (sent < 0) return done > 0 ? done : -1;
    m.msg_len = static_cast<unsigned>(sent);
    ++done;
  }
  return done;
}

// The timeout is looked at after each message, as on Linux: it does not end a wait for the next one.
int sl_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  Instant deadline = Instant::never();
  if (timeout != nullptr) {
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) {
      return set_errno(Errno::kInvalid);
    }
    deadline = sluice::monotonic_now() + Duration::seconds(timeout->tv_sec) + Duration::nanos(timeout->tv_nsec);
  }
  const bool only_first_waits = (flags & MSG_WAITFORONE) != 0;
  int each = flags & ~MSG_WAITFORONE;
  int done = 0;
  for (mmsghdr& m : std::span(messages, std::min(count, kMostMessages))) {
    const ssize_t got = sl_recvmsg(fd, &m.msg_hdr, each);
    if (got < 0) return done > 0 ? done : -1;
    m.msg_len = static_cast<unsigned>(got);
    ++done;
    if (only_first_waits) each |= MSG_DONTWAIT;
    if (sluice::monotonic_now() >= deadline) break;
  }
  return done;
}
