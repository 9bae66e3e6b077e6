#include "drivers/sim/codel.h"

#include <cmath>

#include "stack/wire/ipv4.h"

namespace sluice::sim {

namespace {
constexpr int kMemoryIntervals = 16;  // how long the rate of drops found last is worth resuming (RFC 8289 §5.5)
}

Instant Codel::next_drop(Instant from, Duration interval, std::uint32_t count) {
  return from + Duration::nanos(static_cast<std::int64_t>(static_cast<double>(interval.to_nanos()) / std::sqrt(count)));
}

Codel::Head Codel::take(Instant now, Fifo& fifo) {
  Head head{fifo.pop()};
  if (!head.packet || now - head.packet->queued < settings_.target || fifo.bytes() <= settings_.least) {
    first_above_ = Instant::past();
  } else if (first_above_ == Instant::past()) {
    first_above_ = now + settings_.interval;
  } else {
    head.may_drop = now >= first_above_;
  }
  return head;
}

// In place of a drop, where the sender understands it (RFC 8289 §3.1).
bool Codel::mark(Packet& packet) {
  if (!wire::ipv4::mark_congestion(packet.buffer.writable())) return false;
  observer_.on_mark(packet);
  return true;
}

// With the rate of the last time if that was a moment ago (RFC 8289 §5.5).
void Codel::begin_dropping(Instant now) {
  dropping_ = true;
  const std::uint32_t found = count_ - last_count_;
  const bool recent = now - drop_next_ < settings_.interval * kMemoryIntervals;
  count_ = recent && found > 1 ? found : 1;
  drop_next_ = next_drop(now, settings_.interval, count_);
  last_count_ = count_;
}

std::optional<Packet> Codel::dequeue(Instant now, Fifo& fifo) {
  Head head = take(now, fifo);
  if (!dropping_) {
    if (!head.may_drop) return std::move(head.packet);
    if (!mark(*head.packet)) {
      observer_.on_drop(*head.packet);
      head = take(now, fifo);
    }
    begin_dropping(now);
    return std::move(head.packet);
  }
  dropping_ = head.may_drop;
  while (dropping_ && now >= drop_next_) {
    ++count_;
    if (mark(*head.packet)) {
      drop_next_ = next_drop(drop_next_, settings_.interval, count_);
      break;
    }
    observer_.on_drop(*head.packet);
    head = take(now, fifo);
    dropping_ = head.may_drop;
    if (dropping_) drop_next_ = next_drop(drop_next_, settings_.interval, count_);
  }
  return std::move(head.packet);
}

void CodelQueue::enqueue(Instant now, Packet packet) {
  if (fifo_.bytes() + packet.size() > limit_) return observer_.on_drop(packet);
  packet.queued = now;
  fifo_.push(std::move(packet));
}

}  // namespace sluice::sim
