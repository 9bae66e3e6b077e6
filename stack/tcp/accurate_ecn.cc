#include "stack/tcp/accurate_ecn.h"

#include <algorithm>
#include <utility>

#include "stack/tcp/ecn.h"

namespace sluice::tcp {

using wire::tcp::AccurateEcnOption;

namespace {
constexpr std::uint32_t kMask = AccurateEcnOption::kMask;
constexpr std::uint8_t kReflectsNone = 2, kReflectsCapable1 = 3, kReflectsCapable0 = 4, kReflectsCongestion = 6;
constexpr std::uint32_t kHalf = 1u << 23;  // further back a count of 24 bits is an old one
}  // namespace

std::uint8_t reflected(std::uint8_t codepoint) {
  constexpr std::uint8_t kCodes[] = {kReflectsNone, kReflectsCapable1, kReflectsCapable0, kReflectsCongestion};
  return kCodes[codepoint & kEcnMask];
}

// --- of what the peer sends

void AccurateEcn::on_syn_ack(std::uint8_t codepoint) {
  reply_ = reflected(codepoint);
  if (codepoint == kEcnCongestion) ++marks_;
}

void AccurateEcn::count(std::uint8_t codepoint, std::uint32_t packets, std::uint32_t bytes) {
  const bool marked = codepoint == kEcnCongestion;
  begun_ = marked && !last_marked_;
  last_marked_ = marked;
  if (codepoint == 0) return;
  seen_ = true;
  if (marked) {
    marks_ += packets;
    marks_since_ack_ += packets;
  }
  std::uint32_t& counter = marked ? congestion_ : codepoint == kEcnCapable0 ? capable0_ : capable1_;
  counter = (counter + bytes) & kMask;
  option_due_ |= bytes > 0;
}

bool AccurateEcn::ack_due(bool data_waits) const {
  if (data_waits) return begun_ || marks_since_ack_ >= 2;
  return marks_since_ack_ >= 3;
}

// --- of what we say

std::uint8_t AccurateEcn::ace() {
  return std::exchange(reply_, std::nullopt).value_or(ace_next());
}

// As few counts as have ever changed.
AccurateEcnOption AccurateEcn::option() const {
  AccurateEcnOption o{.present = true, .has = AccurateEcnOption::kCapable0};
  if (congestion_ != 0) o.has |= AccurateEcnOption::kCongestion;
  if (capable1_ != 1) o.has |= AccurateEcnOption::kCongestion | AccurateEcnOption::kCapable1;
  o.capable0 = capable0_;
  o.congestion = congestion_;
  o.capable1 = capable1_;
  return o;
}

// --- of what the peer says

void AccurateEcn::on_first(std::uint8_t ace, bool bare) {
  first_seen_ = true;
  if (ace == 0) mangled_ = true;
  if (bare && ace == kReflectsCongestion) ++peer_marks_;
}

void AccurateEcn::on_answer(std::uint8_t ace) {
  if (ace != kReflectsNone) mangled_ = true;
}

// Counts that begin with zero were cleared by somebody (RFC 9768 §3.2.3.2.4).
void AccurateEcn::take_option(const AccurateEcnOption& o) {
  if (!option_seen_) {
    const bool zero0 = (o.has & AccurateEcnOption::kCapable0) != 0 && o.capable0 == 0;
    const bool zero1 = (o.has & AccurateEcnOption::kCapable1) != 0 && o.capable1 == 0;
    option_bad_ = zero0 || zero1;
  }
  option_seen_ = true;
  if ((o.has & AccurateEcnOption::kCapable0) != 0) peer_capable0_ = o.capable0;
  if ((o.has & AccurateEcnOption::kCapable1) != 0) peer_capable1_ = o.capable1;
}

// The three bits say how many marks there were modulo eight. When the ACK covers so much that it may have been eight
// more, the option decides by its bytes; without it the worst is assumed (RFC 9768 §3.2.2.5, appendix A.2).
void AccurateEcn::on_ack(std::uint8_t ace, const AccurateEcnOption& o, std::uint32_t bytes, std::uint32_t mss) {
  if (o.present) take_option(o);
  if (mangled_) return;
  std::uint32_t packets = (ace - peer_marks_) & 7;
  const std::uint32_t delivered = (bytes + mss - 1) / mss;
  const bool exact = o.present && !option_bad_ && (o.has & AccurateEcnOption::kCongestion) != 0;
  const std::uint32_t marked = exact ? (o.congestion - peer_congestion_) & kMask : 0;
  const bool none_marked = o.present && !option_bad_ && !exact && peer_congestion_ == 0;
  if (exact && marked < kHalf) {
    const std::uint32_t least = (marked + mss - 1) / mss;
    if (least > packets) packets += (least - packets + 7) / 8 * 8;
    peer_congestion_ = o.congestion;
    news_.bytes = marked - std::min(marked, estimated_);
    estimated_ = estimated_ - std::min(marked, estimated_);
  } else if (!none_marked) {
    if (delivered > 7) packets = std::max(packets, delivered - ((delivered - packets) & 7));
    news_.bytes = std::min(packets * mss, bytes);
    estimated_ += news_.bytes;
  }
  news_.packets = packets;
  peer_marks_ += packets;
}

AccurateEcn::Totals AccurateEcn::totals() const {
  return {.received_marks = marks_ - kFirst,
          .received_capable0 = (capable0_ - 1) & kMask,
          .received_capable1 = (capable1_ - 1) & kMask,
          .received_marked = congestion_,
          .delivered_marks = peer_marks_ - kFirst,
          .delivered_capable0 = (peer_capable0_ - 1) & kMask,
          .delivered_capable1 = (peer_capable1_ - 1) & kMask,
          .delivered_marked = peer_congestion_,
          .option_seen = option_seen_};
}

}  // namespace sluice::tcp
