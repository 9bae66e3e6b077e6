#include "drivers/sim/fq_codel.h"

#include <algorithm>
#include <array>

#include "stack/wire/ipv4.h"

namespace sluice::sim {

FqCodel::FqCodel(std::size_t limit, const FqCodelSettings& settings, const SipKey& key, QueueObserver& observer)
    : limit_(limit), settings_(settings), key_(key), observer_(observer) {
  queues_.reserve(settings.queues);
  for (std::uint32_t i = 0; i < settings.queues; ++i) queues_.push_back({{}, Codel(settings.codel, observer)});
}

// Protocol, addresses, and ports where there are any (RFC 8290 §4.1.1). Fragments of a datagram stay together.
std::uint32_t FqCodel::queue_of(Bytes bytes) const {
  const auto packet = wire::ipv4::parse(bytes, wire::ChecksumPolicy::kTrust);
  if (!packet) return 0;
  std::array<std::uint8_t, 13> tuple{packet->header.protocol};
  std::copy_n(bytes.data() + 12, 8, tuple.data() + 1);
  if (packet->payload.size() >= 4 && !packet->header.is_fragment())
    std::copy_n(packet->payload.data(), 4, tuple.data() + 9);
  return static_cast<std::uint32_t>(siphash24(key_, tuple) % queues_.size());
}

void FqCodel::put(std::uint32_t queue, On list) {
  queues_[queue].list = list;
  if (list == On::kNew) new_.push(queue);
  if (list == On::kOld) old_.push(queue);
}

// RFC 8290 §4.1.3: from the head of the queue with the most bytes.
void FqCodel::drop_from_longest() {
  const auto longest = std::max_element(queues_.begin(), queues_.end(),
                                        [](const Queue& a, const Queue& b) { return a.fifo.bytes() < b.fifo.bytes(); });
  const std::optional<Packet> packet = longest->fifo.pop();
  bytes_ -= packet->size();
  --packets_;
  observer_.on_drop(*packet);
}

void FqCodel::enqueue(Instant now, Packet packet) {
  if (packet.size() > limit_) return observer_.on_drop(packet);
  packet.queued = now;
  bytes_ += packet.size();
  ++packets_;
  const std::uint32_t number = queue_of(packet.buffer.bytes());
  Queue& queue = queues_[number];
  queue.fifo.push(std::move(packet));
  if (queue.list == On::kNone) {
    queue.credits = settings_.quantum;
    put(number, On::kNew);
  }
  while (bytes_ > limit_) drop_from_longest();
}

// RFC 8290 §4.2.
std::optional<Packet> FqCodel::dequeue(Instant now) {
  while (!new_.empty() || !old_.empty()) {
    Ring<std::uint32_t>& list = new_.empty() ? old_ : new_;
    const std::uint32_t number = list.front();
    Queue& queue = queues_[number];
    if (queue.credits <= 0) {
      queue.credits += settings_.quantum;
      put(list.pop(), On::kOld);
      continue;
    }
    const std::size_t bytes = queue.fifo.bytes();
    const std::size_t packets = queue.fifo.packets();
    std::optional<Packet> packet = queue.codel.dequeue(now, queue.fifo);
    bytes_ -= bytes - queue.fifo.bytes();
    packets_ -= packets - queue.fifo.packets();
    if (packet) {
      queue.credits -= static_cast<std::int32_t>(packet->size());
      return packet;
    }
    // A new queue that is empty waits among the old ones, or a flow could always be new (RFC 8290 §4.2).
    put(list.pop(), queue.list == On::kNew && !old_.empty() ? On::kOld : On::kNone);
  }
  return {};
}

}  // namespace sluice::sim
