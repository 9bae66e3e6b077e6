// How far two processors are from each other: the time in which a cache line goes to the other one and back. On a virtual
// machine it changes while programs run, because the host moves the processors: between the threads of one core, which
// share its caches, and places that share none, a copy of what the other one has just written differs by four times.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "bench/tap/kernel.h"

namespace {

constexpr int kRounds = 4000;
constexpr int kSamples = 5;

void run_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  bench::check(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

// Nanoseconds there and back, a mean over many.
double round_trip(int near, int far) {
  alignas(64) std::atomic<int> ball = 0;
  std::thread other([&] {
    run_on(far);
    for (int i = 0; i < kRounds; ++i) {
      while (ball.load() != 1) {
      }
      ball.store(0);
    }
  });
  run_on(near);
  double start = 0;
  for (int i = 0; i < kRounds; ++i) {
    if (i == 1) start = bench::now_seconds();  // the other thread is there
    ball.store(1);
    while (ball.load() != 0) {
    }
  }
  const double seconds = bench::now_seconds() - start;
  other.join();
  return seconds / (kRounds - 1) * 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: distance PROCESSOR PROCESSOR   nanoseconds in which a cache line goes there and back\n");
    return 2;
  }
  double least = 1e9;  // a sample in which a thread had to wait for its processor says nothing
  for (int i = 0; i < kSamples; ++i) least = std::min(least, round_trip(atoi(argv[1]), atoi(argv[2])));
  printf("%.0f\n", least);
  return 0;
}
