// The program's process, from fork to exec. It is forked while nothing is open yet that it should not have, and waits
// for confine() and start().
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "apps/run/kernel_fd.h"
#include "stack/base/result.h"

namespace sluice::apps::run {

class Child {
 public:
  // Nothing when the system has no process left; errno says so.
  static Result<Child> fork(const std::vector<std::string>& command);

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Puts the filter around it; returns where its trapped calls are to be heard. The error is why the kernel cannot.
  Result<KernelFd, std::string> confine();
  // Runs the command. Not 0: errno of exec, and the process has ended.
  int start();

 private:
  Child(pid_t pid, KernelFd channel) : pid_(pid), channel_(std::move(channel)) {}
  pid_t pid_;
  KernelFd channel_;
};

}  // namespace sluice::apps::run
