// What both versions of BBR are built from: rates and gains in integers, round trips counted by what was delivered, a
// maximum over the last few of them, the least round-trip time, dice.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/cc/slow_start.h"

namespace sluice::tcp::cc {

using Rate = std::uint64_t;  // bytes/s

struct Gain {
  std::uint32_t permille = 1000;
};
constexpr std::uint64_t operator*(Gain gain, std::uint64_t value) {
  return value / 1000 * gain.permille + value % 1000 * gain.permille / 1000;
}

constexpr std::uint32_t to_window(std::uint64_t bytes) {
  return bytes < kMaxWindow ? static_cast<std::uint32_t>(bytes) : kMaxWindow;
}

inline constexpr std::uint64_t kNanosPerSecond = 1'000'000'000;

// What a path of this rate and round trip holds.
inline std::uint32_t bdp(Rate rate, Duration rtt) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(rate, static_cast<std::uint64_t>(rtt.to_nanos()), &product)) return kMaxWindow;
  return to_window(product / kNanosPerSecond);
}

// 0 when there is no sample.
inline Rate delivery_rate(const RateSample& sample) {
  if (sample.interval <= Duration()) return 0;
  const std::uint64_t bytes = std::min<std::uint64_t>(sample.delivered, std::uint64_t{1} << 32);
  return bytes * kNanosPerSecond / static_cast<std::uint64_t>(sample.interval.to_nanos());
}

// The rate at which the initial window fills a round trip; one millisecond while none is known.
inline Rate initial_rate(std::uint32_t initial_window, Duration srtt) {
  const Duration rtt = srtt > Duration() ? srtt : 1_ms;
  return std::uint64_t{initial_window} * kNanosPerSecond / static_cast<std::uint64_t>(rtt.to_nanos());
}

// In flight once this ACK is taken off.
inline std::uint32_t still_in_flight(const Ack& ack) {
  return ack.flight - std::min(ack.flight, ack.delivered + ack.lost);
}

// A round trip is over when something is delivered that was sent after the round trip began.
class RoundTrips {
 public:
  void begin(std::uint64_t total_delivered) { end_ = total_delivered; }
  // True: a new one has begun.
  bool on_ack(const Ack& ack) {
    if (ack.rate.prior_delivered < end_) return false;
    end_ = ack.total_delivered;
    return true;
  }

 private:
  std::uint64_t end_ = 0;
};

// The greatest value of the last N turns, the present one among them. A turn is a round trip or a cycle of probing.
template <typename Value, std::size_t N>
class TurnMax {
 public:
  void note(Value value) { turns_[turn_] = std::max(turns_[turn_], value); }
  void next_turn() {
    turn_ = (turn_ + 1) % N;
    turns_[turn_] = Value{};
  }
  void forget() { turns_.fill(Value{}); }
  [[nodiscard]] Value best() const { return *std::max_element(turns_.begin(), turns_.end()); }

 private:
  std::array<Value, N> turns_{};
  std::size_t turn_ = 0;
};

// A minimum that is forgotten when it is too old.
struct AgingMin {
  Duration value = Duration::max();
  Instant since{};

  enum class Equal : std::uint8_t { kConfirms, kIsOld };  // whether an equal sample makes it young again
  void note(Duration sample, Instant now, Duration lifetime, Equal equal) {
    if (sample == Duration()) return;
    const bool lower = sample < value || (sample == value && equal == Equal::kConfirms);
    if (!lower && !expired(now, lifetime)) return;
    value = sample;
    since = now;
  }
  [[nodiscard]] bool expired(Instant now, Duration lifetime) const { return now > since + lifetime; }
  [[nodiscard]] bool known() const { return value != Duration::max(); }
};

// Three rounds without a quarter more: the pipe is full.
class FullPipe {
 public:
  void restart(Rate from) {
    baseline_ = from;
    rounds_ = 0;
  }
  // Once a round trip; true: full.
  bool on_round(Rate rate) {
    if (4 * rate >= 5 * baseline_) {
      restart(rate);
      return false;
    }
    return ++rounds_ >= 3;
  }

 private:
  Rate baseline_ = 0;
  std::uint8_t rounds_ = 0;
};

class Dice {  // SplitMix64: flows shall differ, secrecy is not asked for
 public:
  explicit Dice(std::uint64_t seed = 0) : state_(seed) {}
  std::uint32_t below(std::uint32_t bound) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<std::uint32_t>((z ^ (z >> 31)) % bound);
  }

 private:
  std::uint64_t state_;
};

}  // namespace sluice::tcp::cc
