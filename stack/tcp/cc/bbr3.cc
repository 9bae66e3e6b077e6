#include "stack/tcp/cc/bbr3.h"

#include <algorithm>
#include <array>

namespace sluice::tcp::cc {
namespace {

// §5.6.1, by State.
struct Gains {
  Gain pacing;
  Gain window;
};
constexpr std::array kGains = {
    Gains{{2773}, {2000}},  // Startup: 4 ln 2
    Gains{{500}, {2000}},   // Drain
    Gains{{900}, {2000}},   // Down
    Gains{{1000}, {2000}},  // Cruise
    Gains{{1000}, {2000}},  // Refill
    Gains{{1250}, {2250}},  // Up
    Gains{{1000}, {500}},   // ProbeRTT
};
constexpr Gain kUnit{1000};
constexpr Gain kPacingMargin{990};
constexpr Gain kLossThreshold{20};
constexpr Gain kBeta{700};
constexpr Gain kHeadroom{150};
constexpr std::uint8_t kStartupLossEvents = 6;
constexpr std::uint32_t kDrainRounds = 3;
constexpr std::uint32_t kMaxRenoRounds = 63;
constexpr Duration kMinRttLifetime = 10_s;
constexpr Duration kProbeRttInterval = 5_s;
constexpr Duration kProbeRttTime = 200_ms;
constexpr std::uint32_t kMaxQuantum = 64u << 10;

constexpr const Gains& gains_of(Bbr3::State state) {
  return kGains[static_cast<std::size_t>(state)];
}

bool too_much_lost(const Ack& ack) {
  return ack.rate.lost > kLossThreshold * ack.rate.sent_in_flight;
}

}  // namespace

void Bbr3::start(const Init& init) {
  mss_ = init.mss;
  initial_window_ = cwnd_ = init.initial_window;
  dice_ = Dice(init.seed);
  rtt_known_ = init.srtt != Duration();
  pacing_rate_ = gains_of(State::kStartup).pacing * initial_rate(initial_window_, init.srtt);
}

bool Bbr3::held_back(const Ack& ack) const {
  return ack.rate.app_limited || ack.rate.prior_delivered < slow_until_;
}

bool Bbr3::probing_for_bandwidth() const {
  return state_ == State::kStartup || state_ == State::kRefill || state_ == State::kUp;
}

void Bbr3::on_ack(const Ack& ack) {
  if (recovering_ && ack.phase == Phase::kOpen) on_recovery_done({});  // the end of a timeout is not told
  if (!rtt_known_ && ack.rtt != Duration()) {
    rtt_known_ = true;
    pacing_rate_ = gains_of(State::kStartup).pacing * initial_rate(initial_window_, ack.rtt);
  }
  delivered_ = ack.total_delivered;
  window_full_ = ack.flight + 2 * mss_ >= cwnd_;
  if (ack.lost > 0) note_loss(ack);
  update_latest(ack);
  update_losses();
  update_aggregation(ack);
  check_full_pipe(ack);
  check_startup_losses(ack);
  if (state_ == State::kDrain &&
      (still_in_flight(ack) <= flight_for(kUnit, 0) || drain_rounds_ > kDrainRounds)) {  // §5.3.2
    start_down(ack.now);
  }
  update_cycle(ack);
  check_probe_rtt(ack, update_min_rtt(ack));
  if (loss_round_start_) {
    latest_rate_ = delivery_rate(ack.rate);
    latest_inflight_ = to_window(ack.rate.delivered);
  }
  set_pacing_rate(gains_of(state_).pacing);
  set_window(ack);
}

// --- the path

// §5.5.10.3, and §5.5.5: a sample that was held back counts when it is higher still.
void Bbr3::update_latest(const Ack& ack) {
  const Rate rate = delivery_rate(ack.rate);
  latest_rate_ = std::max(latest_rate_, rate);
  latest_inflight_ = std::max(latest_inflight_, to_window(ack.rate.delivered));
  loss_round_start_ = loss_rounds_.on_ack(ack);
  round_start_ = rounds_.on_ack(ack);
  if (round_start_) {
    ++rounds_since_probe_;
    ++drain_rounds_;
  }
  if (rate > 0 && (rate >= max_rate_.best() || !held_back(ack))) max_rate_.note(rate);
}

// The loss stands in the model from its first sign in a round trip to the end of that (§5.5.10.2).
void Bbr3::note_loss(const Ack& ack) {
  if (!recovering_) save_model();
  if (!loss_in_round_) loss_rounds_.begin(ack.total_delivered);
  loss_in_round_ = true;
  if (state_ == State::kStartup && loss_events_ < UINT8_MAX) ++loss_events_;
  if (may_lower_long_term_ && too_much_lost(ack)) inflight_too_high(ack);
}

void Bbr3::update_losses() {
  if (!loss_round_start_) return;
  if (loss_in_round_ && !probing_for_bandwidth()) yield_to_losses();
  if (state_ != State::kStartup) loss_in_round_ = false;
}

void Bbr3::yield_to_losses() {
  if (short_.rate == UINT64_MAX) short_.rate = max_rate_.best();
  if (short_.inflight == UINT32_MAX) short_.inflight = cwnd_;
  short_.rate = std::max(latest_rate_, kBeta * short_.rate);
  short_.inflight = std::max(latest_inflight_, to_window(kBeta * short_.inflight));
}

// §5.5.10.2; it ends the probing, and lowers the limit no further than a loss-based controller would.
void Bbr3::inflight_too_high(const Ack& ack) {
  may_lower_long_term_ = false;
  if (!held_back(ack)) {
    long_inflight_ = std::max({ack.rate.sent_in_flight, to_window(kBeta * target_inflight()), least_window()});
  }
  if (state_ == State::kUp) start_down(ack.now);
}

// §5.3.3.6: safe flights raise the limit; probing raises it step by step.
void Bbr3::adapt_long_term(const Ack& ack) {
  if (samples_ == Samples::kStarting && round_start_) samples_ = Samples::kFeedback;
  if (samples_ == Samples::kStopping && round_start_) {
    samples_ = Samples::kNone;
    may_lower_long_term_ = false;
    if (in_probe_bw() && !held_back(ack)) max_rate_.next_turn();
  }
  if (too_much_lost(ack) || long_inflight_ == UINT32_MAX) return;
  long_inflight_ = std::max(long_inflight_, ack.rate.sent_in_flight);
  if (state_ == State::kUp) raise_long_term(ack);
}

// One segment more in the first round trip of probing, then two, four ...
void Bbr3::steeper() {
  const std::uint64_t growth = std::uint64_t{mss_} << up_rounds_;
  up_rounds_ = std::min<std::uint8_t>(static_cast<std::uint8_t>(up_rounds_ + 1), 30);
  up_step_ = std::max(to_window(std::uint64_t{cwnd_} * mss_ / growth), 1u);  // bytes to be acknowledged for a segment
}

void Bbr3::raise_long_term(const Ack& ack) {
  if (!window_full_ || cwnd_ < long_inflight_) return;
  up_acked_ += ack.delivered;
  long_inflight_ = to_window(long_inflight_ + up_acked_ / up_step_ * mss_);
  up_acked_ %= up_step_;
  if (round_start_) steeper();
}

// §5.5.9: what comes in one go although the path delivers evenly must not stop the sender.
void Bbr3::update_aggregation(const Ack& ack) {
  if (round_start_) extra_acked_.next_turn();
  if (round_start_ && !full_once_) extra_acked_.forget();
  std::uint64_t expected = bdp(bandwidth(), ack.now - aggregated_since_);
  if (aggregated_ <= expected) {
    aggregated_ = expected = 0;
    aggregated_since_ = ack.now;
  }
  aggregated_ += ack.delivered;
  extra_acked_.note(static_cast<std::uint32_t>(std::min<std::uint64_t>(aggregated_ - expected, cwnd_)));
}

// §5.3.4.3: two minima, the younger of which says when to look again.
Bbr3::Due Bbr3::update_min_rtt(const Ack& ack) {
  const bool expired = probed_rtt_.known() && probed_rtt_.expired(ack.now, kProbeRttInterval);
  probed_rtt_.note(ack.rtt, ack.now, kProbeRttInterval, AgingMin::Equal::kIsOld);
  if (probed_rtt_.value < min_rtt_.value || min_rtt_.expired(ack.now, kMinRttLifetime)) min_rtt_ = probed_rtt_;
  return expired ? Due::kNow : Due::kLater;
}

// --- the state machine

void Bbr3::check_full_pipe(const Ack& ack) {  // §5.3.1.2
  const Rate rate = delivery_rate(ack.rate);
  if (full_now_ || !round_start_ || held_back(ack) || rate == 0) return;
  full_now_ = pipe_.on_round(rate);
  full_once_ |= full_now_;
  if (state_ == State::kStartup && full_once_) enter_drain();
}

// §5.3.1.3: a whole round trip of recovery in which losses were many.
void Bbr3::check_startup_losses(const Ack& ack) {
  if (state_ != State::kStartup || !loss_round_start_) return;
  if (loss_in_round_ && recovering_ && loss_events_ >= kStartupLossEvents && too_much_lost(ack)) {
    full_once_ = true;
    long_inflight_ = std::max(bdp(bandwidth(), min_rtt_.value), latest_inflight_);
    enter_drain();
  }
  loss_in_round_ = false;
  loss_events_ = 0;
}

void Bbr3::enter_drain() {
  state_ = State::kDrain;
  drain_rounds_ = 0;
}

void Bbr3::start_down(Instant now) {
  loss_in_round_ = false;
  latest_rate_ = 0;
  latest_inflight_ = 0;
  up_step_ = UINT32_MAX;
  rounds_since_probe_ = dice_.below(2);
  probe_wait_ = 2_s + Duration::micros(dice_.below(1'000'001));
  cycle_began_ = now;
  samples_ = Samples::kStopping;
  state_ = State::kDown;
  rounds_.begin(delivered_);
}

void Bbr3::start_refill() {
  short_ = {};
  up_rounds_ = 0;
  up_acked_ = 0;
  samples_ = Samples::kRefilling;
  state_ = State::kRefill;
  rounds_.begin(delivered_);
}

void Bbr3::start_up(Rate rate) {
  samples_ = Samples::kStarting;
  full_now_ = false;
  pipe_.restart(rate);
  state_ = State::kUp;
  rounds_.begin(delivered_);
  steeper();
}

// §5.3.3.5: after two to three seconds, or as often as a Reno flow would have filled the path again.
bool Bbr3::time_to_probe(Instant now) const {
  const std::uint32_t reno_rounds = std::min(target_inflight() / mss_, kMaxRenoRounds);
  return now > cycle_began_ + probe_wait_ || rounds_since_probe_ >= reno_rounds;
}

void Bbr3::update_cycle(const Ack& ack) {
  if (!full_once_) return;
  adapt_long_term(ack);
  switch (state_) {
    case State::kDown:
    case State::kCruise:
      if (time_to_probe(ack.now)) {
        start_refill();
      } else if (state_ == State::kDown && still_in_flight(ack) <= std::min(with_headroom(), flight_for(kUnit, 0))) {
        state_ = State::kCruise;
      }
      break;
    case State::kRefill:
      if (!round_start_) break;
      may_lower_long_term_ = true;
      start_up(delivery_rate(ack.rate));
      break;
    case State::kUp:
      if (window_full_ && cwnd_ >= long_inflight_) {  // the limit, not the path, holds the rate down
        full_now_ = false;
        pipe_.restart(delivery_rate(ack.rate));
      } else if (full_now_) {
        start_down(ack.now);
      }
      break;
    default:
      break;
  }
}

// §5.3.4.3. After silence of the application the queue is empty anyway.
void Bbr3::check_probe_rtt(const Ack& ack, Due due) {
  if (state_ != State::kProbeRtt && due == Due::kNow && !after_idle_) {
    save_window();
    state_ = State::kProbeRtt;
    probe_rtt_until_ = Instant::never();
    samples_ = Samples::kStopping;
    rounds_.begin(delivered_);
  }
  if (state_ == State::kProbeRtt) probe_rtt(ack);
  after_idle_ = false;
}

void Bbr3::probe_rtt(const Ack& ack) {
  slow_until_ = ack.total_delivered + still_in_flight(ack);
  if (probe_rtt_until_.is_never()) {
    if (still_in_flight(ack) > probe_rtt_window()) return;
    probe_rtt_until_ = ack.now + kProbeRttTime;
    probe_round_done_ = false;
    rounds_.begin(delivered_);
    return;
  }
  probe_round_done_ |= round_start_;
  if (probe_round_done_) leave_probe_rtt(ack.now);
}

// The flight is small already: straight on to cruising (§5.3.4.4).
void Bbr3::leave_probe_rtt(Instant now) {
  if (now <= probe_rtt_until_) return;
  probed_rtt_.since = now;
  restore_window();
  short_ = {};
  state_ = State::kStartup;
  if (!full_once_) return;
  start_down(now);
  state_ = State::kCruise;
}

// --- what follows

void Bbr3::set_pacing_rate(Gain gain) {  // §5.6.2
  const Rate rate = kPacingMargin * (gain * bandwidth());
  if (rate > 0 && (full_once_ || rate > pacing_rate_)) pacing_rate_ = rate;
}

std::uint32_t Bbr3::quantum() const {  // §5.6.3
  return std::max(static_cast<std::uint32_t>(std::min<Rate>(pacing_rate_ / 1000, kMaxQuantum)), 2 * mss_);
}

std::uint32_t Bbr3::flight_for(Gain gain, std::uint32_t extra) const {  // §5.6.4.2
  if (!min_rtt_.known() || bandwidth() == 0) return initial_window_;
  const std::uint64_t wanted = gain * bdp(bandwidth(), min_rtt_.value) + extra;
  const std::uint64_t least = std::max(3 * quantum(), least_window());
  return to_window(std::max(wanted, least) + (state_ == State::kUp ? 2 * mss_ : 0));
}

std::uint32_t Bbr3::with_headroom() const {
  if (long_inflight_ == UINT32_MAX) return UINT32_MAX;
  const std::uint32_t headroom = std::max(mss_, to_window(kHeadroom * long_inflight_));
  return std::max(long_inflight_ - std::min(long_inflight_, headroom), least_window());
}

std::uint32_t Bbr3::probe_rtt_window() const {
  return std::max(to_window(gains_of(State::kProbeRtt).window * bdp(bandwidth(), min_rtt_.value)), least_window());
}

std::uint32_t Bbr3::target_inflight() const {
  return min_rtt_.known() ? std::min(bdp(bandwidth(), min_rtt_.value), cwnd_) : cwnd_;
}

void Bbr3::set_window(const Ack& ack) {  // §5.6.4.6
  const std::uint32_t most = flight_for(gains_of(state_).window, extra_acked_.best());
  if (full_once_) {
    cwnd_ = std::min(cwnd_ + ack.delivered, most);
  } else if (cwnd_ < most || ack.total_delivered < initial_window_) {
    cwnd_ = std::min(cwnd_ + ack.delivered, kMaxWindow);
  }
  cwnd_ = std::max(cwnd_, least_window());
  if (state_ == State::kProbeRtt) cwnd_ = std::min(cwnd_, probe_rtt_window());
  bound_window();
}

void Bbr3::bound_window() {  // §5.6.4.7
  std::uint32_t most = UINT32_MAX;
  if (state_ == State::kCruise || state_ == State::kProbeRtt) {
    most = with_headroom();
  } else if (in_probe_bw()) {
    most = long_inflight_;
  }
  cwnd_ = std::min(cwnd_, std::max(std::min(most, short_.inflight), least_window()));
}

void Bbr3::save_window() {
  const bool cut = recovering_ || state_ == State::kProbeRtt;
  saved_cwnd_ = cut ? std::max(saved_cwnd_, cwnd_) : cwnd_;
}

// --- events. The losses themselves come with the ACKs (§5.6.4.4).

// A mark is no loss; the draft leaves the answer to ECN open.
void Bbr3::on_congestion(const Congestion& event) {
  if (event.signal != Signal::kLoss) return;
  save_model();
  save_window();
  recovering_ = true;
}

// What is undone is a whole repair: the model before its first loss (§5.5.11.1).
void Bbr3::save_model() {
  if (!loss_in_round_) undo_ = {state_, short_, long_inflight_};
}

void Bbr3::on_recovery_done(const RecoveryDone&) {
  if (!recovering_) return;
  recovering_ = false;
  restore_window();
  bound_window();
}

void Bbr3::on_timeout(const Timeout&) {
  save_model();
  save_window();
  recovering_ = true;
  cwnd_ = mss_;  // nothing counts as in flight any more
}

void Bbr3::on_undo(const Undo&) {  // §5.5.11.2
  loss_in_round_ = recovering_ = false;
  full_now_ = false;
  pipe_.restart(0);
  short_.rate = std::max(short_.rate, undo_.short_term.rate);
  short_.inflight = std::max(short_.inflight, undo_.short_term.inflight);
  long_inflight_ = std::max(long_inflight_, undo_.long_inflight);
  restore_window();
  if (state_ == State::kProbeRtt || state_ == undo_.state) return;
  if (undo_.state == State::kStartup) state_ = State::kStartup;
  if (undo_.state == State::kUp) start_up(0);
}

void Bbr3::on_idle(const Idle& event) {  // §5.4.1
  after_idle_ = true;
  aggregated_since_ = event.now;
  if (in_probe_bw()) set_pacing_rate(kUnit);
  if (state_ == State::kProbeRtt && !probe_rtt_until_.is_never()) leave_probe_rtt(event.now);
}

}  // namespace sluice::tcp::cc
