#include "stack/tcp/cc/hystart.h"

#include <algorithm>

#include "stack/tcp/cc/slow_start.h"

namespace sluice::tcp::cc {
namespace {
// RFC 9406 §4.3 (RFC9406-09)
constexpr Duration kMinThreshold = 4_ms;
constexpr Duration kMaxThreshold = 16_ms;
constexpr std::int64_t kThresholdDivisor = 8;
constexpr std::uint8_t kSamples = 8;
constexpr std::uint32_t kGrowthDivisor = 4;  // (RFC9406-10)
constexpr std::uint8_t kConservativeRounds = 5;
}  // namespace

void HyStart::start(const Init& init) {
  *this = HyStart();
  most_segments_ = static_cast<std::uint8_t>(std::min<std::uint32_t>(init.slow_start_segments, UINT8_MAX));
  if (init.slow_start == SlowStart::kHyStart) state_ = State::kSlowStart;
}

void HyStart::stop() {
  if (state_ != State::kOff) state_ = State::kDone;
}

// (RFC9406-02); CSS ends after five rounds, of which the first may be a partial one (RFC9406-07).
void HyStart::next_round() {
  last_round_min_ = round_min_;
  round_min_ = Duration::max();
  samples_ = 0;
  if (state_ == State::kConservative && ++conservative_rounds_ >= kConservativeRounds) state_ = State::kDone;
}

void HyStart::look() {
  if (samples_ < kSamples) return;
  if (state_ == State::kConservative) {
    if (Duration(round_min_) < baseline_) state_ = State::kSlowStart;  // it was spurious (RFC9406-06)
    return;
  }
  const Duration last = last_round_min_;
  if (last == Duration::max()) return;
  if (round_min_ < last + std::clamp(last / kThresholdDivisor, kMinThreshold, kMaxThreshold)) return;  // (RFC9406-04)
  baseline_ = round_min_;
  conservative_rounds_ = 0;
  state_ = State::kConservative;
}

std::uint32_t HyStart::on_ack(const Ack& ack, std::uint32_t mss) {
  if (ack.round_start) next_round();  // (RFC9406-01)
  if (ack.rtt != Duration()) {
    round_min_ = std::min<Duration>(round_min_, ack.rtt);
    samples_ = std::min<std::uint8_t>(static_cast<std::uint8_t>(samples_ + 1), kSamples);
  }
  const std::uint32_t step = slow_start_step(ack.acked, mss, most_segments_);                  // (RFC9406-03)
  const std::uint32_t growth = state_ == State::kConservative ? step / kGrowthDivisor : step;  // (RFC9406-05)
  if (state_ == State::kSlowStart || state_ == State::kConservative) look();
  return state_ == State::kDone ? 0 : growth;
}

}  // namespace sluice::tcp::cc
