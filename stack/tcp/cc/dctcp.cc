#include "stack/tcp/cc/dctcp.h"

#include <algorithm>

namespace sluice::tcp::cc {
namespace {
constexpr std::uint32_t kGainDivisor = 16;  // g = 1/16 (§4.2)
}

// Once a round trip: alpha = alpha * (1 - g) + g * M (§3.3), with M the share of that round trip.
void Dctcp::on_ack(const Ack& ack) {
  delivered_ += ack.delivered;
  marked_ += ack.marked;
  if (ack.round_start && delivered_ > 0) {
    const auto share = static_cast<std::uint32_t>(std::min(marked_, delivered_) * kOne / delivered_);
    alpha_ = alpha_ - alpha_ / kGainDivisor + share / kGainDivisor;
    delivered_ = marked_ = 0;
  }
  NewReno::on_ack(ack);
}

// cwnd = cwnd * (1 - alpha / 2) (§3.3).
std::uint32_t Dctcp::reduced(const Congestion& event) const {
  if (event.signal == Signal::kLoss) return NewReno::reduced(event);
  const auto less = static_cast<std::uint32_t>(std::uint64_t{cwnd()} * alpha_ / 2 / kOne);
  return std::max(cwnd() - less, 2 * mss());
}

}  // namespace sluice::tcp::cc
