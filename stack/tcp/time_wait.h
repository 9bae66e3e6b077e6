// TIME-WAIT: a small record instead of a connection. RFC 9293 §3.6.1, RFC 1337, RFC 6191, RFC 5961.
#pragma once

#include "stack/tcp/connection.h"
#include "stack/tcp/flow.h"

namespace sluice::tcp {

struct TimeWait : Flow {
  TimeWait(const FourTuple& t) : Flow(FlowKind::kTimeWait, t) {}

  Instant expires{};
  TimeWait* newer = nullptr;  // list in order of expiry
  TimeWait* older = nullptr;
  Seq snd_nxt;
  Seq rcv_nxt;
  std::uint32_t ts_recent = 0;
  std::uint32_t ts_offset = 0;
  std::uint16_t window = 0;     // the field last sent
  std::uint8_t challenges = 0;  // ACKs sent for other segments than the last FIN
  bool timestamps = false;
};
static_assert(sizeof(TimeWait) <= 128);

// What a segment to a TIME-WAIT record brings about.
enum class TimeWaitVerdict : std::uint8_t {
  kIgnore,
  kAck,      // answer with an ACK
  kRestart,  // a FIN again: ACK, and another 2 MSL (RFC9293-SEG-07)
  kReopen,   // a new connection may begin (RFC 6191 §2, RFC 9293 §3.10.7.4)
};
TimeWaitVerdict judge(const TimeWait& record, const Arriving& segment);

}  // namespace sluice::tcp
