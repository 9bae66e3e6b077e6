#include "stack/tcp/fast_open.h"

#include <algorithm>
#include <array>
#include <utility>

#include "stack/base/byte_order.h"

namespace sluice::tcp {

// --- the server ------------------------------------------------------------------------------------------------------

FastOpenOption fast_open_cookie(const SipKey& key, const ip::Address& client, const ip::Address& server) {
  std::array<std::uint8_t, 32> addresses{};
  const Bytes first = client.octets();
  const Bytes second = server.octets();
  std::copy(first.begin(), first.end(), addresses.begin());
  std::copy(second.begin(), second.end(), addresses.begin() + static_cast<std::ptrdiff_t>(first.size()));
  const std::uint64_t code = siphash24(key, Bytes(addresses).first(first.size() + second.size()));
  FastOpenOption o{.kind = FastOpenOption::Kind::kStandard, .size = sizeof code};
  for (std::size_t i = 0; i < sizeof code; ++i) o.cookie[i] = static_cast<std::uint8_t>(code >> 8 * i);
  return o;
}

FastOpenVerdict judge_cookie(const FastOpenOption& shown, const FastOpenKeys& keys, const ip::Address& client,
                             const ip::Address& server) {
  for (std::size_t i = 0; i < keys.count; ++i) {
    const FastOpenOption right = fast_open_cookie(keys.key[i], client, server);
    if (shown.size == right.size && shown.cookie == right.cookie) {
      return i == 0 ? FastOpenVerdict::kGood : FastOpenVerdict::kOld;
    }
  }
  return FastOpenVerdict::kBad;
}

const FastOpenKeys& FastOpenSecret::keys() {
  if (context_.now < next_) return keys_;
  const bool long_ago = next_ == Instant::past() || context_.now - next_ >= kLifetime;
  keys_.key[1] = keys_.key[0];
  context_.rng.fill(keys_.key[0]);
  keys_.count = long_ago ? 1 : 2;
  next_ = context_.now + kLifetime;
  return keys_;
}

bool FastOpenQueue::has_room(Instant now) {
  while (!resets_.empty() && resets_.front() <= now) (void)resets_.pop();
  return pending_ + resets_.size() < limit;
}

void FastOpenQueue::leave_after_reset(Instant now) {
  leave();
  resets_.push(now + kResetCounts);
}

}  // namespace sluice::tcp
