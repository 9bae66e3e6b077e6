// The simulated network: pairs of hosts that share one bottleneck in each direction.
//
//   sender 0 ─┐                                        ┌─ delay 0 ── receiver 0
//   sender 1 ─┼── queue, rate ── loss, jitter, order ──┼─ delay 1 ── receiver 1
//      ...   ─┘                                        └─   ...
//
// and the same from right to left. Hosts reach the queue at once and with any rate; behind it each pair has its own
// delay, so that round trips can differ. Packets are bare IP.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "drivers/faults.h"
#include "drivers/sim/bottleneck.h"
#include "stack/link/netdev.h"

namespace sluice::sim {

class Dumbbell {
 public:
  struct Direction {
    Bottleneck::Settings link{};
    drivers::Faults faults{};
    Bottleneck::MakeQueue make_queue;
  };

  // The end of one host. What arrives has its transport checksum vouched for: nothing here turns bits over.
  class Port final : public link::NetDevice {
   public:
    [[nodiscard]] const link::Capabilities& capabilities() const override { return network_.capabilities_; }
    std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
    std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
    [[nodiscard]] Instant next_deadline() const override {
      return arrivals_.empty() ? Instant::never() : arrivals_.front().due;
    }

    // Armed by the time when rx() has something.
    void set_alarm(Timer& alarm) { alarm_ = &alarm; }
    // Asked about each packet that is sent, before the queue: true loses it.
    void set_filter(std::function<bool(Bytes packet)> loses) { loses_ = std::move(loses); }
    [[nodiscard]] std::uint64_t lost() const { return lost_; }  // on the way from here, not by the queue

   private:
    friend class Dumbbell;
    enum class Side : std::uint8_t { kLeft, kRight };
    struct Arrival {
      Instant due;
      buf::Buffer packet;
    };
    Port(Dumbbell& network, std::uint32_t pair, Side side, Duration delay)
        : network_(network), pair_(pair), side_(side), delay_(delay) {}
    void arrive(Instant due, buf::Buffer packet);

    Dumbbell& network_;
    std::uint32_t pair_;
    Side side_;
    Duration delay_;                // of what comes here, from the bottleneck on
    std::deque<Arrival> arrivals_;  // in order of due
    Timer* alarm_ = nullptr;
    std::function<bool(Bytes)> loses_;
    std::uint64_t lost_ = 0;
  };

  struct Pair {
    std::unique_ptr<Port> left, right;
  };

  Dumbbell(Scheduler& scheduler, const Direction& to_right, const Direction& to_left, std::uint32_t mtu,
           std::uint64_t seed);
  Dumbbell(const Dumbbell&) = delete;
  Dumbbell& operator=(const Dumbbell&) = delete;

  // Lives as long as the network.
  Pair& add_pair(Duration round_trip);

  [[nodiscard]] Bottleneck& to_right() { return right_.bottleneck; }
  [[nodiscard]] Bottleneck& to_left() { return left_.bottleneck; }

 private:
  struct Way {
    Way(Scheduler& scheduler, const Direction& direction, Rng& rng, Bottleneck::Deliver deliver)
        : faults(direction.faults),
          model(faults, rng),
          bottleneck(scheduler, direction.link, direction.make_queue, std::move(deliver)) {}
    drivers::Faults faults;
    drivers::FaultModel model;
    Bottleneck bottleneck;
  };
  void pass(Way& way, Port& from, Port& to, Packet packet);

  Scheduler& scheduler_;
  link::Capabilities capabilities_;
  Rng rng_;
  buf::Pool pool_;  // of the packets on their way; the receiving stack takes them over as they are
  std::vector<std::unique_ptr<Pair>> pairs_;
  Way right_, left_;
};

}  // namespace sluice::sim
