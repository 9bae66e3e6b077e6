#include "stack/tcp/mtu_search.h"

#include <algorithm>

namespace sluice::tcp {

void MtuSearch::start(std::uint32_t base, std::uint32_t effective, std::uint32_t limit) {
  *this = {};
  limit_ = high_ = limit;
  effective_ = std::min(effective, limit);
  low_ = std::min(base, effective_);
}

void MtuSearch::set_limit(std::uint32_t limit) {
  if (limit > limit_ || high_ > limit) {
    high_ = limit;
    lost_ = 0;
  }
  limit_ = limit;
  effective_ = std::min(effective_, limit);
  low_ = std::min(low_, effective_);
}

void MtuSearch::on_black_hole(std::uint32_t base, std::uint32_t floor) {
  first_ = std::max(first_, effective_);
  effective_ = effective_ > base ? base : std::max(std::min(effective_, floor), effective_ / 2);
  low_ = effective_;
  high_ = limit_;
  lost_ = 0;
  probe_ = 0;
}

// Half-way, as in any search where nothing is known of what is likely.
std::uint32_t MtuSearch::next(Instant now) {
  if (probe_ != 0 || now < wait_until_) return 0;
  if (settled()) {
    if (now < again_at_) return 0;
    high_ = limit_;
    if (settled()) return 0;
  }
  if (first_ > effective_ && first_ <= high_) return first_;
  const std::uint32_t middle = (low_ + high_) / 2;
  return middle > effective_ ? middle : (effective_ + high_) / 2;
}

void MtuSearch::on_sent(std::uint32_t size, Seq begin, Seq end) {
  probe_ = size;
  begin_ = begin;
  end_ = end;
}

void MtuSearch::on_acknowledged(Instant now) {
  low_ = effective_ = std::min(probe_, limit_);
  probe_ = 0;
  lost_ = 0;
  note_end(now);
}

void MtuSearch::on_lost(Instant now, Duration pause) {
  wait_until_ = now + pause;
  if (++lost_ >= kTries) {
    high_ = probe_ - 1;
    lost_ = 0;
  }
  probe_ = 0;
  note_end(now);
}

void MtuSearch::note_end(Instant now) {
  if (settled()) again_at_ = now + kSearchAgain;
}

}  // namespace sluice::tcp
