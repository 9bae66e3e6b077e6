#include "stack/tcp/cc/cubic.h"

#include <algorithm>
#include <utility>

#include "stack/tcp/cc/slow_start.h"

namespace sluice::tcp::cc {
namespace {

// beta = 0.7 (RFC9438-11)
constexpr std::uint64_t beta(std::uint64_t bytes) {
  return bytes * 7 / 10;
}

// 1 / C = 2.5 s^3 a segment, in cubic milliseconds (RFC9438-24).
constexpr std::uint64_t kInverseC = 2'500'000'000;

constexpr std::uint64_t kAlphaNumerator = 9;  // alpha = 3 * (1 - beta) / (1 + beta) = 9 / 17 (RFC9438-06)
constexpr std::uint64_t kAlphaDenominator = 17;

// The largest n with n^3 <= x, found bit by bit.
std::uint64_t cube_root(std::uint64_t x) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 20; bit != 0; bit >>= 1) {
    const std::uint64_t n = root | bit;
    if (n * n * n <= x) root = n;
  }
  return root;
}

}  // namespace

std::uint32_t cubic_rise(Duration t, std::uint32_t mss) {
  const auto n = static_cast<std::uint64_t>(t.to_millis());
  // Beyond either bound the result is; below both, n^3 * mss is less than 2^62.
  if (n >= std::uint64_t{1} << 21 || n * n * n > kMaxWindow * kInverseC / mss) return kMaxWindow;
  return static_cast<std::uint32_t>(n * n * n * mss / kInverseC);
}

Duration cubic_time(std::uint32_t bytes, std::uint32_t mss) {
  return Duration::millis(static_cast<std::int64_t>(cube_root(std::uint64_t{bytes} * kInverseC / mss)));
}

void Cubic::start(const Init& init) {
  mss_ = init.mss;
  initial_window_ = cwnd_ = init.initial_window;
  srtt_ = init.srtt;
  hystart_.start(init);  // (RFC9438-22)
}

// (RFC9438-12)
std::uint32_t Cubic::threshold(std::uint32_t flight) const {
  return std::max(static_cast<std::uint32_t>(beta(flight)), 2 * mss_);
}

void Cubic::on_ack(const Ack& ack) {
  if (const Duration srtt = srtt_; ack.rtt != Duration()) {
    srtt_ = srtt == Duration() ? ack.rtt : srtt + (ack.rtt - srtt) / 8;
  }
  Duration passed;
  if (avoidance_ != nullptr) passed = ack.now - std::exchange(avoidance_->last_ack, ack.now);
  // Time in which the application, not the window, held the sender back does not count (RFC9438-04, -13). Nothing
  // grows but by ACKs of new data (RFC9438-25).
  if (window_falls(ack.phase) || !ack.cwnd_limited || ack.acked == 0) return;
  if (cwnd_ < ssthresh_) {
    slow_start(ack);  // (RFC9438-21)
  } else {
    avoid_congestion(ack, passed);
  }
  cwnd_ = std::min(cwnd_, kMaxWindow);
}

void Cubic::slow_start(const Ack& ack) {
  if (hystart_.state() == HyStart::State::kSlowStart || hystart_.state() == HyStart::State::kConservative) {
    cwnd_ += hystart_.on_ack(ack, mss_);
    if (hystart_.state() != HyStart::State::kDone) return;
    ssthresh_ = avoidance().curve.prior = cwnd_;  // (RFC9406-07, RFC9438-23)
    return;
  }
  cwnd_ += slow_start_step(ack.acked, mss_, after_timeout_ ? kAfterTimeout : hystart_.most_segments());
}

// After a reduction the curve leads back to where that was (RFC9438-02); after a timeout or a slow start without loss
// it begins at its flat point (RFC9438-16, -23).
void Cubic::begin_curve() {
  Curve& curve = avoidance_->curve;
  if (curve.stage == Curve::Stage::kNone || curve.w_max < cwnd_) curve.w_max = cwnd_;
  curve.k = cubic_time(curve.w_max - cwnd_, mss_);
  curve.elapsed = Duration();
  curve.estimate = cwnd_;  // (RFC9438-06, -17)
  curve.growth_rest = curve.estimate_rest = 0;
  curve.stage = Curve::Stage::kRunning;
}

// W_cubic(t) (RFC9438-01)
std::uint32_t Cubic::curve_at(Duration t) const {
  const Curve& curve = avoidance_->curve;
  const std::uint32_t rise = cubic_rise(abs(t - curve.k), mss_);
  if (t >= curve.k) return std::min(curve.w_max + rise, kMaxWindow);
  return curve.w_max - std::min(rise, curve.w_max);
}

// W_est += alpha * segments_acked / cwnd (RFC9438-06); alpha is 1 once Reno would be back where it was (RFC9438-07).
void Cubic::grow_estimate(std::uint32_t acked) {
  Curve& curve = avoidance_->curve;
  const bool recovered = curve.estimate >= curve.prior;
  const std::uint64_t alpha = recovered ? kAlphaDenominator : kAlphaNumerator;
  curve.estimate_rest += alpha * std::min(acked, cwnd_) * mss_;
  const std::uint64_t one = kAlphaDenominator * cwnd_;
  curve.estimate = std::min(curve.estimate + static_cast<std::uint32_t>(curve.estimate_rest / one), kMaxWindow);
  curve.estimate_rest %= one;
}

void Cubic::avoid_congestion(const Ack& ack, Duration passed) {
  after_timeout_ = false;
  Curve& curve = avoidance().curve;
  if (curve.stage != Curve::Stage::kRunning) {
    begin_curve();
  } else {
    curve.elapsed += passed;
  }
  grow_estimate(ack.acked);
  if (curve_at(curve.elapsed) < curve.estimate) {  // where Reno does better (RFC9438-05)
    cwnd_ = std::max(cwnd_, curve.estimate);
    return;
  }
  // Both sides of the plateau (RFC9438-08, -09): in one round trip to where the curve is then (RFC9438-03).
  const std::uint32_t target = std::clamp(curve_at(curve.elapsed + srtt_), cwnd_, cwnd_ + cwnd_ / 2);
  curve.growth_rest += std::uint64_t{target - cwnd_} * std::min(ack.acked, cwnd_);
  const std::uint32_t window = cwnd_;
  cwnd_ += static_cast<std::uint32_t>(curve.growth_rest / window);
  curve.growth_rest %= window;
}

void Cubic::remember() {
  Avoidance& a = avoidance();
  a.before = {cwnd_, ssthresh_, a.curve};
}

// (RFC9438-10)
void Cubic::on_congestion(const Congestion& event) {
  remember();
  Curve& curve = avoidance_->curve;
  recovering_ = true;
  hystart_.stop();  // (RFC9406-08)
  curve.prior = cwnd_;
  // Fast convergence: who lost before it was back makes room for others (RFC9438-15).
  const bool fell_short = cwnd_ < curve.w_max;
  curve.w_max = fell_short ? static_cast<std::uint32_t>(std::uint64_t{cwnd_} * 17 / 20) : cwnd_;
  curve.stage = Curve::Stage::kPlateau;
  ssthresh_ = threshold(event.flight);
  // Marks may lead down to one segment (RFC9438-14), losses to two.
  const std::uint32_t least = event.signal == Signal::kEcn ? mss_ : 2 * mss_;
  cwnd_ = std::max(static_cast<std::uint32_t>(beta(event.flight)), least);
}

void Cubic::on_recovery_done(const RecoveryDone& event) {
  cwnd_ = event.window;
  recovering_ = false;
}

// (RFC9438-16); in recovery it is the second congestion, of what the first had left (RFC5681-38).
void Cubic::on_timeout(const Timeout& event) {
  Curve& curve = avoidance().curve;
  if (event.first) {
    if (!recovering_) remember();
    curve.prior = std::max(cwnd_, mss_);
    ssthresh_ = threshold(recovering_ ? std::min(event.flight, ssthresh_) : event.flight);
  }
  hystart_.stop();  // (RFC9406-11)
  recovering_ = false;
  after_timeout_ = true;
  cwnd_ = mss_;
  curve.stage = Curve::Stage::kNone;
}

// Back to what was before (RFC9438-18, -19), unless the window is there already (RFC9438-20).
void Cubic::on_undo(const Undo&) {
  recovering_ = after_timeout_ = false;
  if (avoidance_ == nullptr || cwnd_ >= avoidance_->before.cwnd) return;
  cwnd_ = avoidance_->before.cwnd;
  ssthresh_ = avoidance_->before.ssthresh;
  avoidance_->curve = avoidance_->before.curve;
}

// The restart window (RFC5681-32); ssthresh remembers what the path took (RFC 2861 §3).
void Cubic::on_idle(const Idle& event) {
  ssthresh_ = std::max(ssthresh_, cwnd_ - cwnd_ / 4);
  cwnd_ = std::min(cwnd_, initial_window_);
  if (avoidance_ == nullptr) return;
  if (avoidance_->curve.stage == Curve::Stage::kRunning) avoidance_->curve.stage = Curve::Stage::kPlateau;
  avoidance_->last_ack = event.now;
}

// (RFC5681-07)
void Cubic::on_mss_change(std::uint32_t mss) {
  cwnd_ = resized(cwnd_, mss_, mss);
  initial_window_ = resized(initial_window_, mss_, mss);
  ssthresh_ = std::max(ssthresh_, mss);
  mss_ = mss;
}

}  // namespace sluice::tcp::cc
