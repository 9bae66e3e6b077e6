// What most connections never need: counts of what went wrong, urgent data, the search for the path MTU. Allocated when
// it is, since every byte of a connection counts when there are many.
#pragma once

#include <cstdint>
#include <optional>

#include "stack/base/result.h"
#include "stack/base/time.h"
#include "stack/tcp/accurate_ecn.h"
#include "stack/tcp/mtu_search.h"
#include "stack/tcp/recovery_window.h"
#include "stack/tcp/seq.h"
#include "stack/tcp/urgent.h"

namespace sluice::tcp {

struct RareState {
  InflatedWindow recovery_window;  // where SACK was not agreed
  MtuSearch mtu_search;
  std::uint64_t bytes_retransmitted = 0;
  std::uint32_t retransmits = 0, timeouts = 0;
  std::uint32_t out_of_order = 0, duplicates_reported = 0;
  Instant silence_seen = Instant::past();  // when the next hop did not answer, before the connection was there
  Instant challenge_interval = Instant::past();
  std::uint32_t doubtful_mtu = 0;  // what an ICMP message claims that is not believed yet; 0: none
  Seq doubtful_at;                 // the segment it quotes
  UrgentPointer urgent_pointer;
  UrgentMark urgent_mark;
  int probe_backoff = 0;
  std::uint32_t challenge_acks = 0;         // in the present interval
  Errno soft_error = Errno::kOk;            // the latest ICMP error since the peer acknowledged something
  std::uint8_t syn_codepoint = 0;           // with which the peer's SYN came in, where accurate ECN was agreed to
  std::optional<AccurateEcn> accurate_ecn;  // likewise

  // The peer has acknowledged all before `una`.
  void on_progress(Seq una) {
    soft_error = Errno::kOk;
    if (doubtful_mtu != 0 && doubtful_at < una) doubtful_mtu = 0;
  }
};

}  // namespace sluice::tcp
