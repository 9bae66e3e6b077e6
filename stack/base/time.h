// Time as a value. The stack has no clock: an Instant is handed in with each call, in real use from
// CLOCK_MONOTONIC, in tests from a counter. Both types count whole nanoseconds in 64 bits (292 years).
#pragma once

#include <compare>
#include <cstdint>

namespace sluice {

class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration nanos(std::int64_t n) { return Duration(n); }
  static constexpr Duration micros(std::int64_t n) { return Duration(n * 1'000); }
  static constexpr Duration millis(std::int64_t n) { return Duration(n * 1'000'000); }
  static constexpr Duration seconds(std::int64_t n) { return Duration(n * 1'000'000'000); }
  static constexpr Duration max() { return Duration(INT64_MAX); }

  [[nodiscard]] constexpr std::int64_t to_nanos() const { return ns_; }
  [[nodiscard]] constexpr std::int64_t to_micros() const { return ns_ / 1'000; }
  [[nodiscard]] constexpr std::int64_t to_millis() const { return ns_ / 1'000'000; }
  [[nodiscard]] constexpr double to_seconds() const { return static_cast<double>(ns_) / 1e9; }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration& operator+=(Duration d) { return ns_ += d.ns_, *this; }
  constexpr Duration& operator-=(Duration d) { return ns_ -= d.ns_, *this; }
  friend constexpr Duration operator+(Duration a, Duration b) { return Duration(a.ns_ + b.ns_); }
  friend constexpr Duration operator-(Duration a, Duration b) { return Duration(a.ns_ - b.ns_); }
  friend constexpr Duration operator-(Duration a) { return Duration(-a.ns_); }
  friend constexpr Duration operator*(Duration a, std::int64_t k) { return Duration(a.ns_ * k); }
  friend constexpr Duration operator/(Duration a, std::int64_t k) { return Duration(a.ns_ / k); }

 private:
  constexpr explicit Duration(std::int64_t ns) : ns_(ns) {}
  std::int64_t ns_ = 0;
};

constexpr Duration abs(Duration d) {
  return d < Duration() ? -d : d;
}

// A duration in 32 bits, where it is kept by the thousand: whole microseconds, rounded down, 71 minutes at most; and
// max().
class ShortDuration {
 public:
  constexpr ShortDuration() = default;
  constexpr ShortDuration(Duration d)  // NOLINT: it is the same thing
      : us_(d.to_micros() < kMax ? static_cast<std::uint32_t>(d.to_micros()) : kMax) {}
  constexpr operator Duration() const { return us_ == kMax ? Duration::max() : Duration::micros(us_); }

 private:
  static constexpr std::uint32_t kMax = UINT32_MAX;
  std::uint32_t us_ = 0;
};

// A point on the caller's monotonic clock. Its zero has no meaning.
class Instant {
 public:
  constexpr Instant() = default;
  static constexpr Instant from_nanos(std::int64_t n) { return Instant(n); }
  static constexpr Instant never() { return Instant(INT64_MAX); }  // later than any other
  static constexpr Instant past() { return Instant(INT64_MIN); }   // earlier than any other

  [[nodiscard]] constexpr std::int64_t to_nanos() const { return ns_; }
  [[nodiscard]] constexpr bool is_never() const { return ns_ == INT64_MAX; }

  constexpr auto operator<=>(const Instant&) const = default;
  friend constexpr Instant operator+(Instant t, Duration d) {
    return d == Duration::max() || t.is_never() ? never() : Instant(t.ns_ + d.to_nanos());
  }
  friend constexpr Instant operator-(Instant t, Duration d) { return Instant(t.ns_ - d.to_nanos()); }
  // Saturates: since `past` it is longer than anything.
  friend constexpr Duration operator-(Instant a, Instant b) {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(a.ns_, b.ns_, &difference)) difference = a < b ? INT64_MIN : INT64_MAX;
    return Duration::nanos(difference);
  }

 private:
  constexpr explicit Instant(std::int64_t ns) : ns_(ns) {}
  std::int64_t ns_ = 0;
};

inline namespace literals {
constexpr Duration operator""_ns(unsigned long long n) {
  return Duration::nanos(static_cast<std::int64_t>(n));
}
constexpr Duration operator""_us(unsigned long long n) {
  return Duration::micros(static_cast<std::int64_t>(n));
}
constexpr Duration operator""_ms(unsigned long long n) {
  return Duration::millis(static_cast<std::int64_t>(n));
}
constexpr Duration operator""_s(unsigned long long n) {
  return Duration::seconds(static_cast<std::int64_t>(n));
}
}  // namespace literals

}  // namespace sluice
