// FQ-CoDel: RFC 8290. Each flow (5-tuple) has a queue of its own, chosen by a keyed hash, with its own CoDel. Queues
// take turns of a quantum of bytes; one that has just become active goes first.
#pragma once

#include <vector>

#include "drivers/sim/codel.h"
#include "stack/base/siphash.h"

namespace sluice::sim {

struct FqCodelSettings {
  CodelSettings codel{};
  std::uint32_t queues = 1024;  // RFC 8290 §5.2.3
  std::int32_t quantum = 1514;  // bytes; RFC 8290 §5.2.4
};

class FqCodel final : public QueueDiscipline {
 public:
  // limit: bytes in all queues together. key: of the hash that chooses a flow's queue.
  FqCodel(std::size_t limit, const FqCodelSettings& settings, const SipKey& key, QueueObserver& observer);

  void enqueue(Instant now, Packet packet) override;
  std::optional<Packet> dequeue(Instant now) override;
  [[nodiscard]] std::size_t bytes() const override { return bytes_; }
  [[nodiscard]] std::size_t packets() const override { return packets_; }

 private:
  enum class On : std::uint8_t { kNone, kNew, kOld };  // which list
  struct Queue {
    Fifo fifo;
    Codel codel;
    std::int32_t credits = 0;  // bytes
    On list = On::kNone;
  };

  std::uint32_t queue_of(Bytes packet) const;
  void put(std::uint32_t queue, On list);
  void drop_from_longest();

  std::size_t limit_;
  FqCodelSettings settings_;
  SipKey key_;
  QueueObserver& observer_;
  std::vector<Queue> queues_;
  Ring<std::uint32_t> new_, old_;  // numbers of queues
  std::size_t bytes_ = 0;
  std::size_t packets_ = 0;
};

}  // namespace sluice::sim
