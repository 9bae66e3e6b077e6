// BBR as first published (Cardwell et al., CACM 60(2), 2017; draft-cardwell-iccrg-bbr-congestion-control-00, to whose
// sections the numbers here refer): paces at the greatest rate at which the path delivered, and keeps about two
// bandwidth-delay products in flight. Losses do not lower the rate.
#pragma once

#include "stack/tcp/cc/bbr_model.h"

namespace sluice::tcp::cc {

class Bbr final : public Controller {
 public:
  enum class State : std::uint8_t { kStartup, kDrain, kProbeBw, kProbeRtt };

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
  [[nodiscard]] const char* name() const override { return "bbr"; }

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] Rate bandwidth() const { return rates_.best(); }
  [[nodiscard]] Duration min_rtt() const { return min_rtt_.value; }

 private:
  // In recovery's first round trip nothing is sent but what was delivered (packet conservation).
  enum class Conserving : std::uint8_t { kNo, kFromNow, kThisRound };

  void enter_startup();
  void enter_probe_bw(Instant now);
  void next_phase(Instant now);
  [[nodiscard]] bool phase_is_over(const Ack& ack) const;
  void update_bandwidth(const Ack& ack);
  void advance_state(const Ack& ack);
  void update_min_rtt(const Ack& ack);
  void probe_rtt(const Ack& ack);
  void save_window();
  void restore_window();
  void set_pacing_rate(Gain gain);
  void set_window(const Ack& ack);
  [[nodiscard]] std::uint32_t target(Gain gain) const;
  [[nodiscard]] std::uint32_t quantum() const;
  [[nodiscard]] std::uint32_t least_window() const { return 4 * mss_; }

  std::uint32_t mss_ = 536;
  std::uint32_t initial_window_ = 0;
  std::uint32_t cwnd_ = 0;
  std::uint32_t saved_cwnd_ = 0;  // the last one not cut by recovery or ProbeRTT
  Rate pacing_rate_ = 0;
  State state_ = State::kStartup;
  Gain pacing_gain_{};
  Gain window_gain_{};
  std::uint8_t phase_ = 0;  // of the gain cycle
  bool round_start_ = false;
  bool full_ = false;  // the pipe was filled once
  bool recovering_ = false;
  Conserving conserving_ = Conserving::kNo;
  bool after_idle_ = false;
  bool rtt_known_ = false;
  bool probe_round_done_ = false;
  RoundTrips rounds_;
  TurnMax<Rate, 10> rates_;  // by round trips
  FullPipe pipe_;
  AgingMin min_rtt_;
  Instant phase_began_;
  Instant probe_rtt_until_ = Instant::never();  // never: the flight is not yet small enough
  std::uint64_t slow_until_ = 0;                // what was delivered before had been held back by ProbeRTT
  Dice dice_;
};

}  // namespace sluice::tcp::cc
