// In which phase the sender is, and until when; and the decisions where SACK was not agreed: fast retransmit (RFC 5681
// §3.2), NewReno (RFC 6582), limited transmit (RFC 3042). It decides; the connection acts.
#pragma once

#include <cstdint>

#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

class Recovery {
 public:
  static constexpr int kThreshold = 3;  // duplicate ACKs (RFC5681-21)

  enum class OnDuplicate : std::uint8_t {
    kNothing,
    kLimitedTransmit,  // one new segment beyond cwnd may go (RFC5681-23)
    kEnter,            // retransmit the first segment and reduce the window (RFC5681-26, -27)
    kInflate,          // another segment has left the network (RFC5681-28)
  };
  enum class OnAck : std::uint8_t {
    kOpen,          // not in recovery
    kPartial,       // the next hole: retransmit the first segment (RFC6582-05)
    kFirstPartial,  // the same, and restart the retransmission timer (RFC6582-06)
    kDone,          // everything sent before recovery is acknowledged
  };

  void start(Seq iss) { recover_ = iss; }

  // A duplicate ACK for snd_una; snd_max is one past the highest number sent.
  OnDuplicate on_duplicate_ack(Seq snd_una, Seq snd_max);
  // An ACK that advances to snd_una.
  OnAck on_ack(Seq snd_una);
  // The retransmission timer expired: what was sent before is not counted for a fast retransmit (RFC 6582 §3.2 step 4).
  void on_timeout(Seq snd_max);

  // With SACK others decide (connection.h); they say so here.
  void count_duplicate() { ++duplicates_; }  // an ACK with new SACK information only (RFC6675-09)
  void on_advance() { duplicates_ = 0; }     // likewise
  void enter(Seq snd_max);                   // (RFC6675-10): losses below snd_max are repaired
  void reduce(Seq snd_max) {                 // for marks: until something sent after this is acknowledged
    phase_ = cc::Phase::kReducing;
    recover_ = snd_max;
  }
  void leave() { phase_ = cc::Phase::kOpen; }  // they are, or were none
  // What was sent until a reduction may still echo the marks that led to it.
  [[nodiscard]] bool over(Seq snd_una) const {
    if (phase_ == cc::Phase::kReducing) return snd_una > recover_;
    return phase_ != cc::Phase::kOpen && snd_una >= recover_;
  }

  [[nodiscard]] cc::Phase phase() const { return phase_; }
  [[nodiscard]] bool active() const { return phase_ == cc::Phase::kRecovery; }
  [[nodiscard]] bool repairing() const { return active() || phase_ == cc::Phase::kLoss; }
  [[nodiscard]] bool window_falls() const { return cc::window_falls(phase_); }
  [[nodiscard]] int duplicates() const { return duplicates_; }
  [[nodiscard]] Seq point() const { return recover_; }

 private:
  Seq recover_;
  int duplicates_ = 0;
  cc::Phase phase_ = cc::Phase::kOpen;
  bool partial_seen_ = false;
};

}  // namespace sluice::tcp
