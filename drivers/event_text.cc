#include "drivers/event_text.h"

#include <cstring>

namespace sluice::drivers {

namespace {

std::string because(const Event& event) {
  return std::strlen(event.detail) > 0 ? std::string(": ") + event.detail : std::string();
}

std::string number(std::int64_t value) {
  return std::to_string(value);
}

std::string window_text(const Event& event) {
  const bool no_threshold = event.b >= std::int64_t{UINT32_MAX};
  return "cwnd " + number(event.a) + (no_threshold ? ", no ssthresh" : ", ssthresh " + number(event.b));
}

std::string what_of(const Event& event) {
  switch (event.kind) {
    case EventKind::kDrop:
      return std::string("dropped: ") + name_of(event.reason) + ", " + meaning_of(event.reason);
    case EventKind::kNeighborState:
      return std::string("neighbour entry: ") + event.detail;
    case EventKind::kAddressConflict:
      return "another station claims our address";
    case EventKind::kTcpState:
      return std::string("state ") + event.detail;
    case EventKind::kTcpCwnd:
      return window_text(event);
    case EventKind::kTcpRtt:
      return {};
    case EventKind::kTcpRetransmit:
      return "retransmit " + number(event.b) + " bytes from " + number(event.a) + because(event);
    case EventKind::kTcpTimeout:
      return "timeout" + because(event) + ", backoff " + number(event.b);
    case EventKind::kTcpRecoveryEnter:
      return "recovery begins, up to " + number(event.a) + because(event);
    case EventKind::kTcpRecoveryExit:
      return "recovery ends at " + number(event.a) + because(event);
    case EventKind::kTcpLoss:
      return number(event.a) + " bytes lost" + because(event) + ", " + number(event.b) + " in flight";
    case EventKind::kTcpUndo:
      return "undo of the last reduction" + because(event);
    case EventKind::kTcpProbe:
      return "probe" + because(event);
    case EventKind::kTcpPathMtu:
      return "packets of " + number(event.a) + " bytes, at most " + number(event.b) + because(event);
    case EventKind::kTcpReset:
      return "reset" + because(event);
    case EventKind::kTcpSynCookie:
      return "SYN cookie" + because(event);
    case EventKind::kTcpFastOpen:
      return "fast open" + because(event) + ", " + number(event.a) + " bytes in the SYN";
  }
  return event.detail;
}

}  // namespace

std::string text_of(const Event& event) {
  const std::string what = what_of(event);
  if (what.empty() || event.flow == 0) return what;
  return "conn " + std::to_string(event.flow) + ": " + what;
}

}  // namespace sluice::drivers
