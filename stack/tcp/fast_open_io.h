// What a connection keeps about RFC 7413 until its handshake is over. Private to stack/tcp.
#pragma once

#include <memory>
#include <utility>

#include "stack/tcp/fast_open.h"

namespace sluice::tcp {

// A place in a listener's queue; the listener may be closed before it is left.
class FastOpenPlace {
 public:
  FastOpenPlace() = default;
  explicit FastOpenPlace(std::shared_ptr<FastOpenQueue> queue) : queue_(std::move(queue)) { queue_->enter(); }
  FastOpenPlace(FastOpenPlace&&) = default;
  FastOpenPlace& operator=(FastOpenPlace&&) = delete;
  ~FastOpenPlace() {
    if (queue_ != nullptr) queue_->leave();
  }
  void leave_after_reset(Instant now) {
    if (queue_ != nullptr) std::exchange(queue_, nullptr)->leave_after_reset(now);
  }

 private:
  std::shared_ptr<FastOpenQueue> queue_;  // null: in none
};

struct FastOpening {
  FastOpenOption option{};  // for the next SYN or SYN-ACK, and no later one
  FastOpenPlace place{};    // of a server
  // Of a client:
  bool waits = false;      // for open_with()
  FastOpenOption sent{};   // with the first SYN
  std::uint32_t data = 0;  // bytes that go with the next SYN, and no later one
};

}  // namespace sluice::tcp
