// The program's processes: copies of their descriptors.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "apps/run/kernel_fd.h"

namespace sluice::apps::run {

// What a socket is known by: it stays the same over dup, fork, exec and sending it elsewhere. 0: not a socket.
std::uint64_t identity_of(int socket);

class Processes {
 public:
  // A copy of a thread's descriptor, of the same open file. An empty one when it has none of that number.
  KernelFd take(pid_t thread, int number);
  // The same, from whichever of our descendants still has the socket `identity` under that number.
  KernelFd search(std::uint64_t identity, int number);

 private:
  KernelFd take_now(pid_t thread, int number);
  std::unordered_map<pid_t, KernelFd> handles_;  // pidfds of threads seen before
};

}  // namespace sluice::apps::run
