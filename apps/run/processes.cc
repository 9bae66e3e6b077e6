#include "apps/run/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <fstream>
#include <string>

namespace sluice::apps::run {

namespace {

constexpr std::size_t kMostHandles = 256;
constexpr std::size_t kMostSearched = 1024;  // processes
constexpr unsigned kThreadHandle = O_EXCL;   // PIDFD_THREAD, since Linux 6.9

pid_t process_of(pid_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Tgid:")) return static_cast<pid_t>(std::stol(line.substr(5)));
  }
  return thread;
}

KernelFd open_handle(pid_t thread) {
  KernelFd handle(static_cast<int>(::syscall(SYS_pidfd_open, thread, kThreadHandle)));
  if (!handle) handle = KernelFd(static_cast<int>(::syscall(SYS_pidfd_open, thread, 0)));
  if (!handle) handle = KernelFd(static_cast<int>(::syscall(SYS_pidfd_open, process_of(thread), 0)));
  return handle;
}

void append_children(pid_t process, std::vector<pid_t>& found) {
  const std::string id = std::to_string(process);
  std::ifstream children("/proc/" + id + "/task/" + id + "/children");
  for (pid_t child = 0; children >> child;) found.push_back(child);
}

}  // namespace

std::uint64_t identity_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return ::getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

KernelFd Processes::take(pid_t thread, int number) {
  KernelFd copy = take_now(thread, number);
  if (!copy && errno == ESRCH && handles_.erase(thread) > 0)
    copy = take_now(thread, number);  // the number is used again
  return copy;
}

KernelFd Processes::take_now(pid_t thread, int number) {
  auto known = handles_.find(thread);
  if (known == handles_.end()) {
    if (handles_.size() >= kMostHandles) handles_.clear();
    known = handles_.emplace(thread, open_handle(thread)).first;
  }
  return KernelFd(static_cast<int>(::syscall(SYS_pidfd_getfd, known->second.get(), number, 0)));
}

KernelFd Processes::search(std::uint64_t identity, int number) {
  std::vector<pid_t> family;
  append_children(::getpid(), family);
  for (std::size_t i = 0; i < family.size() && i < kMostSearched; ++i) {
    KernelFd copy = take(family[i], number);
    if (copy && identity_of(copy.get()) == identity) return copy;
    append_children(family[i], family);
  }
  return {};
}

}  // namespace sluice::apps::run
