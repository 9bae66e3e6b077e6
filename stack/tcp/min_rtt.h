// The shortest round trip of the last minutes, as a windowed minimum in two halves (RFC8985-05).
#pragma once

#include <algorithm>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice::tcp {

class MinRtt {
 public:
  static constexpr Duration kHalf = 150_s;  // what is older than 150 to 300 s is forgotten

  void sample(Instant now, Duration rtt) {
    if (now - began_ >= kHalf) {
      before_ = now - began_ >= kHalf * 2 ? Duration::max() : latest_;
      latest_ = Duration::max();
      began_ = now;
    }
    latest_ = std::min(latest_, rtt);
  }
  [[nodiscard]] Duration get() const {  // zero: not known
    const Duration least = std::min(latest_, before_);
    return least == Duration::max() ? Duration() : least;
  }

 private:
  Instant began_ = Instant::past();
  Duration latest_ = Duration::max();
  Duration before_ = Duration::max();
};

}  // namespace sluice::tcp
