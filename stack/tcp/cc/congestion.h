// The interface of congestion control: events by value in, window and pacing rate out. A controller owns cwnd and
// ssthresh, knows nothing of the connection and points at nothing. Loss detection is not its business.
// The four-event cut follows RFC 5681 (ACK, loss, timeout, idle), with room for ECN and rate samples.
#pragma once

#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp::cc {

struct Init {
  std::uint32_t mss = 536;           // SMSS, payload bytes of a full segment
  std::uint32_t initial_window = 0;  // bytes (RFC 6928 or RFC 5681 §3.1)
};

struct Ack {  // SND.UNA advanced, outside recovery
  Instant now{};
  std::uint32_t acked = 0;      // bytes newly acknowledged, > 0
  std::uint32_t flight = 0;     // bytes outstanding before this ACK
  Duration rtt{};               // sample of this ACK; zero: none
  Duration min_rtt{};           // zero: none yet
  bool cwnd_limited = true;     // the window, not the application, held the sender back
  std::uint64_t delivered = 0;  // bytes delivered in all, for rate-based controllers
};

struct DuplicateAck {  // in recovery without SACK: one more segment has left the network
  Instant now{};
};

enum class Signal : std::uint8_t { kLoss, kEcn };
struct Congestion {  // once for each window of data in which loss or an ECN mark was found
  Instant now{};
  Signal signal = Signal::kLoss;
  std::uint32_t flight = 0;  // FlightSize, without limited-transmit data (RFC5681-26)
};

struct PartialAck {  // RFC 6582 §3.2 step 3
  Instant now{};
  std::uint32_t acked = 0;
};

struct RecoveryDone {
  Instant now{};
  std::uint32_t flight = 0;  // bytes outstanding after the ACK that ended recovery
};

struct Timeout {
  Instant now{};
  std::uint32_t flight = 0;
  bool first = true;  // not a repeated timeout of the same segment (RFC5681-17)
};

struct Idle {  // sending again after more than one RTO of silence (RFC 5681 §4.1)
  Instant now{};
};

class Controller {
 public:
  virtual ~Controller() = default;

  virtual void start(const Init& init) = 0;
  virtual void on_ack(const Ack& ack) = 0;
  virtual void on_congestion(const Congestion& event) = 0;  // entering recovery
  virtual void on_duplicate_ack(const DuplicateAck& event) = 0;
  virtual void on_partial_ack(const PartialAck& event) = 0;
  virtual void on_recovery_done(const RecoveryDone& event) = 0;
  virtual void on_timeout(const Timeout& event) = 0;
  virtual void on_idle(const Idle& event) = 0;
  virtual void on_mss_change(std::uint32_t mss) = 0;

  [[nodiscard]] virtual std::uint32_t cwnd() const = 0;                  // bytes, at least one MSS
  [[nodiscard]] virtual std::uint32_t ssthresh() const = 0;              // bytes; UINT32_MAX: not yet set
  [[nodiscard]] virtual std::uint64_t pacing_rate() const { return 0; }  // bytes/s; 0: do not pace
  [[nodiscard]] virtual const char* name() const = 0;
};

}  // namespace sluice::tcp::cc
