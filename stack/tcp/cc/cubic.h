// CUBIC congestion control (RFC 9438), in bytes and milliseconds with integers alone, so that every machine computes
// the same window. Slow start is HyStart++ (RFC 9406) unless switched off.
#pragma once

#include <memory>

#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/cc/hystart.h"

namespace sluice::tcp::cc {

// C * t^3 in bytes for t >= 0, C being 0.4 segments of `mss` bytes a cubic second; kMaxWindow at most.
std::uint32_t cubic_rise(Duration t, std::uint32_t mss);
// Its inverse, rounded down to milliseconds: how long the curve takes to rise by `bytes`, at most kMaxWindow.
Duration cubic_time(std::uint32_t bytes, std::uint32_t mss);

class Cubic final : public Controller {
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
  [[nodiscard]] const char* name() const override { return "cubic"; }

 private:
  struct Curve {
    enum class Stage : std::uint8_t {
      kNone,     // no plateau known: the curve begins at its flat point, where the window is (K = 0)
      kPlateau,  // w_max was left by a reduction
      kRunning,  // congestion avoidance goes along the curve
    };
    std::uint32_t w_max = 0;        // the plateau, bytes
    std::uint32_t prior = 0;        // cwnd before the last reduction
    std::uint32_t estimate = 0;     // W_est: what Reno would have by now
    std::uint64_t growth_rest = 0;  // what growth of cwnd and estimate has left over by division
    std::uint64_t estimate_rest = 0;
    Duration k{};        // from the beginning of the curve to the plateau
    Duration elapsed{};  // on the curve, while the window was used
    Stage stage = Stage::kNone;
  };
  struct Before {  // all that a reduction changes and an undo brings back
    std::uint32_t cwnd = 0;
    std::uint32_t ssthresh = 0;
    Curve curve;
  };
  struct Avoidance {
    Curve curve;
    Before before;  // the last reduction
    Instant last_ack;
  };

  void slow_start(const Ack& ack);
  void avoid_congestion(const Ack& ack, Duration passed);
  void begin_curve();
  void grow_estimate(std::uint32_t acked);
  [[nodiscard]] std::uint32_t curve_at(Duration t) const;
  [[nodiscard]] std::uint32_t threshold(std::uint32_t flight) const;
  void remember();
  Avoidance& avoidance() {
    if (avoidance_ == nullptr) avoidance_ = std::make_unique<Avoidance>();
    return *avoidance_;
  }

  // Small while it is in slow start, as most connections are all their life.
  std::uint32_t mss_ = 536;
  std::uint32_t initial_window_ = 0;
  std::uint32_t cwnd_ = 0;
  std::uint32_t ssthresh_ = UINT32_MAX;
  HyStart hystart_;
  ShortDuration srtt_;
  bool recovering_ = false;
  bool after_timeout_ = false;
  std::unique_ptr<Avoidance> avoidance_;  // null: it has never left slow start
};

}  // namespace sluice::tcp::cc
