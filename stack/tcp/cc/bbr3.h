// BBR version 3 (draft-ietf-ccwg-bbr-05, to whose sections the numbers here refer): as the first, it paces at the rate
// at which the path delivers; but it remembers how much in flight led to losses, leaves headroom below that, and yields
// while others cause losses.
#pragma once

#include "stack/tcp/cc/bbr_model.h"

namespace sluice::tcp::cc {

class Bbr3 final : public Controller {
 public:
  enum class State : std::uint8_t { kStartup, kDrain, kDown, kCruise, kRefill, kUp, kProbeRtt };

  void start(const Init& init) override;
  void on_ack(const Ack& ack) override;
  void on_congestion(const Congestion& event) override;
  void on_recovery_done(const RecoveryDone& event) override;
  void on_timeout(const Timeout& event) override;
  void on_undo(const Undo& event) override;
  void on_idle(const Idle& event) override;
  void on_mss_change(std::uint32_t mss) override {
    cwnd_ = std::max(cwnd_, mss);
    mss_ = mss;
  }

  [[nodiscard]] std::uint32_t cwnd() const override { return cwnd_; }
  [[nodiscard]] std::uint32_t ssthresh() const override { return UINT32_MAX; }
  [[nodiscard]] std::uint64_t pacing_rate() const override { return pacing_rate_; }
  [[nodiscard]] bool rules_recovery() const override { return true; }
  [[nodiscard]] const char* name() const override { return "bbr3"; }

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] Rate bandwidth() const { return std::min(max_rate_.best(), short_.rate); }
  [[nodiscard]] Duration min_rtt() const { return min_rtt_.value; }
  [[nodiscard]] std::uint32_t longterm_limit() const { return long_inflight_; }    // bytes; UINT32_MAX: none
  [[nodiscard]] std::uint32_t shortterm_limit() const { return short_.inflight; }  // the same

 private:
  struct ShortTerm {  // what losses outside of probing allow until the next probe
    Rate rate = UINT64_MAX;
    std::uint32_t inflight = UINT32_MAX;
  };
  // Which ACKs tell about what was sent while probing.
  enum class Samples : std::uint8_t { kNone, kRefilling, kStarting, kFeedback, kStopping };
  enum class Due : std::uint8_t { kNow, kLater };  // to look for the least round trip

  // The path (§5.5)
  void update_latest(const Ack& ack);
  void update_losses();
  void update_aggregation(const Ack& ack);
  void note_loss(const Ack& ack);
  void yield_to_losses();
  void inflight_too_high(const Ack& ack);
  void adapt_long_term(const Ack& ack);
  void raise_long_term(const Ack& ack);
  void steeper();
  Due update_min_rtt(const Ack& ack);

  // The state machine (§5.3)
  void check_full_pipe(const Ack& ack);
  void check_startup_losses(const Ack& ack);
  void update_cycle(const Ack& ack);
  void check_probe_rtt(const Ack& ack, Due due);
  void probe_rtt(const Ack& ack);
  void enter_drain();
  void start_down(Instant now);
  void start_refill();
  void start_up(Rate rate);
  void leave_probe_rtt(Instant now);
  [[nodiscard]] bool time_to_probe(Instant now) const;
  [[nodiscard]] bool probing_for_bandwidth() const;
  [[nodiscard]] bool in_probe_bw() const { return state_ >= State::kDown && state_ <= State::kUp; }

  // What follows from both (§5.6)
  void set_pacing_rate(Gain gain);
  void set_window(const Ack& ack);
  void bound_window();
  void save_model();
  void save_window();
  void restore_window() { cwnd_ = std::max(cwnd_, saved_cwnd_); }
  [[nodiscard]] std::uint32_t flight_for(Gain gain, std::uint32_t extra) const;
  [[nodiscard]] std::uint32_t with_headroom() const;
  [[nodiscard]] std::uint32_t probe_rtt_window() const;
  [[nodiscard]] std::uint32_t target_inflight() const;
  [[nodiscard]] std::uint32_t quantum() const;
  [[nodiscard]] std::uint32_t least_window() const { return 4 * mss_; }
  [[nodiscard]] bool held_back(const Ack& ack) const;

  std::uint32_t mss_ = 536;
  std::uint32_t initial_window_ = 0;
  std::uint32_t cwnd_ = 0;
  std::uint32_t saved_cwnd_ = 0;
  Rate pacing_rate_ = 0;
  State state_ = State::kStartup;
  Samples samples_ = Samples::kNone;
  bool round_start_ = false;
  bool full_once_ = false;  // full_bw_reached: the pipe was filled once
  bool full_now_ = false;
  bool recovering_ = false;
  bool after_idle_ = false;
  bool rtt_known_ = false;
  bool probe_round_done_ = false;
  bool loss_in_round_ = false;
  bool loss_round_start_ = false;
  bool may_lower_long_term_ = false;  // bw_probe_samples: once for each probing
  bool window_full_ = false;          // the window held the sender back
  std::uint8_t loss_events_ = 0;      // in this round trip of Startup
  std::uint8_t up_rounds_ = 0;
  std::uint32_t rounds_since_probe_ = 0;
  std::uint32_t drain_rounds_ = 0;

  RoundTrips rounds_;
  RoundTrips loss_rounds_;
  TurnMax<Rate, 2> max_rate_;               // by cycles of probing
  TurnMax<std::uint32_t, 10> extra_acked_;  // by round trips, bytes
  FullPipe pipe_;
  AgingMin min_rtt_;
  AgingMin probed_rtt_;
  Rate latest_rate_ = 0;               // greatest of a round trip
  std::uint32_t latest_inflight_ = 0;  // the same, bytes delivered
  ShortTerm short_;
  std::uint32_t long_inflight_ = UINT32_MAX;
  std::uint64_t up_acked_ = 0;  // towards the next step of long_inflight_
  std::uint32_t up_step_ = UINT32_MAX;
  std::uint64_t aggregated_ = 0;  // bytes
  Instant aggregated_since_;
  Instant cycle_began_;
  Duration probe_wait_{};
  Instant probe_rtt_until_ = Instant::never();
  std::uint64_t slow_until_ = 0;  // what was delivered before had been held back by ProbeRTT
  std::uint64_t delivered_ = 0;   // in all, bytes
  Dice dice_;

  struct {  // before the last loss, in case it was none
    State state = State::kStartup;
    ShortTerm short_term;
    std::uint32_t long_inflight = UINT32_MAX;
  } undo_;
};

}  // namespace sluice::tcp::cc
