// Hears the program's trapped calls and answers them, until no process is left that could make one.
#pragma once

#include <sys/types.h>

#include "apps/run/child.h"
#include "apps/run/program_socket.h"

namespace sluice::apps::run {

class Supervisor {
 public:
  // `signals`: of a signalfd, for those to be passed on and SIGCHLD.
  Supervisor(Runtime& runtime, EventLoop& loop, const Child& child, KernelFd listener, int signals);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // What the program's first process exits with; 128 + N when signal N ended it.
  int run();

 private:
  void on_calls(short revents);
  void dispatch(Call call);
  void open_socket(Call call);
  void on_signal();
  void reap();
  void stop_when_all_is_sent(Instant latest);

  Runtime& runtime_;
  Context context_;
  const pid_t child_;
  KernelFd listener_;
  const int signals_;
  int exit_code_ = 0;
  bool child_ended_ = false;
  bool listening_ = true;  // there are processes that may call
};

}  // namespace sluice::apps::run
