#include "stack/tcp/recovery.h"

namespace sluice::tcp {

Recovery::OnDuplicate Recovery::on_duplicate_ack(Seq snd_una, Seq snd_max) {
  ++duplicates_;
  if (active()) return OnDuplicate::kInflate;
  if (duplicates_ < kThreshold) return OnDuplicate::kLimitedTransmit;
  // Duplicates of what was retransmitted in an earlier recovery are no sign of a new loss (RFC6582-02).
  const bool repaired = phase_ != cc::Phase::kReducing && snd_una <= recover_;
  if (duplicates_ > kThreshold || repaired) return OnDuplicate::kNothing;
  enter(snd_max);
  return OnDuplicate::kEnter;
}

Recovery::OnAck Recovery::on_ack(Seq snd_una) {
  duplicates_ = 0;
  const bool repairing = active();
  if (over(snd_una)) leave();
  if (!repairing) return OnAck::kOpen;
  if (!active()) return OnAck::kDone;
  if (partial_seen_) return OnAck::kPartial;
  partial_seen_ = true;
  return OnAck::kFirstPartial;
}

void Recovery::enter(Seq snd_max) {
  phase_ = cc::Phase::kRecovery;
  partial_seen_ = false;
  recover_ = snd_max;
}

void Recovery::on_timeout(Seq snd_max) {
  phase_ = cc::Phase::kLoss;
  duplicates_ = 0;
  recover_ = snd_max;
}

}  // namespace sluice::tcp
