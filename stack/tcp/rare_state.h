// What most connections never need: counts of what went wrong, urgent data. Allocated when it is, since every byte of a
// connection counts when there are many.
#pragma once

#include <cstdint>

#include "stack/base/time.h"
#include "stack/tcp/recovery_window.h"
#include "stack/tcp/urgent.h"

namespace sluice::tcp {

struct RareState {
  InflatedWindow recovery_window;  // where SACK was not agreed
  std::uint64_t bytes_retransmitted = 0;
  std::uint32_t retransmits = 0, timeouts = 0;
  std::uint32_t out_of_order = 0, duplicates_reported = 0;
  Instant silence_seen = Instant::past();  // when the next hop did not answer, before the connection was there
  Instant challenge_interval = Instant::past();
  UrgentPointer urgent_pointer;
  UrgentMark urgent_mark;
  int probe_backoff = 0;
  std::uint8_t challenge_acks = 0;  // in the present interval
};

}  // namespace sluice::tcp
