#include "stack/tcp/scoreboard.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace sluice::tcp {

using State = Sent::State;

namespace {
constexpr std::uint32_t kFirstCapacity = 16;
constexpr std::uint32_t kDense = 4096;  // records; beyond, small segments that follow one another share one
constexpr std::uint32_t kSmall = 1024;  // bytes
}  // namespace

// --- the ring
// ---------------------------------------------------------------------------------------------------------

void Scoreboard::grow() {
  const std::uint32_t wider = capacity_ == 0 ? kFirstCapacity : 2 * capacity_;
  auto ring = std::make_unique<Sent[]>(wider);
  for (std::uint32_t i = 0; i < count_; ++i) ring[i] = at(i);
  ring_ = std::move(ring);
  capacity_ = wider;
  head_ = 0;
}

// The shorter side moves.
void Scoreboard::open_gap(std::uint32_t index) {
  if (count_ == capacity_) grow();
  ++count_;
  if (index < count_ / 2) {
    head_ = (head_ - 1) & (capacity_ - 1);
    for (std::uint32_t i = 0; i < index; ++i) at(i) = at(i + 1);
  } else {
    for (std::uint32_t i = count_ - 1; i > index; --i) at(i) = at(i - 1);
  }
}

void Scoreboard::close_gap(std::uint32_t index) {
  if (index < count_ / 2) {
    for (std::uint32_t i = index; i > 0; --i) at(i) = at(i - 1);
    head_ = (head_ + 1) & (capacity_ - 1);
  } else {
    for (std::uint32_t i = index; i + 1 < count_; ++i) at(i) = at(i + 1);
  }
  --count_;
}

std::uint32_t Scoreboard::find(Seq seq) const {
  std::uint32_t low = 0;
  std::uint32_t high = count_;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (at(middle).end() <= seq) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

std::uint32_t Scoreboard::cut(std::uint32_t index, Seq where) {
  if (where <= at(index).begin) return index;
  if (where >= at(index).end()) return index + 1;
  open_gap(index + 1);
  Sent& first = at(index);
  Sent& second = at(index + 1);
  second = first;
  first.length = where - first.begin;
  first.pushed = false;
  second.begin = where;
  second.length -= first.length;
  return index + 1;
}

void Scoreboard::set_state(Sent& record, State state) {
  in_flight_ -= record.in_flight();
  if (record.state == State::kSacked) sacked_ -= record.length;
  if (record.state == State::kLost) lost_ -= record.length;
  record.state = state;
  record.twice = false;
  in_flight_ += record.in_flight();
  if (state == State::kSacked) sacked_ += record.length;
  if (state == State::kLost) lost_ += record.length;
}

// --- sending
// ----------------------------------------------------------------------------------------------------------

void Scoreboard::start(Seq una) {
  assert(count_ == 0);
  una_ = end_ = highest_delivered_ = highest_sacked_ = first_lost_ = doubtful_ = una;
}

void Scoreboard::clear() {
  head_ = count_ = 0;
  in_flight_ = sacked_ = lost_ = 0;
}

// An application that writes byte by byte must not make a record of each.
bool Scoreboard::extend_last(Seq begin, std::uint32_t length, const SendStamp& stamp, Pushed pushed) {
  if (count_ < kDense) return false;
  Sent& last = at(count_ - 1);
  if (last.state != State::kInFlight || last.retransmitted || last.end() != begin || last.length + length > kSmall) {
    return false;
  }
  last.length += length;
  last.stamp = stamp;
  last.pushed = pushed == Pushed::kYes;
  in_flight_ += length;
  last.sent_in_flight = in_flight_;
  return true;
}

// (RFC8985-02, -04)
void Scoreboard::sent(Seq begin, std::uint32_t length, const SendStamp& stamp, Pushed pushed) {
  const Seq end = begin + length;
  if (count_ == 0) start(begin);
  if (begin < end_) {
    const std::uint32_t first = cut(find(begin), begin);
    const std::uint32_t last = end < end_ ? cut(find(end), end) : count_;
    for (std::uint32_t i = first; i < last; ++i) resend(i, stamp);
    if (last > first && pushed == Pushed::kYes) at(last - 1).pushed = true;
    begin = max(begin, end_);
  }
  if (begin >= end) return;
  const std::uint32_t fresh = end - begin;
  end_ = end;
  if (extend_last(begin, fresh, stamp, pushed)) return;
  if (count_ == capacity_) grow();
  ++count_;
  in_flight_ += fresh;
  at(count_ - 1) = {
      .stamp = stamp, .begin = begin, .length = fresh, .sent_in_flight = in_flight_, .pushed = pushed == Pushed::kYes};
}

void Scoreboard::resend(std::uint32_t index, const SendStamp& stamp) {
  Sent& record = at(index);
  if (record.state == State::kSacked) return;
  const bool in_doubt = record.state == State::kInFlight;
  set_state(record, State::kInFlight);
  if (in_doubt) {
    record.twice = true;
    in_flight_ += record.length;
  }
  record.stamp = stamp;
  record.retransmitted = true;
  record.sent_in_flight = in_flight_;
}

// --- what an ACK says
// -------------------------------------------------------------------------------------------------

void Scoreboard::deliver(const Sent& record, Delivery& d) {
  d.bytes += record.length;
  if (d.latest.length == 0 || d.latest.sent_before(record)) d.latest = record;
  if (record.retransmitted) {
    d.retransmission = true;
  } else if (d.latest_fresh.length == 0 || d.latest_fresh.sent_before(record)) {
    d.latest_fresh = record;
  }
  if (record.end() > highest_delivered_) {
    highest_delivered_ = record.end();
  } else if (record.end() < highest_delivered_ && !record.retransmitted) {
    d.reordered = std::max(d.reordered, highest_delivered_ - record.begin);
  }
}

void Scoreboard::acknowledge(Seq una, Delivery& d) {
  una_ = una;
  while (count_ > 0 && at(0).begin < una) {
    Sent& first = at(0);
    const std::uint32_t rest = first.end() > una ? first.end() - una : 0;
    Sent covered = first;
    covered.length -= rest;
    if (covered.state != State::kSacked) {
      deliver(covered, d);
      if (!covered.retransmitted && d.first_fresh.length == 0) d.first_fresh = covered;
    }
    const State state = first.state;
    in_flight_ -= covered.in_flight();
    if (state == State::kSacked) sacked_ -= covered.length;
    if (state == State::kLost) lost_ -= covered.length;
    if (rest > 0) {
      first.begin = una;
      first.length = rest;
      break;
    }
    head_ = (head_ + 1) & (capacity_ - 1);
    --count_;
  }
  if (end_ < una) {  // a window probe's byte, of which there is no record
    d.bytes += una - end_;
    end_ = una;
  }
  highest_delivered_ = max(highest_delivered_, una);
  first_lost_ = max(first_lost_, una);
  doubtful_ = max(doubtful_, una);
}

// The record becomes SACKed and one with SACKed neighbours. Returns the index of what follows.
std::uint32_t Scoreboard::mark_sacked(std::uint32_t index, Delivery& d) {
  Sent& record = at(index);
  deliver(record, d);
  d.sacked += record.length;
  set_state(record, State::kSacked);
  highest_sacked_ = sacked_ == record.length ? record.end() : max(highest_sacked_, record.end());
  if (index > 0 && at(index - 1).state == State::kSacked) {
    at(index - 1).length += record.length;
    close_gap(index);
    --index;
  }
  if (index + 1 < count_ && at(index + 1).state == State::kSacked) {
    at(index).length += at(index + 1).length;
    close_gap(index + 1);
  }
  return index + 1;
}

void Scoreboard::sack(Seq left, Seq right, std::uint32_t mss, Delivery& d) {
  for (std::uint32_t i = find(left); i < count_ && at(i).begin < right;) {
    const Sent& record = at(i);
    if (record.state == State::kSacked) {
      ++i;
      continue;
    }
    // Only whole segments of a larger transmission are told apart: rounded inwards.
    const std::uint32_t before = record.begin < left ? (left - record.begin + mss - 1) / mss * mss : 0;
    const std::uint32_t to = right < record.end() ? (right - record.begin) / mss * mss : record.length;
    if (before >= to) {
      ++i;
      continue;
    }
    const Seq from = record.begin + before;
    const Seq until = record.begin + to;
    i = cut(i, from);
    (void)cut(i, until);
    i = mark_sacked(i, d);
  }
}

// --- what is lost
// -----------------------------------------------------------------------------------------------------

void Scoreboard::lose(Sent& record) {
  set_state(record, State::kLost);
  first_lost_ = min(first_lost_, record.begin);
}

std::uint32_t Scoreboard::lose_below_sacks(std::uint32_t mss) {
  if (sacked_ == 0) return 0;
  int ranges = 0;
  std::uint32_t bytes = 0;
  std::uint32_t i = find(highest_sacked_ - 1) + 1;
  while (i > 0 && ranges < kDupThresh && bytes <= (kDupThresh - 1) * mss) {
    --i;
    if (at(i).state != State::kSacked) continue;
    ++ranges;
    bytes += at(i).length;
  }
  if (ranges < kDupThresh && bytes <= (kDupThresh - 1) * mss) return 0;
  std::uint32_t newly = 0;
  for (; i > 0; --i) {
    Sent& record = at(i - 1);
    if (record.state == State::kLost && !record.retransmitted) break;  // so was what is below, or sent again since
    if (record.state != State::kInFlight || record.retransmitted) continue;
    lose(record);
    newly += record.length;
  }
  return newly;
}

std::uint32_t Scoreboard::lose_first(std::uint32_t most) {
  if (count_ == 0 || at(0).state != State::kInFlight) return 0;
  (void)cut(0, at(0).begin + std::min(most, at(0).length));
  lose(at(0));
  return at(0).length;
}

Scoreboard::Found Scoreboard::lose_sent_before(const Sent& latest, Instant sent_until) {
  Found found;
  for (std::uint32_t i = 0; i < count_; ++i) {
    Sent& record = at(i);
    if (record.state != State::kInFlight) continue;
    const bool before = record.sent_before(latest);
    if (before && record.stamp.at <= sent_until) {
      found.bytes += record.length;
      found.retransmission |= record.retransmitted;
      lose(record);
      continue;
    }
    found.waiting |= before;
    // What stands above a first transmission was sent later still, once or again.
    if (!record.retransmitted) break;
  }
  return found;
}

std::uint32_t Scoreboard::lose_all() {
  std::uint32_t newly = 0;
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (at(i).state != State::kInFlight) continue;
    newly += at(i).length;
    lose(at(i));
  }
  return newly;
}

void Scoreboard::forget_sacks() {
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (at(i).state == State::kSacked) set_state(at(i), State::kInFlight);
  }
}

void Scoreboard::forget_losses() {
  for (std::uint32_t i = 0; i < count_ && lost_ > 0; ++i) {
    if (at(i).state == State::kLost) set_state(at(i), State::kInFlight);
  }
  first_lost_ = end_;
  doubtful_ = una_;
}

// --- what to send again
// -----------------------------------------------------------------------------------------------

const Sent* Scoreboard::next_lost() {
  if (lost_ == 0) return nullptr;
  std::uint32_t i = find(first_lost_);
  while (at(i).state != State::kLost) ++i;
  first_lost_ = at(i).begin;
  return &at(i);
}

const Sent* Scoreboard::next_doubtful() {
  if (sacked_ == 0) return nullptr;
  for (std::uint32_t i = find(doubtful_); i < count_ && at(i).begin < highest_sacked_; ++i) {
    doubtful_ = at(i).begin;
    if (at(i).state == State::kInFlight && !at(i).retransmitted) return &at(i);
  }
  return nullptr;
}

bool Scoreboard::pushed_at(Seq end) const {
  const std::uint32_t i = find(end - 1);
  return i < count_ && at(i).end() == end && at(i).pushed;
}

const Sent* Scoreboard::last_unsacked() const {
  for (std::uint32_t i = count_; i > 0; --i) {
    if (at(i - 1).state != State::kSacked) return &at(i - 1);
  }
  return nullptr;
}

}  // namespace sluice::tcp
