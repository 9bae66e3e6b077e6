// One direction of the link that all share: a queue, marking by its length, and the time a packet takes at the rate.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "drivers/sim/histogram.h"
#include "drivers/sim/queue_discipline.h"
#include "drivers/sim/scheduler.h"

namespace sluice::sim {

struct PacketCounts {
  std::uint64_t packets = 0, bytes = 0;  // that went through
  std::uint64_t dropped = 0;             // by the queue
  std::uint64_t marked = 0;              // CE
};

class Bottleneck final : private QueueObserver {
 public:
  struct Settings {
    std::uint64_t rate = 0;         // bit/s of IP packets; 0: no limit, no queue
    std::size_t ecn_threshold = 0;  // bytes; a packet that makes the queue longer is marked (RFC 8257 §3.1); 0: none
  };
  using MakeQueue = std::function<std::unique_ptr<QueueDiscipline>(QueueObserver&)>;
  using Deliver = std::function<void(Packet)>;

  Bottleneck(Scheduler& scheduler, const Settings& settings, const MakeQueue& make_queue, Deliver deliver);
  Bottleneck(const Bottleneck&) = delete;
  Bottleneck& operator=(const Bottleneck&) = delete;

  void accept(Packet packet);

  [[nodiscard]] const QueueDiscipline& queue() const { return *queue_; }
  [[nodiscard]] const Histogram& waits() const { return waits_; }  // of each packet, before its first bit is sent
  [[nodiscard]] const PacketCounts& total() const { return total_; }
  [[nodiscard]] PacketCounts of_pair(std::uint32_t pair) const;
  void forget();  // waits and counts so far

 private:
  void on_drop(const Packet& packet) override;
  void on_mark(const Packet& packet) override;
  PacketCounts& counts(std::uint32_t pair);
  void send_next();
  void on_sent();

  Scheduler& scheduler_;
  Settings settings_;
  std::unique_ptr<QueueDiscipline> queue_;
  Deliver deliver_;
  Timer sent_;
  std::optional<Packet> on_wire_;
  Histogram waits_;
  PacketCounts total_;
  std::vector<PacketCounts> pairs_;
};

}  // namespace sluice::sim
