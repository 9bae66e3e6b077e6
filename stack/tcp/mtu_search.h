// The search for the largest packet that a path carries: RFC 4821 §7, with RFC 8899 §5.1 where it says more. It decides
// what to try and what an outcome means, and knows nothing of the connection. Sizes are of IP packets, bytes.
#pragma once

#include <cstdint>

#include "stack/base/time.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

class MtuSearch {
 public:
  static constexpr std::uint32_t kFinest = 8;      // a gain below that is not worth a probe
  static constexpr std::uint8_t kTries = 2;        // lost probes of one size: one may have been lost by chance
  static constexpr Duration kSearchAgain = 600_s;  // RFC 4821 §7.3: 5 minutes at least (RFC4821-06)

  // From now on. What is no probe goes in packets of `effective` at most; from `base` bytes upwards larger ones are
  // tried, up to `limit`: what the link carries and the peer takes. (RFC4821-01, -05)
  void start(std::uint32_t base, std::uint32_t effective, std::uint32_t limit);
  [[nodiscard]] bool on() const { return limit_ != 0; }
  [[nodiscard]] std::uint32_t effective() const { return effective_; }
  [[nodiscard]] std::uint32_t limit() const { return high_; }  // nothing above it is tried

  void try_first(std::uint32_t size) { first_ = size; }  // before the search begins in the middle

  // The link or the peer allow another size, or a router does.
  void set_limit(std::uint32_t limit);
  // Nothing of the effective size gets through: down to `base`, or from there on to the half, not below `floor`
  // (RFC4821-07).
  void on_black_hole(std::uint32_t base, std::uint32_t floor);

  // How large a probe to send now; 0: none.
  [[nodiscard]] std::uint32_t next(Instant now);
  void on_sent(std::uint32_t size, Seq begin, Seq end);
  [[nodiscard]] bool outstanding() const { return probe_ != 0; }
  [[nodiscard]] Seq begin() const { return begin_; }
  [[nodiscard]] Seq end() const { return end_; }
  // It has arrived: that is the effective size now.
  void on_acknowledged(Instant now);
  // It alone was lost. The next one waits so long.
  void on_lost(Instant now, Duration pause);
  void forget_probe() { probe_ = 0; }  // its fate says nothing: other things were lost too

  // Nothing is left to try; `narrowed`: because lost probes said so.
  [[nodiscard]] bool settled() const { return high_ < effective_ + kFinest; }
  [[nodiscard]] bool narrowed() const { return high_ < limit_; }

 private:
  void note_end(Instant now);

  std::uint32_t effective_ = 0;
  std::uint32_t low_ = 0;    // is taken to pass
  std::uint32_t high_ = 0;   // may pass
  std::uint32_t limit_ = 0;  // 0: not started
  // Tried first: the largest size before a black hole, as the path may only have been down; 0: none.
  std::uint32_t first_ = 0;
  std::uint32_t probe_ = 0;  // 0: none outstanding
  Seq begin_, end_;          // of the probe
  std::uint8_t lost_ = 0;    // probes of the present size
  Instant wait_until_ = Instant::past();
  Instant again_at_ = Instant::never();  // once settled
};

}  // namespace sluice::tcp
