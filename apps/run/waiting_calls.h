// Calls that wait for something to happen on their socket, in the order in which they came.
#pragma once

#include <list>

#include "apps/run/call.h"
#include "sluice/runtime.hpp"

namespace sluice::apps::run {

class WaitingCalls {
 public:
  explicit WaitingCalls(EventLoop& loop) : loop_(loop) {}
  ~WaitingCalls() { fail_all(EBADF); }
  WaitingCalls(const WaitingCalls&) = delete;
  WaitingCalls& operator=(const WaitingCalls&) = delete;

  // After `limit`, unless that is 0, it fails with `error`.
  void add(Call call, Duration limit, int error);
  [[nodiscard]] bool empty() const { return calls_.empty(); }
  // Whoever has not gone meanwhile is tried, first come first served, until one goes on waiting: `serve` returns false.
  template <typename Serve>
  void serve(Serve serve) {
    while (!calls_.empty()) {
      if (first().waits() && !serve(first())) return;
      remove(calls_.begin());
    }
  }
  void fail_all(int error);
  void answer_all(int value);

 private:
  struct Waiting {
    Call call;
    EventLoop::TimerId timer = 0;
  };
  using Place = std::list<Waiting>::iterator;
  Call& first() { return calls_.front().call; }
  void remove(Place place);

  EventLoop& loop_;
  std::list<Waiting> calls_;
};

}  // namespace sluice::apps::run
