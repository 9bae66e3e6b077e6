// Where segments have to end: behind a record of the user's (MSG_EOR), and behind each block in which the send queue is
// filled (TcpConfig::send_blocks). Numbers of bytes that follow an end, in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "stack/tcp/seq.h"

namespace sluice::tcp {

class Boundaries {
 public:
  void add(Seq end) {  // not below those that are there
    if (ends_.empty() || ends_.back() < end) ends_.push_back(end);
  }
  void acknowledge(Seq una) {
    while (!ends_.empty() && ends_.front() <= una) ends_.pop_front();
  }
  // Bytes from `from` to the next one; UINT32_MAX: there is none.
  [[nodiscard]] std::uint32_t distance(Seq from) const {
    const auto next = std::upper_bound(ends_.begin(), ends_.end(), from, [](Seq a, Seq b) { return a < b; });
    return next != ends_.end() ? *next - from : UINT32_MAX;
  }
  [[nodiscard]] std::size_t count_after(Seq from) const {
    return static_cast<std::size_t>(std::count_if(ends_.begin(), ends_.end(), [from](Seq end) { return from < end; }));
  }

 private:
  std::deque<Seq> ends_;
};

}  // namespace sluice::tcp
