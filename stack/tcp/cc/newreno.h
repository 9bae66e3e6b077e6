// NewReno congestion control: slow start and congestion avoidance (RFC9293-MUST-19) as RFC 5681 has them, the latter
// with appropriate byte counting; half the window after a loss (RFC5681-37).
#pragma once

#include "stack/tcp/cc/congestion.h"

namespace sluice::tcp::cc {

class NewReno : public Controller {
 public:
  void start(const Init& init) override;
  void on_ack(const Ack& ack) override;
  void on_congestion(const Congestion& event) override;
  void on_recovery_done(const RecoveryDone& event) override;
  void on_timeout(const Timeout& event) override;
  void on_undo(const Undo& event) override;
  void on_idle(const Idle& event) override;
  void on_mss_change(std::uint32_t mss) override;

  [[nodiscard]] std::uint32_t cwnd() const override { return cwnd_; }
  [[nodiscard]] std::uint32_t ssthresh() const override { return ssthresh_; }
  [[nodiscard]] const char* name() const override { return "newreno"; }

 protected:
  // ssthresh and cwnd after a congestion.
  [[nodiscard]] virtual std::uint32_t reduced(const Congestion& event) const;
  [[nodiscard]] std::uint32_t mss() const { return mss_; }

 private:
  [[nodiscard]] std::uint32_t half_of(std::uint32_t flight) const;
  void remember();

  std::uint32_t mss_ = 536;
  std::uint32_t initial_window_ = 0;
  std::uint32_t cwnd_ = 0;
  std::uint32_t ssthresh_ = UINT32_MAX;  // arbitrarily high at first (RFC5681-08)
  std::uint32_t prior_cwnd_ = 0;         // before the last reduction
  std::uint32_t prior_ssthresh_ = UINT32_MAX;
  std::uint32_t bytes_acked_ = 0;  // towards the next increase in congestion avoidance
  bool recovering_ = false;        // between entering fast recovery and its end
  std::uint32_t slow_start_segments_ = 8;
  bool after_timeout_ = false;  // slow start follows a timeout
};

}  // namespace sluice::tcp::cc
