// The interface of congestion control: events by value in, window and pacing rate out. A controller owns cwnd and
// ssthresh, knows nothing of the connection and points at nothing. Loss detection is not its business, nor is the
// window while losses are repaired (recovery_window.h), unless it asks for that.
// The cut into events follows RFC 5681 (ACK, loss, timeout, idle), with ECN, undo and rate samples beside it.
#pragma once

#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp::cc {

enum class SlowStart : std::uint8_t {
  kStandard,  // until a loss or ssthresh
  kHyStart,   // RFC 9406: until round trips grow, for controllers that can
};

struct Init {
  std::uint32_t mss = 536;           // SMSS, payload bytes of a full segment
  std::uint32_t initial_window = 0;  // bytes (RFC 6928 or RFC 5681 §3.1)
  Duration srtt{};                   // of the handshake; zero: none
  std::uint64_t seed = 0;            // for controllers that roll dice
  SlowStart slow_start = SlowStart::kHyStart;
  // What one ACK adds to the window in slow start at most: L of RFC 9406 §4.3 (RFC9406-09). There is no need of a limit
  // where bursts are paced.
  std::uint32_t slow_start_segments = 8;
};

// How fast the path delivered: the segment sent last of those that an ACK newly covers, from when it was sent until now
// (draft-ietf-ccwg-bbr §4.1.1: delivery rate samples). Bytes are counted when they are acknowledged or SACKed.
struct RateSample {
  Duration interval{};                // over which; zero: there is no sample
  std::uint64_t delivered = 0;        // bytes in this interval
  std::uint64_t prior_delivered = 0;  // bytes delivered in all when that segment was sent
  std::uint32_t lost = 0;             // bytes found lost in this interval
  std::uint32_t sent_in_flight = 0;   // bytes in flight when that segment had been sent, with it
  bool app_limited = false;           // the application had not enough to send: a lower bound only
};

enum class Phase : std::uint8_t {
  kOpen,
  kReducing,  // the window falls because of ECN marks; nothing is lost
  kRecovery,  // losses found by ACKs are being repaired
  kLoss,      // a timeout is being repaired
};

// Nothing grows meanwhile (RFC3168-07).
constexpr bool window_falls(Phase phase) {
  return phase == Phase::kReducing || phase == Phase::kRecovery;
}

struct Ack {  // it acknowledged something, cumulatively or by SACK
  Instant now{};
  std::uint32_t acked = 0;            // bytes by which SND.UNA advanced; may be 0 in recovery
  std::uint32_t delivered = 0;        // bytes newly acknowledged or SACKed, > 0
  std::uint32_t lost = 0;             // bytes newly found lost
  std::uint32_t marked = 0;           // of `delivered`: bytes that the peer saw with CE (RFC 3168, RFC 9768)
  std::uint32_t flight = 0;           // bytes in the network before this ACK
  Duration rtt{};                     // sample of this ACK; zero: none
  Duration min_rtt{};                 // zero: none yet
  std::uint64_t total_delivered = 0;  // bytes in the life of the connection
  RateSample rate{};
  Phase phase = Phase::kOpen;
  bool cwnd_limited = true;  // the window, not the application, held the sender back
  bool round_start = false;  // the first ACK for what was sent after the last such ACK: a round trip is over
};

enum class Signal : std::uint8_t { kLoss, kEcn };
struct Congestion {  // once for each window of data in which loss or an ECN mark was found
  Instant now{};
  Signal signal = Signal::kLoss;
  std::uint32_t flight = 0;  // bytes in the network, without limited-transmit data (RFC5681-26); for marks, cwnd
};

struct RecoveryDone {
  Instant now{};
  std::uint32_t window = 0;  // bytes with which the repair ended, at most ssthresh: go on from there
};

struct Timeout {
  Instant now{};
  std::uint32_t flight = 0;
  bool first = true;  // not a repeated timeout of the same segment (RFC5681-17)
};

struct Undo {  // the last reduction was for a loss that was none
  Instant now{};
};

struct Idle {  // sending again after more than one RTO of silence (RFC 5681 §4.1)
  Instant now{};
};

// A window after a change of the segment size: as many segments as before when they become smaller, as many bytes when
// they become larger (RFC4821-04), and never less than one.
constexpr std::uint32_t resized(std::uint32_t window, std::uint32_t old_mss, std::uint32_t mss) {
  if (window == UINT32_MAX) return window;
  const std::uint64_t same = mss < old_mss ? std::uint64_t{window} * mss / old_mss : window;
  return static_cast<std::uint32_t>(same > mss ? same : mss);
}

class Controller {
 public:
  virtual ~Controller() = default;

  virtual void start(const Init& init) = 0;
  virtual void on_ack(const Ack& ack) = 0;                  // in every phase
  virtual void on_congestion(const Congestion& event) = 0;  // lowers ssthresh and cwnd
  virtual void on_recovery_done(const RecoveryDone& event) = 0;
  virtual void on_timeout(const Timeout& event) = 0;
  virtual void on_undo(const Undo& event) = 0;  // cwnd and ssthresh are at least what they were before
  virtual void on_idle(const Idle& event) = 0;
  virtual void on_mss_change(std::uint32_t mss) = 0;

  [[nodiscard]] virtual std::uint32_t cwnd() const = 0;                  // bytes, at least one MSS
  [[nodiscard]] virtual std::uint32_t ssthresh() const = 0;              // bytes; UINT32_MAX: not yet set
  [[nodiscard]] virtual std::uint64_t pacing_rate() const { return 0; }  // bytes/s; 0: it has no wish
  // True: cwnd() holds in recovery too, and nobody else's window does.
  [[nodiscard]] virtual bool rules_recovery() const { return false; }
  [[nodiscard]] virtual const char* name() const = 0;
};

}  // namespace sluice::tcp::cc
