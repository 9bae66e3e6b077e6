// sluice run -- COMMAND: an unmodified program on the stack. Its TCP and UDP sockets are ends of socket pairs of the
// kernel's; the calls that name, connect or ask a socket are trapped by a seccomp filter and answered here, and a pump
// carries the bytes. docs/RUN.md says what that means for programs.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "apps/commands.h"
#include "apps/run/child.h"
#include "apps/run/supervisor.h"

namespace sluice::apps {

namespace {

constexpr int kNotFound = 127;  // as a shell has it
constexpr int kNotExecutable = 126;

// Passed on to the program.
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGCHLD};

run::KernelFd signals_as_descriptor() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  (void)::signal(SIGCHLD, SIG_DFL);  // ignored, it would leave no exit status
  return run::KernelFd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

// Each of the program's sockets costs us one descriptor.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

int complain(const char* what, const std::string& why, int code) {
  fprintf(stderr, "sluice run: %s: %s\n", what, why.c_str());
  return code;
}

}  // namespace

int run_run(const Common& common, const RunOptions& options) {
  // Before anything is open that the program should not have, and before there are threads.
  auto child = run::Child::fork(options.command);
  if (!child) return complain("fork", describe(child.error()), kExitFailed);
  const run::KernelFd signals = signals_as_descriptor();
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);  // what the program leaves behind stays below us
  allow_many_descriptors();
  auto runtime = open_runtime(common, Options::Threads::kEventLoop);
  if (!runtime) return runtime.error();
  auto listener = child->confine();
  if (!listener) return complain("cannot trap system calls", listener.error(), kExitUnavailable);
  EventLoop loop(**runtime);
  int code = kExitOk;
  {
    run::Supervisor supervisor(**runtime, loop, *child, std::move(*listener), signals.get());
    const int error = child->start();
    if (error != 0) {
      return complain(options.command[0].c_str(), strerror(error), error == ENOENT ? kNotFound : kNotExecutable);
    }
    code = supervisor.run();
  }
  if (common.statistics) print_statistics(**runtime, common.json);
  return code;
}

}  // namespace sluice::apps
