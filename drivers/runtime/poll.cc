// sl_poll(), sl_ppoll() and sl_select(): our descriptors and the kernel's in one wait.
#include <algorithm>
#include <optional>
#include <vector>

#include "drivers/runtime/blocking.h"
#include "drivers/runtime/epoll_set.h"
#include "sluice/socket.h"

using sluice::Call;
using sluice::Duration;
using sluice::Errno;
using sluice::Instant;
using sluice::set_errno;
using Impl = sluice::Runtime::Impl;

namespace {

short events_now(const Impl& impl, const sluice::Descriptor& d) {
  if (d.epoll != nullptr) return d.epoll->ready() ? POLLIN | POLLRDNORM : 0;
  return sluice::poll_events_of(impl.stack->sockets().ready(d.handle));
}

// Fills in the sluice descriptors of the set; returns how many have something. Those of another runtime are not ours to
// look at: POLLNVAL.
int check_ours(const Impl& impl, pollfd* fds, nfds_t count) {
  int ready = 0;
  for (nfds_t i = 0; i < count; ++i) {
    if (fds[i].fd < SL_FD_BASE) continue;
    const sluice::Descriptor* d = sluice::find_descriptor(fds[i].fd);
    const bool ours = d != nullptr && d->runtime == &impl;
    const short wanted = static_cast<short>(fds[i].events | POLLERR | POLLHUP);
    fds[i].revents = ours ? static_cast<short>(events_now(impl, *d) & wanted) : static_cast<short>(POLLNVAL);
    if (fds[i].revents != 0) ++ready;
  }
  return ready;
}

int check_kernel(pollfd* fds, nfds_t count, std::vector<pollfd>& scratch) {
  if (scratch.empty()) return 0;
  const int ready = std::max(::poll(scratch.data(), scratch.size(), 0), 0);
  std::size_t k = 0;
  for (nfds_t i = 0; i < count; ++i) {
    if (fds[i].fd < SL_FD_BASE) fds[i].revents = scratch[k++].revents;
  }
  return ready;
}

// What of the kernel's the set is for: its descriptors, and those in sets of ours.
std::vector<pollfd> kernel_part(const pollfd* fds, nfds_t count, std::vector<pollfd> kernel) {
  for (nfds_t i = 0; i < count; ++i) {
    const sluice::Descriptor* d = fds[i].fd >= SL_FD_BASE ? sluice::find_descriptor(fds[i].fd) : nullptr;
    if (d != nullptr && d->epoll != nullptr) kernel.push_back({d->epoll->kernel_set(), POLLIN, 0});
  }
  return kernel;
}

// Waits on a set that has a descriptor of ours.
int wait_for_any(Call& call, pollfd* fds, nfds_t count, std::vector<pollfd> kernel, Instant deadline,
                 const sigset_t* signals) {
  Impl& impl = call.runtime();
  const Impl::KernelWait also{kernel_part(fds, count, kernel), signals};
  int ready = 0;
  const auto check = [&] {
    ready = check_ours(impl, fds, count) + check_kernel(fds, count, kernel);
    return ready > 0;
  };
  const bool only_ours = also.fds.empty() && signals == nullptr;
  const Impl::Woken woken = impl.wait(call.guard(), deadline, Impl::kSeveral, check, only_ours ? nullptr : &also);
  return woken == Impl::Woken::kSignal ? set_errno(Errno::kIntr) : ready;
}

int poll_until(pollfd* fds, nfds_t count, std::optional<Duration> timeout, const sigset_t* signals) {
  std::optional<Call> call;  // on the first that is open; its runtime is the one polled
  std::vector<pollfd> kernel;
  for (nfds_t i = 0; i < count; ++i) {
    if (fds[i].fd < SL_FD_BASE) {
      kernel.push_back(fds[i]);
    } else if (!call || !*call) {
      call.emplace(fds[i].fd, Call::On::kAny);
    }
  }
  if (call && *call) {
    const Instant deadline = timeout ? sluice::monotonic_now() + *timeout : Instant::never();
    return wait_for_any(*call, fds, count, std::move(kernel), deadline, signals);
  }
  const std::int64_t ns = timeout ? timeout->to_nanos() : 0;
  const timespec limit{ns / 1'000'000'000, ns % 1'000'000'000};
  return ::ppoll(fds, count, timeout ? &limit : nullptr, signals);
}

}  // namespace

int sl_poll(pollfd* fds, nfds_t count, int timeout_ms) {
  if (timeout_ms < 0) return poll_until(fds, count, std::nullopt, nullptr);
  return poll_until(fds, count, Duration::millis(timeout_ms), nullptr);
}

int sl_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* signals) {
  if (timeout == nullptr) return poll_until(fds, count, std::nullopt, signals);
  if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) {
    return set_errno(Errno::kInvalid);
  }
  return poll_until(fds, count, Duration::seconds(timeout->tv_sec) + Duration::nanos(timeout->tv_nsec), signals);
}

// --- select ----------------------------------------------------------------------------------------------------------

namespace {

// Where a number's bit is; null when it has no place.
template <typename Set>
auto word_of(int fd, Set* set) -> decltype(&set->ours[0]) {
  const bool ours = fd >= SL_FD_BASE;
  const int number = ours ? fd - SL_FD_BASE : fd;
  if (set == nullptr || number < 0 || number >= SL_SETSIZE) return nullptr;
  return (ours ? set->ours : set->kernel) + number / 64;
}
std::uint64_t bit_of(int fd) {
  return std::uint64_t{1} << (fd % 64);  // SL_FD_BASE is a multiple of 64
}

// As Linux: a set asks for what poll(2) would tell by these.
constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
constexpr short kWritable = POLLOUT | POLLERR;
constexpr short kExceptional = POLLPRI;

void add_numbers(int from, int to, const sl_fd_set* const (&sets)[3], std::vector<pollfd>& fds) {
  constexpr short kEvents[] = {POLLIN, POLLOUT, POLLPRI};
  for (int fd = from; fd < to; ++fd) {
    int events = 0;
    for (std::size_t i = 0; i < 3; ++i) events |= SL_FD_ISSET(fd, sets[i]) != 0 ? kEvents[i] : 0;
    if (events != 0) fds.push_back({fd, static_cast<short>(events), 0});
  }
}

}  // namespace

void SL_FD_ZERO(sl_fd_set* set) {
  *set = {};
}
void SL_FD_SET(int fd, sl_fd_set* set) {
  if (std::uint64_t* word = word_of(fd, set)) *word |= bit_of(fd);
}
void SL_FD_CLR(int fd, sl_fd_set* set) {
  if (std::uint64_t* word = word_of(fd, set)) *word &= ~bit_of(fd);
}
int SL_FD_ISSET(int fd, const sl_fd_set* set) {
  const std::uint64_t* word = word_of(fd, set);
  return word != nullptr && (*word & bit_of(fd)) != 0 ? 1 : 0;
}

int sl_select(int count, sl_fd_set* readable, sl_fd_set* writable, sl_fd_set* exceptional, timeval* timeout) {
  if (count < 0 || (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_usec < 0))) {
    return set_errno(Errno::kInvalid);
  }
  std::vector<pollfd> fds;
  const sl_fd_set* const asked[3] = {readable, writable, exceptional};
  add_numbers(0, std::min(count, SL_SETSIZE), asked, fds);
  add_numbers(SL_FD_BASE, std::min(count, SL_FD_BASE + SL_SETSIZE), asked, fds);
  std::optional<Duration> limit;
  if (timeout != nullptr) limit = Duration::seconds(timeout->tv_sec) + Duration::micros(timeout->tv_usec);
  if (poll_until(fds.data(), fds.size(), limit, nullptr) < 0) return -1;
  for (const pollfd& p : fds) {
    if ((p.revents & POLLNVAL) != 0) return set_errno(Errno::kBadFile);
  }
  constexpr short kWhat[] = {kReadable, kWritable, kExceptional};
  sl_fd_set* const sets[3] = {readable, writable, exceptional};
  int told = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    sl_fd_set found{};
    for (const pollfd& p : fds) {
      if (SL_FD_ISSET(p.fd, sets[i]) == 0 || (p.revents & kWhat[i]) == 0) continue;
      SL_FD_SET(p.fd, &found);
      ++told;
    }
    if (sets[i] != nullptr) *sets[i] = found;
  }
  return told;
}
