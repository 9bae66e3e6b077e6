// RACK: what was sent before something that has arrived, and a reordering window earlier, is lost (RFC 8985 §6). It
// knows times; the scoreboard has the segments.
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/base/time.h"
#include "stack/tcp/scoreboard.h"

namespace sluice::tcp {

class Rack {
 public:
  // Step 2: `segment` has arrived (RFC8985-06, -07).
  void on_delivered(const Sent& segment, Instant now) {
    rtt_ = now - segment.stamp.at;
    if (!valid_ || latest_.sent_before(segment)) latest_ = segment;
    valid_ = true;
  }
  // Step 3 (RFC8985-08). `distance`: bytes from its beginning to the highest that arrived before it; 0: not known.
  void on_reordering(std::uint32_t distance) {
    reordering_seen_ = true;
    distance_ = std::max(distance_, distance);
    if (distance > 0) ++events_;
  }

  // Step 4, adaptation (RFC8985-03, -11): a D-SACK widens the window once a round trip; it stays so for 16 recoveries.
  void on_duplicate(Seq snd_una, Seq snd_nxt) {
    if (duplicate_round_known_ && snd_una < duplicate_round_) return;
    duplicate_round_known_ = true;
    duplicate_round_ = snd_nxt;
    multiplier_ = static_cast<std::uint8_t>(std::min(multiplier_ + 1, kMostMultiplier));
    keep_ = kKeep;
  }
  void on_recovery_done() {
    if (keep_ > 0 && --keep_ == 0) multiplier_ = 1;
  }

  // Step 4 (RFC8985-09, -10). `sure`: three segments are SACKed, or losses are being repaired.
  [[nodiscard]] Duration window(bool sure, Duration min_rtt, Duration srtt) const {
    if (!reordering_seen_ && sure) return {};
    return std::min(min_rtt * multiplier_ / 4, srtt);
  }

  [[nodiscard]] bool valid() const { return valid_; }  // something has arrived
  [[nodiscard]] const Sent& latest() const { return latest_; }
  [[nodiscard]] Duration rtt() const { return rtt_; }
  [[nodiscard]] bool reordering_seen() const { return reordering_seen_; }
  [[nodiscard]] std::uint32_t distance() const { return distance_; }  // the largest
  [[nodiscard]] std::uint32_t events() const { return events_; }
  [[nodiscard]] int multiplier() const { return multiplier_; }
  [[nodiscard]] bool has_learnt() const { return reordering_seen_ || multiplier_ > 1; }

 private:
  static constexpr std::uint8_t kKeep = 16;
  static constexpr int kMostMultiplier = 255;
  Sent latest_{};
  Duration rtt_{};
  Seq duplicate_round_;
  std::uint32_t distance_ = 0;
  std::uint32_t events_ = 0;
  std::uint8_t multiplier_ = 1;
  std::uint8_t keep_ = 0;
  bool duplicate_round_known_ = false;
  bool reordering_seen_ = false;
  bool valid_ = false;
};

}  // namespace sluice::tcp
