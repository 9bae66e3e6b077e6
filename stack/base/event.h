// The event hook: what a stack decided, when and why, for whoever watches (trace, capture comments, tests).
// With no sink attached an event costs one test of a pointer.
#pragma once

#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/time.h"
#include "stack/base/types.h"

namespace sluice {

enum class EventKind : std::uint8_t {
  kDrop,              // reason; `bytes` is the frame or packet from the layer that dropped it
  kNeighborState,     // a: old state, b: new state
  kAddressConflict,   // another station claims our address
  kTcpState,          // a: old tcp::State, b: new
  kTcpCwnd,           // a: congestion window, b: slow-start threshold, bytes
  kTcpRtt,            // a: sample, b: smoothed, ns
  kTcpRetransmit,     // a: first sequence number, b: bytes; detail says what triggered it
  kTcpTimeout,        // a: which timer fired, b: backoff count
  kTcpRecoveryEnter,  // a: recovery point; detail says what showed the loss
  kTcpRecoveryExit,   // a: recovery point
  kTcpLoss,           // a: bytes newly found lost, b: bytes in flight after that; detail says by which rule
  kTcpUndo,           // the last reduction was for nothing; detail gives the proof
  kTcpProbe,          // zero-window, keep-alive, tail loss or path MTU probe; a: first sequence number of the last two
  kTcpPathMtu,        // a: largest packet that is no probe, b: largest that may be tried, bytes; detail says why
  kTcpSynCookie,      // a: local port; detail: sent and why, or accepted
  kTcpFastOpen,       // a: bytes in the SYN; detail: what was decided about them or about a cookie, and why
  kTcpReset,          // detail: who reset and why
};

struct Event {
  EventKind kind{};
  Drop reason{};  // kDrop only
  Instant at{};
  std::uint64_t flow = 0;  // connection number, 0: none
  std::int64_t a = 0;
  std::int64_t b = 0;
  const char* detail = "";  // static text
  Bytes bytes{};            // borrowed for the call
  // Where the received packet lay that a transport was dealing with; not to be read: it may be gone. Null: none.
  const std::uint8_t* arriving = nullptr;
};

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Event& event) = 0;
};

}  // namespace sluice
