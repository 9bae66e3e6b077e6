// The queue in front of a bottleneck: what it keeps, what it drops or marks, and which packet goes next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "stack/base/ring.h"
#include "stack/base/time.h"
#include "stack/buf/buffer.h"

namespace sluice::sim {

struct Packet {
  buf::Buffer buffer{};    // a bare IP packet
  std::uint32_t pair = 0;  // of the hosts it travels between (dumbbell.h)
  Instant queued{};

  [[nodiscard]] std::size_t size() const { return buffer.size(); }
};

// Told about packets that do not get through unharmed.
class QueueObserver {
 public:
  virtual ~QueueObserver() = default;
  virtual void on_drop(const Packet& packet) = 0;
  virtual void on_mark(const Packet& packet) = 0;
};

class QueueDiscipline {
 public:
  virtual ~QueueDiscipline() = default;

  // Takes the packet, or drops it, or takes it and drops another.
  virtual void enqueue(Instant now, Packet packet) = 0;
  // The packet to be sent now; empty when there is none.
  virtual std::optional<Packet> dequeue(Instant now) = 0;
  [[nodiscard]] virtual std::size_t bytes() const = 0;
  [[nodiscard]] virtual std::size_t packets() const = 0;
};

// First in, first out, with a count of bytes.
class Fifo {
 public:
  void push(Packet packet) {
    bytes_ += packet.size();
    packets_.push(std::move(packet));
  }
  std::optional<Packet> pop() {
    if (packets_.empty()) return {};
    Packet packet = packets_.pop();
    bytes_ -= packet.size();
    return packet;
  }
  [[nodiscard]] bool empty() const { return packets_.empty(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t packets() const { return packets_.size(); }

 private:
  Ring<Packet> packets_;
  std::size_t bytes_ = 0;
};

}  // namespace sluice::sim
