// CoDel: RFC 8289. Drops at the head of the queue, or marks, when packets have waited longer than a target for a whole
// interval; then again at intervals that shrink with the square root of the count, until the wait is short.
#pragma once

#include "drivers/sim/queue_discipline.h"

namespace sluice::sim {

struct CodelSettings {
  Duration target = 5_ms;      // RFC 8289 §4.3
  Duration interval = 100_ms;  // RFC 8289 §4.3; about the longest usual round trip
  std::size_t least = 1500;    // bytes; a queue no longer than one full packet is not shortened
};

// The control law and its state, for one queue.
class Codel {
 public:
  Codel(const CodelSettings& settings, QueueObserver& observer) : settings_(settings), observer_(observer) {}

  std::optional<Packet> dequeue(Instant now, Fifo& fifo);

  // When the next drop is due after the count-th at `from` (RFC 8289 §5.2 control_law).
  static Instant next_drop(Instant from, Duration interval, std::uint32_t count);

 private:
  // The head of the queue, and whether the wait has been too long for an interval (RFC 8289 §5.6).
  struct Head {
    std::optional<Packet> packet;
    bool may_drop = false;
  };
  Head take(Instant now, Fifo& fifo);
  bool mark(Packet& packet);
  void begin_dropping(Instant now);

  CodelSettings settings_;
  QueueObserver& observer_;
  Instant first_above_ = Instant::past();  // when the wait will have been too long; past: it is short
  Instant drop_next_ = Instant::past();
  std::uint32_t count_ = 0;       // since dropping began
  std::uint32_t last_count_ = 0;  // when it last began
  bool dropping_ = false;
};

class CodelQueue final : public QueueDiscipline {
 public:
  CodelQueue(std::size_t limit, const CodelSettings& settings, QueueObserver& observer)  // limit: bytes
      : limit_(limit), observer_(observer), codel_(settings, observer) {}

  void enqueue(Instant now, Packet packet) override;
  std::optional<Packet> dequeue(Instant now) override { return codel_.dequeue(now, fifo_); }
  [[nodiscard]] std::size_t bytes() const override { return fifo_.bytes(); }
  [[nodiscard]] std::size_t packets() const override { return fifo_.packets(); }

 private:
  std::size_t limit_;
  QueueObserver& observer_;
  Fifo fifo_;
  Codel codel_;
};

}  // namespace sluice::sim
