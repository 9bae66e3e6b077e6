#include "stack/tcp/recovery.h"

namespace sluice::tcp {

Recovery::OnDuplicate Recovery::on_duplicate_ack(Seq snd_una, Seq snd_max) {
  ++duplicates_;
  if (active_) return OnDuplicate::kInflate;
  if (duplicates_ < kThreshold) return OnDuplicate::kLimitedTransmit;
  // Duplicates of what was retransmitted in an earlier recovery are no sign of a new loss (RFC6582-02).
  if (duplicates_ > kThreshold || snd_una <= recover_) return OnDuplicate::kNothing;
  active_ = true;
  partial_seen_ = false;
  recover_ = snd_max;
  return OnDuplicate::kEnter;
}

Recovery::OnAck Recovery::on_ack(Seq snd_una) {
  duplicates_ = 0;
  if (!active_) return OnAck::kOpen;
  if (snd_una >= recover_) {
    active_ = false;
    return OnAck::kDone;
  }
  if (partial_seen_) return OnAck::kPartial;
  partial_seen_ = true;
  return OnAck::kFirstPartial;
}

void Recovery::on_timeout(Seq snd_max) {
  active_ = false;
  duplicates_ = 0;
  recover_ = snd_max;
}

}  // namespace sluice::tcp
