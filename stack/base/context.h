// What all layers of one stack share: the present time, randomness, timers, counters, the event hook.
// One Context a stack; two stacks in a process share nothing.
#pragma once

#include "stack/base/counters.h"
#include "stack/base/event.h"
#include "stack/base/rng.h"
#include "stack/base/time.h"
#include "stack/base/timer_wheel.h"

namespace sluice {

struct Context {
  Instant now{};  // set by the stack at the start of each call from outside; never goes back
  Rng rng;
  TimerWheel timers;
  Counters counters;
  EventSink* sink = nullptr;               // may be null
  const std::uint8_t* arriving = nullptr;  // the received packet that a transport is dealing with, null: none

  explicit Context(const Rng::Seed& seed) : rng(seed) {}

  void emit(Event event) {
    if (sink == nullptr) return;
    event.at = now;
    event.arriving = arriving;
    sink->on_event(event);
  }
  void drop(Drop reason, Bytes bytes = {}, std::uint64_t flow = 0) {
    counters.add(reason);
    if (sink != nullptr) emit({.kind = EventKind::kDrop, .reason = reason, .flow = flow, .bytes = bytes});
  }
};

}  // namespace sluice
