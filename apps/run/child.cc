#include "apps/run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>

#include "apps/run/filter.h"

namespace sluice::apps::run {

namespace {

constexpr int kExecFailed = 127;

// Over the channel goes one int at a time, in turn: "go on" from us; from the child the number of its listener or
// -errno, then errno of exec.
bool tell(int channel, int word) {
  return ::write(channel, &word, sizeof word) == sizeof word;
}
bool hear(int channel, int& word) {
  return ::read(channel, &word, sizeof word) == sizeof word;
}

int install_filter() {
  std::vector<sock_filter> instructions = filter_program();
  const sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  const long listener = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  return listener < 0 ? -errno : static_cast<int>(listener);
}

[[noreturn]] void run_child(int channel, const std::vector<std::string>& command) {
  int word = 0;
  if (!hear(channel, word)) ::_exit(kExecFailed);  // no stack: there is nothing to run on
  const int listener = install_filter();
  if (!tell(channel, listener) || !hear(channel, word)) ::_exit(kExecFailed);
  if (listener >= 0) ::close(listener);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  (void)tell(channel, errno);
  ::_exit(kExecFailed);
}

std::string why_no_filter(int error) {
  if (error == EBUSY) return "this process is itself under a supervisor of its system calls; run sluice outside of it";
  if (error == ENOSYS || error == EINVAL) return "the kernel has no seccomp user notification (Linux 5.14 or later)";
  return std::string("seccomp: ") + strerror(error);
}

// Whether an answer may carry a descriptor: asked about a call that is none, a kernel that knows how says so.
bool answers_with_descriptors(int listener) {
  seccomp_notif_addfd request{};
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  request.srcfd = static_cast<std::uint32_t>(listener);
  return ::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &request) < 0 && errno == ENOENT;
}

}  // namespace

Result<Child> Child::fork(const std::vector<std::string>& command) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) < 0) return sluice::fail(Errno(errno));
  KernelFd ours(ends[0]), theirs(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return sluice::fail(Errno(errno));
  if (pid == 0) {
    ours.reset();
    run_child(theirs.get(), command);
  }
  return Child(pid, std::move(ours));
}

Result<KernelFd, std::string> Child::confine() {
  int number = -ESRCH;
  if (!tell(channel_.get(), 0) || !hear(channel_.get(), number)) return sluice::fail(std::string("the child has gone"));
  if (number < 0) return sluice::fail(why_no_filter(-number));
  const KernelFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  KernelFd listener(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (!listener) return sluice::fail(std::string("pidfd_getfd: ") + strerror(errno));
  if (!answers_with_descriptors(listener.get())) return sluice::fail(why_no_filter(EINVAL));
  return listener;
}

int Child::start() {
  int error = 0;
  if (!tell(channel_.get(), 0)) return ESRCH;
  return hear(channel_.get(), error) ? error : 0;  // exec closes the channel
}

}  // namespace sluice::apps::run
