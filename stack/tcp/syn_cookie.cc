#include "stack/tcp/syn_cookie.h"

#include <algorithm>
#include <array>

#include "stack/tcp/connection.h"

namespace sluice::tcp {
namespace {

constexpr std::int64_t kPeriodNanos = SynCookies::kLifetime.to_nanos() / 2;
constexpr std::uint32_t kPeriods = 2;  // the one in which it was made, and the next

// What peers offer: the smallest taken from any, the default, and what is left of the usual MTUs.
constexpr std::array<std::uint16_t, 8> kSizes = {88, 536, 1024, 1300, 1400, 1440, 1460, 8960};

// Of a timestamp's value.
constexpr std::uint32_t kOptionBits = 0x3f;
constexpr std::uint32_t kScaleMask = 0xf;
constexpr std::uint32_t kNoScale = 0xf;  // above the largest that there is
constexpr std::uint32_t kSack = 0x10;
constexpr std::uint32_t kEcn = 0x20;

std::uint32_t period_of(Instant now) {
  return static_cast<std::uint32_t>(now.to_nanos() / kPeriodNanos);
}

}  // namespace

std::uint32_t SynCookies::hash(const FourTuple& tuple, Seq irs, std::uint32_t period) const {
  TupleBytes message(tuple);
  message.append(irs.value());
  message.append(period);
  return static_cast<std::uint32_t>(siphash24(key_, message.view()));
}

Seq SynCookies::make(const FourTuple& tuple, Seq irs, std::uint16_t peer_mss, Instant now) const {
  const auto above = std::upper_bound(kSizes.begin() + 1, kSizes.end(), peer_mss);
  const auto index = static_cast<std::uint32_t>(above - kSizes.begin() - 1);
  return Seq(hash(tuple, irs, period_of(now)) + index);
}

std::optional<std::uint16_t> SynCookies::check(const FourTuple& tuple, Seq irs, Seq cookie, Instant now) const {
  for (std::uint32_t age = 0; age < kPeriods; ++age) {
    const std::uint32_t index = cookie.value() - hash(tuple, irs, period_of(now) - age);
    if (index < kSizes.size()) return kSizes[index];
  }
  return {};
}

std::uint32_t put_in_timestamp(std::uint32_t clock, const Negotiated& n) {
  const std::uint32_t options =
      (n.window_scaling ? n.send_scale : kNoScale) | (n.sack ? kSack : 0) | (n.ecn != EcnMode::kNone ? kEcn : 0);
  const std::uint32_t value = (clock & ~kOptionBits) | options;
  return value > clock ? value - (kOptionBits + 1) : value;
}

void take_from_echo(std::uint32_t echo, Negotiated& n) {
  const std::uint32_t scale = echo & kScaleMask;
  n.window_scaling = scale != kNoScale;
  n.send_scale = static_cast<std::uint8_t>(n.window_scaling ? scale : 0);
  n.sack = (echo & kSack) != 0;
  n.ecn = (echo & kEcn) != 0 ? EcnMode::kClassic : EcnMode::kNone;
}

}  // namespace sluice::tcp
