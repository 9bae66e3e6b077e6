#include "drivers/faults.h"

#include <algorithm>

namespace sluice::drivers {

bool chance(Rng& rng, double probability) {
  return probability > 0 && rng.next_double() < probability;
}

bool FaultModel::loses(Instant now, std::size_t size) {
  if (what_.swallow != 0 && size > what_.swallow) return true;
  if (what_.burst_enter > 0) {
    in_burst_ = in_burst_ ? !chance(rng_, what_.burst_leave) : chance(rng_, what_.burst_enter);
    if (in_burst_) return true;
  }
  if (what_.down_every > Duration() && now.to_nanos() % what_.down_every.to_nanos() < what_.down_for.to_nanos())
    return true;
  return chance(rng_, what_.loss);
}

Instant FaultModel::jittered(Instant due) {
  if (what_.jitter > Duration()) {
    const double most = static_cast<double>(what_.jitter.to_nanos());
    due = std::max(due + Duration::nanos(static_cast<std::int64_t>(rng_.next_double() * most)), last_due_);
  }
  return last_due_ = due;
}

bool FaultModel::holds_back() {
  return chance(rng_, what_.reorder);
}

}  // namespace sluice::drivers
