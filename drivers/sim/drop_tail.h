// A queue of bounded size that drops what does not fit.
#pragma once

#include "drivers/sim/queue_discipline.h"

namespace sluice::sim {

class DropTail final : public QueueDiscipline {
 public:
  DropTail(std::size_t limit, QueueObserver& observer) : limit_(limit), observer_(observer) {}  // limit: bytes

  void enqueue(Instant now, Packet packet) override;
  std::optional<Packet> dequeue(Instant now) override;
  [[nodiscard]] std::size_t bytes() const override { return fifo_.bytes(); }
  [[nodiscard]] std::size_t packets() const override { return fifo_.packets(); }

 private:
  std::size_t limit_;
  QueueObserver& observer_;
  Fifo fifo_;
};

}  // namespace sluice::sim
