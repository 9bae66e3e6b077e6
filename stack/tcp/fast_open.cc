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

// --- the client ------------------------------------------------------------------------------------------------------

namespace {
constexpr std::uint16_t kDefaultMss = 536;
}

FastOpenCache::FastOpenCache(Context& context) : context_(context) {
  context_.rng.fill(key_);
}

std::size_t FastOpenCache::set_of(const ip::Address& server) const {
  return siphash24(key_, server.octets()) % (kMost / kWays) * kWays;
}

const FastOpenCache::Server* FastOpenCache::find(const ip::Address& server) const {
  if (servers_.empty()) return nullptr;
  const std::size_t first = set_of(server);
  for (std::size_t i = first; i < first + kWays; ++i) {
    if (servers_[i].mss != 0 && servers_[i].address == server) return &servers_[i];
  }
  return nullptr;
}

FastOpenCache::Server& FastOpenCache::obtain(const ip::Address& server) {
  if (servers_.empty()) servers_.resize(kMost);
  const std::size_t first = set_of(server);
  Server* slot = &servers_[first];
  for (std::size_t i = first; i < first + kWays; ++i) {
    Server& s = servers_[i];
    if (s.mss != 0 && s.address == server) return s.used_at = context_.now, s;
    if (slot->mss != 0 && (s.mss == 0 || s.used_at < slot->used_at)) slot = &s;
  }
  *slot = {};
  slot->address = server;
  slot->mss = kDefaultMss;
  slot->used_at = context_.now;
  return *slot;
}

FastOpenOption FastOpenCache::option_for(const ip::Address& server) const {
  const Server* s = find(server);
  if (s != nullptr && s->cookie.present()) return s->cookie;
  const bool experimental = s != nullptr && s->form == Form::kExperimental;
  return {.kind = experimental ? FastOpenOption::Kind::kExperimental : FastOpenOption::Kind::kStandard};
}

std::uint16_t FastOpenCache::mss_of(const ip::Address& server) const {
  const Server* s = find(server);
  return s != nullptr ? s->mss : std::uint16_t{0};
}

bool FastOpenCache::resting(const ip::Address& server) const {
  if (context_.now < rest_until_) return true;
  const Server* s = find(server);
  if (s == nullptr || s->failures < kPatience) return false;
  const int doublings = std::min(s->failures - kPatience, kMostDoublings);
  return context_.now - s->failed_at < kFirstRest * (std::int64_t{1} << doublings);
}

void FastOpenCache::on_syn_ack(const ip::Address& server, std::uint16_t mss, const FastOpenOption& sent,
                               const FastOpenOption& got, Outcome outcome) {
  Server& s = obtain(server);
  s.mss = std::max<std::uint16_t>(mss, 1);
  if (sent.present() && got.size > 0) {  // a cookie that was not asked for is none
    s.cookie = got;
  } else if (outcome == Outcome::kNoCookie && !s.cookie.present() && s.form != Form::kOnlyStandard) {
    s.form = sent.kind == FastOpenOption::Kind::kStandard ? Form::kExperimental : Form::kOnlyStandard;
  }
  if (outcome == Outcome::kLost) return on_failure(server);
  s.failures = 0;
}

void FastOpenCache::on_failure(const ip::Address& server) {
  Server& s = obtain(server);
  if (s.failures < UINT8_MAX) ++s.failures;
  s.failed_at = context_.now;
}

void FastOpenCache::on_black_hole(Duration first) {
  if (first == Duration()) return;
  rest_until_ = context_.now + first * (std::int64_t{1} << std::min(black_holes_, kMostDoublings));
  ++black_holes_;
}

void FastOpenCache::on_success() {
  if (context_.now >= rest_until_) black_holes_ = 0;
}

void FastOpenCache::clear() {
  servers_.clear();
  black_holes_ = 0;
  rest_until_ = Instant::past();
}

}  // namespace sluice::tcp
