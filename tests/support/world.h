// Whole stacks in virtual time: hosts on an in-memory Ethernet, each behind an impairment of its own. The clock jumps
// from one event to the next. Everything that passes is hashed: the same seed gives the same trace.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "drivers/impair.h"
#include "drivers/memory_link.h"
#include "stack/stack.h"

namespace sluice::test {

// Counts and hashes the frames that pass.
class Tap final : public link::NetDevice {
 public:
  explicit Tap(link::NetDevice& inner) : inner_(inner) {}
  [[nodiscard]] const link::Capabilities& capabilities() const override { return inner_.capabilities(); }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    return inner_.rx(now, pool, out);
  }
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] Instant next_deadline() const override { return inner_.next_deadline(); }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  std::function<bool(std::uint64_t number)> drop;  // true: the frame of this number, from 0, is lost

 private:
  link::NetDevice& inner_;
  std::uint64_t hash_ = 0;
  std::uint64_t frames_ = 0;
};

struct Host {
  std::unique_ptr<drivers::Impair> impair;
  std::unique_ptr<Tap> tap;
  std::unique_ptr<Stack> stack;
  wire::Address address;
  ip::InterfaceId interface = 0;
  socket::Sockets& sockets() { return stack->sockets(); }
};

class World {
 public:
  explicit World(std::uint64_t seed, std::uint32_t mtu = 1500) : seed_(seed), link_(mtu, 65536) {}

  // The n-th host is 10.0.0.n. What it sends passes `impairment`.
  Host& add_host(const drivers::Impairment& impairment = {}, const StackConfig& config = {});

  // Runs until `done` or the time is over; true when done.
  bool run(Duration longest, const std::function<bool()>& done);
  void run(Duration time) {
    (void)run(time, [] { return false; });
  }
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] std::uint64_t trace() const;  // of all that was sent

 private:
  bool step(Instant end);
  std::uint64_t seed_;
  drivers::MemoryLink link_;
  std::vector<std::unique_ptr<Host>> hosts_;
  Instant now_ = Instant::from_nanos(1'000'000'000'000);
};

// Sends and receives a known byte sequence on a stream socket, as fast as it can.
class Pattern {
 public:
  Pattern(Host& host, socket::Handle handle, std::uint64_t seed) : host_(host), handle_(handle), seed_(seed) {}

  void send_up_to(std::uint64_t total);  // as much as the queue takes, once it is writable
  void receive();                        // all there is; compares
  void receive_at_most(std::size_t bytes);
  [[nodiscard]] std::uint64_t sent() const { return sent_; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] bool wrong() const { return wrong_; }
  [[nodiscard]] bool at_end() const { return end_; }
  [[nodiscard]] Errno error() const { return error_; }

 private:
  [[nodiscard]] std::uint8_t byte_at(std::uint64_t i) const;
  Host& host_;
  socket::Handle handle_;
  std::uint64_t seed_;
  std::vector<std::uint8_t> chunk_;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  bool wrong_ = false;
  bool end_ = false;
  Errno error_ = Errno::kOk;
};

}  // namespace sluice::test
