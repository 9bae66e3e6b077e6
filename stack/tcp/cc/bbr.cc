#include "stack/tcp/cc/bbr.h"

#include <algorithm>
#include <array>

namespace sluice::tcp::cc {
namespace {
constexpr Gain kHighGain{2885};  // 2 / ln 2: the least that doubles the rate each round trip
constexpr Gain kDrainGain{347};  // its inverse
constexpr Gain kProbeWindowGain{2000};
constexpr Gain kUnit{1000};
constexpr std::array kCycle = {Gain{1250}, Gain{750}, kUnit, kUnit, kUnit, kUnit, kUnit, kUnit};
constexpr Duration kMinRttLifetime = 10_s;
constexpr Duration kProbeRttTime = 200_ms;
constexpr std::uint32_t kMaxQuantum = 64u << 10;
constexpr Rate kLowRate = 1'200'000 / 8;
constexpr Rate kModestRate = 24'000'000 / 8;
}  // namespace

void Bbr::start(const Init& init) {
  mss_ = init.mss;
  initial_window_ = cwnd_ = init.initial_window;
  dice_ = Dice(init.seed);
  rtt_known_ = init.srtt != Duration();
  pacing_rate_ = kHighGain * initial_rate(initial_window_, init.srtt);
  enter_startup();
}

void Bbr::enter_startup() {
  state_ = State::kStartup;
  pacing_gain_ = window_gain_ = kHighGain;
}

// Any phase but the one that drains may be the first, so that flows do not probe together (§4.3.4.3).
void Bbr::enter_probe_bw(Instant now) {
  state_ = State::kProbeBw;
  window_gain_ = kProbeWindowGain;
  phase_ = static_cast<std::uint8_t>(kCycle.size() - 1 - dice_.below(7));
  next_phase(now);
}

void Bbr::next_phase(Instant now) {
  phase_began_ = now;
  phase_ = static_cast<std::uint8_t>((phase_ + 1) % kCycle.size());
  pacing_gain_ = kCycle[phase_];
}

// A phase lasts a round trip; probing until its queue is there or something is lost, draining no longer than needed.
bool Bbr::phase_is_over(const Ack& ack) const {
  const bool full_length = ack.now - phase_began_ > min_rtt_.value;
  if (pacing_gain_.permille > kUnit.permille) {
    return full_length && (ack.lost > 0 || ack.flight >= target(pacing_gain_));
  }
  if (pacing_gain_.permille < kUnit.permille) return full_length || ack.flight <= target(kUnit);
  return full_length;
}

// §4.1.1: samples for which the application, or ProbeRTT, was too slow count when they are higher still.
void Bbr::update_bandwidth(const Ack& ack) {
  round_start_ = rounds_.on_ack(ack);
  if (round_start_) rates_.next_turn();
  const Rate rate = delivery_rate(ack.rate);
  const bool held_back = ack.rate.app_limited || ack.rate.prior_delivered < slow_until_;
  if (rate >= rates_.best() || !held_back) rates_.note(rate);
  if (full_ || !round_start_ || held_back || rate == 0) return;
  full_ = pipe_.on_round(rates_.best());  // §4.3.2.2
}

void Bbr::advance_state(const Ack& ack) {
  if (state_ == State::kProbeBw && phase_is_over(ack)) next_phase(ack.now);
  if (state_ == State::kStartup && full_) {
    state_ = State::kDrain;
    pacing_gain_ = kDrainGain;  // the window keeps its gain: only the rate drains (§4.3.3)
  }
  if (state_ == State::kDrain && still_in_flight(ack) <= target(kUnit)) enter_probe_bw(ack.now);
}

// §4.1.2, §4.3.5: a minimum that nothing has confirmed for 10 s is looked for with an empty queue.
void Bbr::update_min_rtt(const Ack& ack) {
  const bool expired = min_rtt_.known() && min_rtt_.expired(ack.now, kMinRttLifetime);
  min_rtt_.note(ack.rtt, ack.now, kMinRttLifetime, AgingMin::Equal::kConfirms);
  if (expired && state_ != State::kProbeRtt && !after_idle_) {
    save_window();
    state_ = State::kProbeRtt;
    pacing_gain_ = window_gain_ = kUnit;
    probe_rtt_until_ = Instant::never();
  }
  if (state_ == State::kProbeRtt) probe_rtt(ack);
  after_idle_ = false;
}

void Bbr::probe_rtt(const Ack& ack) {
  slow_until_ = ack.total_delivered + still_in_flight(ack);
  if (probe_rtt_until_.is_never()) {
    if (still_in_flight(ack) > least_window()) return;
    probe_rtt_until_ = ack.now + kProbeRttTime;
    probe_round_done_ = false;
    rounds_.begin(ack.total_delivered);
    return;
  }
  probe_round_done_ |= round_start_;
  if (!probe_round_done_ || ack.now <= probe_rtt_until_) return;
  min_rtt_.since = ack.now;
  restore_window();
  if (full_) {
    enter_probe_bw(ack.now);
  } else {
    enter_startup();
  }
}

void Bbr::save_window() {
  const bool cut = recovering_ || state_ == State::kProbeRtt;
  saved_cwnd_ = cut ? std::max(saved_cwnd_, cwnd_) : cwnd_;
}

void Bbr::restore_window() {
  cwnd_ = std::max(cwnd_, saved_cwnd_);
}

// Until the pipe was full once the rate only rises (§4.2.1).
void Bbr::set_pacing_rate(Gain gain) {
  const Rate rate = gain * rates_.best();
  if (rate > 0 && (full_ || rate > pacing_rate_)) pacing_rate_ = rate;
}

std::uint32_t Bbr::quantum() const {  // §4.2.2
  if (pacing_rate_ < kLowRate) return mss_;
  if (pacing_rate_ < kModestRate) return 2 * mss_;
  return static_cast<std::uint32_t>(std::min<Rate>(pacing_rate_ / 1000, kMaxQuantum));
}

std::uint32_t Bbr::target(Gain gain) const {  // §4.2.3.2
  if (!min_rtt_.known() || rates_.best() == 0) return initial_window_;
  return to_window(gain * bdp(rates_.best(), min_rtt_.value) + 3 * quantum());
}

void Bbr::set_window(const Ack& ack) {  // §4.2.3.4 to §4.2.3.6
  if (ack.lost > 0) cwnd_ = std::max(cwnd_ - std::min(cwnd_, ack.lost), mss_);
  if (conserving_ != Conserving::kNo) {
    cwnd_ = std::max(cwnd_, still_in_flight(ack) + ack.delivered);
  } else {
    const std::uint32_t wanted = target(window_gain_);
    if (full_) {
      cwnd_ = std::min(cwnd_ + ack.delivered, wanted);
    } else if (cwnd_ < wanted || ack.total_delivered < initial_window_) {
      cwnd_ += ack.delivered;
    }
    cwnd_ = std::max(cwnd_, least_window());
  }
  if (state_ == State::kProbeRtt) cwnd_ = std::min(cwnd_, least_window());
  cwnd_ = std::min(cwnd_, kMaxWindow);
}

void Bbr::on_ack(const Ack& ack) {
  if (recovering_ && ack.phase == Phase::kOpen) on_recovery_done({});  // the end of a timeout is not told
  if (!rtt_known_ && ack.rtt != Duration()) {
    rtt_known_ = true;
    pacing_rate_ = kHighGain * initial_rate(initial_window_, ack.rtt);
  }
  update_bandwidth(ack);
  if (conserving_ == Conserving::kFromNow) {
    rounds_.begin(ack.total_delivered);
    conserving_ = Conserving::kThisRound;
  } else if (round_start_) {
    conserving_ = Conserving::kNo;
  }
  advance_state(ack);
  update_min_rtt(ack);
  set_pacing_rate(pacing_gain_);
  set_window(ack);
}

// A mark is no loss, and changes nothing here: this version knows no ECN.
void Bbr::on_congestion(const Congestion& event) {
  if (event.signal != Signal::kLoss) return;
  save_window();
  recovering_ = true;
  conserving_ = Conserving::kFromNow;
  cwnd_ = std::max(std::min(event.flight, kMaxWindow), mss_);
}

// What ended it does not say what the path takes: the model does (§4.2.3.4).
void Bbr::on_recovery_done(const RecoveryDone&) {
  if (!recovering_) return;
  recovering_ = false;
  conserving_ = Conserving::kNo;
  restore_window();
}

void Bbr::on_timeout(const Timeout&) {
  save_window();
  recovering_ = true;
  conserving_ = Conserving::kNo;
  cwnd_ = mss_;
}

void Bbr::on_undo(const Undo&) {
  on_recovery_done({});
}

void Bbr::on_idle(const Idle&) {
  after_idle_ = true;
  if (state_ == State::kProbeBw) set_pacing_rate(kUnit);  // §4.4.3
}

}  // namespace sluice::tcp::cc
