#include "drivers/sim/drop_tail.h"

namespace sluice::sim {

void DropTail::enqueue(Instant now, Packet packet) {
  if (fifo_.bytes() + packet.size() > limit_) return observer_.on_drop(packet);
  packet.queued = now;
  fifo_.push(std::move(packet));
}

std::optional<Packet> DropTail::dequeue(Instant) {
  return fifo_.pop();
}

}  // namespace sluice::sim
