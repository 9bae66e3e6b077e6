#include "stack/tcp/cc/cubic.h"

#include <algorithm>

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
  initial_window_ = now_.cwnd = init.initial_window;
  srtt_ = init.srtt;
  slow_start_segments_ = init.slow_start_segments;
  hystart_.start(init);  // (RFC9438-22)
}

// (RFC9438-12)
std::uint32_t Cubic::threshold(std::uint32_t flight) const {
  return std::max(static_cast<std::uint32_t>(beta(flight)), 2 * mss_);
}

void Cubic::on_ack(const Ack& ack) {
  if (ack.rtt != Duration()) srtt_ = srtt_ == Duration() ? ack.rtt : srtt_ + (ack.rtt - srtt_) / 8;
  const Duration passed = ack.now - last_ack_;
  last_ack_ = ack.now;
  // Time in which the application, not the window, held the sender back does not count (RFC9438-04, -13). Nothing
  // grows but by ACKs of new data (RFC9438-25).
  if (window_falls(ack.phase) || !ack.cwnd_limited || ack.acked == 0) return;
  if (now_.cwnd < now_.ssthresh) {
    slow_start(ack);  // (RFC9438-21)
  } else {
    avoid_congestion(ack, passed);
  }
  now_.cwnd = std::min(now_.cwnd, kMaxWindow);
}

void Cubic::slow_start(const Ack& ack) {
  if (hystart_.state() == HyStart::State::kSlowStart || hystart_.state() == HyStart::State::kConservative) {
    now_.cwnd += hystart_.on_ack(ack, mss_);
    if (hystart_.state() != HyStart::State::kDone) return;
    now_.ssthresh = now_.prior = now_.cwnd;  // (RFC9406-07, RFC9438-23)
    return;
  }
  now_.cwnd += slow_start_step(ack.acked, mss_, after_timeout_ ? kAfterTimeout : slow_start_segments_);
}

// After a reduction the curve leads back to where that was (RFC9438-02); after a timeout or a slow start without loss
// it begins at its flat point (RFC9438-16, -23).
void Cubic::begin_curve() {
  if (now_.curve == Curve::kNone || now_.w_max < now_.cwnd) now_.w_max = now_.cwnd;
  now_.k = cubic_time(now_.w_max - now_.cwnd, mss_);
  now_.elapsed = Duration();
  now_.estimate = now_.cwnd;  // (RFC9438-06, -17)
  now_.growth_rest = now_.estimate_rest = 0;
  now_.curve = Curve::kRunning;
}

// W_cubic(t) (RFC9438-01)
std::uint32_t Cubic::curve_at(Duration t) const {
  const std::uint32_t rise = cubic_rise(abs(t - now_.k), mss_);
  if (t >= now_.k) return std::min(now_.w_max + rise, kMaxWindow);
  return now_.w_max - std::min(rise, now_.w_max);
}

// W_est += alpha * segments_acked / cwnd (RFC9438-06); alpha is 1 once Reno would be back where it was (RFC9438-07).
void Cubic::grow_estimate(std::uint32_t acked) {
  const bool recovered = now_.estimate >= now_.prior;
  const std::uint64_t alpha = recovered ? kAlphaDenominator : kAlphaNumerator;
  now_.estimate_rest += alpha * std::min(acked, now_.cwnd) * mss_;
  const std::uint64_t one = kAlphaDenominator * now_.cwnd;
  now_.estimate = std::min(now_.estimate + static_cast<std::uint32_t>(now_.estimate_rest / one), kMaxWindow);
  now_.estimate_rest %= one;
}

void Cubic::avoid_congestion(const Ack& ack, Duration passed) {
  after_timeout_ = false;
  if (now_.curve != Curve::kRunning) {
    begin_curve();
  } else {
    now_.elapsed += passed;
  }
  grow_estimate(ack.acked);
  if (curve_at(now_.elapsed) < now_.estimate) {  // where Reno does better (RFC9438-05)
    now_.cwnd = std::max(now_.cwnd, now_.estimate);
    return;
  }
  // Both sides of the plateau (RFC9438-08, -09): in one round trip to where the curve is then (RFC9438-03).
  const std::uint32_t target = std::clamp(curve_at(now_.elapsed + srtt_), now_.cwnd, now_.cwnd + now_.cwnd / 2);
  now_.growth_rest += std::uint64_t{target - now_.cwnd} * std::min(ack.acked, now_.cwnd);
  const std::uint32_t window = now_.cwnd;
  now_.cwnd += static_cast<std::uint32_t>(now_.growth_rest / window);
  now_.growth_rest %= window;
}

// (RFC9438-10)
void Cubic::on_congestion(const Congestion& event) {
  before_ = now_;
  recovering_ = true;
  hystart_.stop();  // (RFC9406-08)
  now_.prior = now_.cwnd;
  // Fast convergence: who lost before it was back makes room for others (RFC9438-15).
  const bool fell_short = now_.cwnd < now_.w_max;
  now_.w_max = fell_short ? static_cast<std::uint32_t>(std::uint64_t{now_.cwnd} * 17 / 20) : now_.cwnd;
  now_.curve = Curve::kPlateau;
  now_.ssthresh = threshold(event.flight);
  // Marks may lead down to one segment (RFC9438-14), losses to two.
  const std::uint32_t least = event.signal == Signal::kEcn ? mss_ : 2 * mss_;
  now_.cwnd = std::max(static_cast<std::uint32_t>(beta(event.flight)), least);
}

void Cubic::on_recovery_done(const RecoveryDone& event) {
  now_.cwnd = event.window;
  recovering_ = false;
}

// (RFC9438-16); in recovery it is the second congestion, of what the first had left (RFC5681-38).
void Cubic::on_timeout(const Timeout& event) {
  if (event.first) {
    if (!recovering_) before_ = now_;
    now_.prior = std::max(now_.cwnd, mss_);
    now_.ssthresh = threshold(recovering_ ? std::min(event.flight, now_.ssthresh) : event.flight);
  }
  hystart_.stop();  // (RFC9406-11)
  recovering_ = false;
  after_timeout_ = true;
  now_.cwnd = mss_;
  now_.curve = Curve::kNone;
}

// Back to what was before (RFC9438-18, -19), unless the window is there already (RFC9438-20).
void Cubic::on_undo(const Undo&) {
  recovering_ = after_timeout_ = false;
  if (now_.cwnd < before_.cwnd) now_ = before_;
}

// The restart window (RFC5681-32); ssthresh remembers what the path took (RFC 2861 §3).
void Cubic::on_idle(const Idle& event) {
  now_.ssthresh = std::max(now_.ssthresh, now_.cwnd - now_.cwnd / 4);
  now_.cwnd = std::min(now_.cwnd, initial_window_);
  if (now_.curve == Curve::kRunning) now_.curve = Curve::kPlateau;
  last_ack_ = event.now;
}

// (RFC5681-07)
void Cubic::on_mss_change(std::uint32_t mss) {
  now_.cwnd = resized(now_.cwnd, mss_, mss);
  initial_window_ = resized(initial_window_, mss_, mss);
  now_.ssthresh = std::max(now_.ssthresh, mss);
  mss_ = mss;
}

}  // namespace sluice::tcp::cc
