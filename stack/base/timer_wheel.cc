#include "stack/base/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace sluice {

// A timer's level is the highest group of six bits in which its tick differs from the wheel's. So everything on a
// level is due before anything on the level above, and the earliest timer is in the first occupied slot of the lowest
// level that has one. Before all of them stands the due list: everything up to collected_, in order of deadline.

void Timer::cancel() {
  if (armed()) wheel_->remove(*this);
}

void Timer::schedule(Instant deadline) {
  wheel_->schedule(*this, deadline);
}

TimerWheel::TimerWheel() = default;

TimerWheel::~TimerWheel() {
  for (Timer* timer : slots_) {
    while (timer != nullptr) {
      timer->slot_ = Timer::kIdle;
      timer = timer->next_;
    }
  }
}

std::uint64_t TimerWheel::tick_of(Instant t) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(t.to_nanos(), 0)) >> kTickShift;
}

Instant TimerWheel::end_of_tick(std::uint64_t tick) {
  return Instant::from_nanos(static_cast<std::int64_t>(((tick + 1) << kTickShift) - 1));
}

void TimerWheel::place(Timer& timer) {
  if (timer.deadline_ <= collected_) {  // armed for a time already passed: in its turn, after its equals
    Timer* after = nullptr;
    for (Timer* t = slots_[kDueSlot]; t != nullptr && t->deadline_ <= timer.deadline_; t = t->next_) after = t;
    return insert_due(timer, after);
  }
  const std::uint64_t tick = std::max(tick_of(timer.deadline_), tick_);
  const int level = (63 - std::countl_zero((tick ^ tick_) | (kSlots - 1))) / kSlotBits;
  const auto index = static_cast<int>(tick >> (level * kSlotBits) & (kSlots - 1));
  timer.slot_ = static_cast<std::uint16_t>(level * kSlots + index);
  Timer*& head = slots_[timer.slot_];
  timer.prev_ = nullptr;
  timer.next_ = head;
  if (head != nullptr) head->prev_ = &timer;
  head = &timer;
  occupied_[static_cast<std::size_t>(level)] |= std::uint64_t{1} << index;
}

void TimerWheel::remove(Timer& timer) {
  (timer.prev_ != nullptr ? timer.prev_->next_ : slots_[timer.slot_]) = timer.next_;
  if (timer.next_ != nullptr) timer.next_->prev_ = timer.prev_;
  if (slots_[timer.slot_] == nullptr && timer.slot_ != kDueSlot) {
    occupied_[timer.slot_ / kSlots] &= ~(std::uint64_t{1} << (timer.slot_ % kSlots));
  }
  timer.slot_ = Timer::kIdle;
  --armed_;
  if (timer.deadline_ <= earliest_) earliest_known_ = false;
}

Timer* TimerWheel::detach(std::uint16_t slot) {
  occupied_[slot / kSlots] &= ~(std::uint64_t{1} << (slot % kSlots));
  return std::exchange(slots_[slot], nullptr);
}

void TimerWheel::schedule(Timer& timer, Instant deadline) {
  timer.cancel();
  if (deadline.is_never()) return;
  timer.wheel_ = this;
  timer.deadline_ = deadline;
  ++armed_;
  place(timer);
  if (earliest_known_) earliest_ = std::min(earliest_, deadline);
}

std::uint16_t TimerWheel::first_slot() const {
  for (std::size_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    return static_cast<std::uint16_t>(level * kSlots + static_cast<std::size_t>(std::countr_zero(occupied_[level])));
  }
  return kDueSlot;
}

std::uint64_t TimerWheel::start_of(std::uint16_t slot) const {
  const int shift = slot / kSlots * kSlotBits;
  const std::uint64_t above = tick_ >> shift >> kSlotBits << kSlotBits << shift;
  return above | static_cast<std::uint64_t>(slot % kSlots) << shift;
}

void TimerWheel::insert_due(Timer& timer, Timer* after) {
  timer.slot_ = kDueSlot;
  timer.prev_ = after;
  timer.next_ = after != nullptr ? after->next_ : slots_[kDueSlot];
  if (timer.next_ != nullptr) timer.next_->prev_ = &timer;
  (after != nullptr ? after->next_ : slots_[kDueSlot]) = &timer;
}

// Keeps the due list in order of deadline, and of arming among equals. A slot's list has the timer armed last in front,
// and timers armed later are mostly due later, so the search mostly ends at once.
void TimerWheel::collect_due(std::uint16_t slot, Instant now) {
  Timer* timer = detach(slot);
  while (timer != nullptr) {
    Timer* next = timer->next_;
    if (timer->deadline_ <= now) {
      Timer* after = nullptr;
      for (Timer* t = slots_[kDueSlot]; t != nullptr && t->deadline_ < timer->deadline_; t = t->next_) after = t;
      insert_due(*timer, after);
    } else {
      place(*timer);
    }
    timer = next;
  }
}

bool TimerWheel::step(Instant now) {
  const std::uint64_t target = std::max(tick_of(now), tick_);
  const std::uint16_t slot = first_slot();
  if (slot == kDueSlot || start_of(slot) > target) {
    tick_ = target;
    collected_ = std::max(collected_, now);
    return false;
  }
  tick_ = std::max(tick_, start_of(slot));
  if (slot / kSlots > 0) {
    for (Timer* timer = detach(slot); timer != nullptr;) {
      Timer* next = timer->next_;
      place(*timer);
      timer = next;
    }
    return true;
  }
  collect_due(slot, now);
  collected_ = std::max(collected_, std::min(now, end_of_tick(tick_)));
  return slots_[kDueSlot] != nullptr;
}

std::size_t TimerWheel::advance(Instant now, std::size_t limit) {
  std::size_t fired = 0;
  while (fired < limit) {
    while (slots_[kDueSlot] == nullptr && step(now)) {  // until something is due, or nothing will be
    }
    Timer* timer = slots_[kDueSlot];
    if (timer == nullptr) break;
    timer->cancel();
    ++fired;
    timer->callback_(timer->owner_);
  }
  return fired;
}

Instant TimerWheel::next_deadline() const {
  if (earliest_known_) return earliest_;
  const Timer* timer = slots_[kDueSlot] != nullptr ? slots_[kDueSlot] : slots_[first_slot()];
  earliest_ = Instant::never();
  for (; timer != nullptr; timer = timer->next_) earliest_ = std::min(earliest_, timer->deadline_);
  earliest_known_ = true;
  return earliest_;
}

}  // namespace sluice
