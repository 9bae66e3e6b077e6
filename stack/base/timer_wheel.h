// Timers in O(1): a hierarchical timing wheel (Varghese and Lauck, 1987). Timers are intrusive, owned by whoever
// waits; the wheel allocates nothing. Deadlines are exact: a timer never fires early, and fires in the first
// advance() whose `now` is at or past its deadline, in order of deadline.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/time.h"

namespace sluice {

class TimerWheel;

class Timer {
 public:
  using Callback = void (*)(void* owner);

  Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  // Knows its wheel, which must outlive it, before it is armed.
  Timer(TimerWheel& wheel, Callback callback, void* owner) : wheel_(&wheel), callback_(callback), owner_(owner) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  [[nodiscard]] bool armed() const { return slot_ != kIdle; }
  [[nodiscard]] Instant deadline() const { return armed() ? deadline_ : Instant::never(); }
  void cancel();                    // no-op when not armed
  void schedule(Instant deadline);  // by the wheel that it knows

 private:
  friend class TimerWheel;
  static constexpr std::uint16_t kIdle = UINT16_MAX;
  Timer* next_ = nullptr;
  Timer* prev_ = nullptr;
  TimerWheel* wheel_ = nullptr;
  Instant deadline_{};
  Callback callback_;
  void* owner_;
  std::uint16_t slot_ = kIdle;
};

class TimerWheel {
 public:
  TimerWheel();
  ~TimerWheel();  // disarms what is still armed
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Arms or re-arms; a deadline in the past fires in the next advance(). `never` disarms.
  void schedule(Timer& timer, Instant deadline);

  // Fires everything due at `now`. Callbacks may arm, re-arm and cancel any timer, also their own; a timer armed
  // by a callback for a time at or before `now` fires in the same call only if `limit` allows it.
  // Returns how many fired, at most `limit`.
  std::size_t advance(Instant now, std::size_t limit = SIZE_MAX);

  // The earliest deadline, exactly; never() when nothing is armed.
  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] std::size_t size() const { return armed_; }

 private:
  friend class Timer;
  // Levels of 64 slots; a slot of level 0 spans 2^16 ns, each level 64 times the one below; 8 levels reach past
  // every Instant.
  static constexpr int kLevels = 8;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static constexpr int kTickShift = 16;
  static constexpr std::uint16_t kDueSlot = kLevels * kSlots;  // holds what fires now, in order

  static std::uint64_t tick_of(Instant t);
  static Instant end_of_tick(std::uint64_t tick);  // its last nanosecond
  void place(Timer& timer);
  void remove(Timer& timer);
  Timer* detach(std::uint16_t slot);
  // The first occupied slot in order of time, or kDueSlot when there is none.
  [[nodiscard]] std::uint16_t first_slot() const;
  [[nodiscard]] std::uint64_t start_of(std::uint16_t slot) const;  // its first tick
  void collect_due(std::uint16_t slot, Instant now);
  void insert_due(Timer& timer, Timer* after);
  bool step(Instant now);  // brings the next slot down or collects it; false when nothing more is due

  std::array<Timer*, kLevels * kSlots + 1> slots_{};
  std::array<std::uint64_t, kLevels> occupied_{};
  std::uint64_t tick_ = 0;               // the wheel's present tick
  Instant collected_ = Instant::past();  // whatever is due up to here is in the due list
  std::size_t armed_ = 0;
  mutable Instant earliest_ = Instant::never();  // a cache of next_deadline()
  mutable bool earliest_known_ = true;
};

}  // namespace sluice
