// What a bad link does to one frame after another, in one direction: loss at random and in bursts (Gilbert, 1960;
// Elliott, 1963), of large frames, outages, jitter, frames held back. Only the decisions: whoever has the frames acts
// on them.
#pragma once

#include "stack/base/rng.h"
#include "stack/base/time.h"

namespace sluice::drivers {

struct Faults {
  double loss = 0;         // probability of each frame, 0..1
  double burst_enter = 0;  // per frame: from the good state to the bad one, in which every frame is lost
  double burst_leave = 1;  // per frame: back
  Duration jitter;         // added at random, 0..jitter; keeps the order
  double reorder = 0;      // probability that a frame is held back
  Duration reorder_delay = 10_ms;
  Duration down_every;  // an outage begins so often; 0: none
  Duration down_for;
  std::size_t swallow = 0;  // bytes: larger frames vanish, and nobody is told; 0: none
};

// True with this probability. Draws nothing when it is 0.
bool chance(Rng& rng, double probability);

class FaultModel {
 public:
  // Both must outlive the model. Several models may share a generator: the calls together decide the fates.
  FaultModel(const Faults& what, Rng& rng) : what_(what), rng_(rng) {}

  bool loses(Instant now, std::size_t size);
  Instant jittered(Instant due);  // when a frame that would arrive at `due` does so, never before one asked for earlier
  bool holds_back();              // by reorder_delay, while others overtake

 private:
  const Faults& what_;
  Rng& rng_;
  Instant last_due_ = Instant::past();
  bool in_burst_ = false;
};

}  // namespace sluice::drivers
