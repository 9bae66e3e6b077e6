// The seccomp filter of a program under `sluice run`: which of its system calls the supervisor is told of. All others
// go on in the kernel as fast as ever, read and write among them.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace sluice::apps::run {

std::vector<sock_filter> filter_program();

}  // namespace sluice::apps::run
