// A decorator that makes a link worse: what drivers/faults.h has, and delay, duplication, bit errors, a rate with a
// bounded queue. Both directions alike, each with a queue of its own. Seeded: the same seed and the same calls give the
// same fate to each frame.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "drivers/failure.h"
#include "drivers/faults.h"
#include "stack/base/rng.h"
#include "stack/link/netdev.h"

namespace sluice::drivers {

struct Impairment : Faults {
  Duration delay;  // one way
  double duplicate = 0;
  double corrupt = 0;             // probability that a frame has one bit flipped
  double mark = 0;                // that an ECN-capable IPv4 packet gets a congestion mark (RFC 3168 §5)
  std::uint64_t rate = 0;         // bit/s; 0: no limit
  std::size_t queue = 256 << 10;  // bytes that wait for the rate; beyond, frames are dropped
};

// "loss=1%,delay=10ms,jitter=2ms,reorder=5%:10ms,duplicate=1%,corrupt=0.1%,mark=1%,rate=100mbit,queue=256k,
//  burst=1%:20%,down=10s:500ms,swallow=1400". The message names the part that is wrong.
Result<Impairment, Failure> parse_impairment(const std::string& text);

class Impair final : public link::NetDevice {
 public:
  Impair(link::NetDevice& inner, const Impairment& what, std::uint64_t seed);

  // The inner device's without its offloads: frames are to be as a wire carries them, or an error in one bit would go
  // unseen and a loss would take many segments at once. Open a TAP without host offload below it for the same reason.
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] int poll_handle() const override { return inner_.poll_handle(); }
  [[nodiscard]] Instant next_deadline() const override;
  [[nodiscard]] bool finished() const override {
    return inner_.finished() && in_.frames.empty() && out_.frames.empty();
  }

  struct Counts {
    std::uint64_t frames = 0, lost = 0, duplicated = 0, reordered = 0, corrupted = 0, marked = 0, queue_full = 0;
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  struct Frame {
    Instant due;
    std::vector<std::uint8_t> bytes;
  };
  struct Direction {
    FaultModel faults;
    std::deque<Frame> frames{};  // in order of due
    std::size_t waiting = 0;     // bytes
    Instant line_free = Instant::past();
  };

  void pass(Instant now, Direction& direction, std::vector<std::uint8_t> bytes);
  void schedule(Direction& direction, Instant due, std::vector<std::uint8_t> bytes);
  void flush_out(Instant now);

  link::NetDevice& inner_;
  link::Capabilities capabilities_;
  Impairment what_;
  Rng rng_;
  Direction in_, out_;
  Counts counts_;
};

}  // namespace sluice::drivers
