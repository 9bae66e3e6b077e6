// Two stacks in virtual time, joined by a cable that allocates nothing once it is built, so that whatever is allocated
// while they talk was allocated by them.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "stack/stack.h"

namespace sluice::scale_test {

constexpr std::size_t kCableFrames = 2048;  // under way in one direction

// One end: bare IP packets. A frame that finds the cable full is left to the sender.
class CableEnd final : public link::NetDevice {
 public:
  CableEnd() : slots_(kCableFrames) { capabilities_.medium = link::Medium::kIp; }
  void join(CableEnd& other) { other_ = &other; }

  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;
  [[nodiscard]] Instant next_deadline() const override { return count_ > 0 ? Instant::past() : Instant::never(); }

 private:
  struct Slot {
    std::size_t size = 0;
    std::array<std::uint8_t, 1500> bytes;
  };
  link::Capabilities capabilities_;
  std::vector<Slot> slots_;  // what has arrived here, in a ring
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  CableEnd* other_ = nullptr;
};

struct Side {
  CableEnd device;
  std::optional<Stack> stack;
  wire::Address address;
  socket::Sockets& sockets() { return stack->sockets(); }

  // Handles of new sockets; a failed call fails the test.
  socket::Handle open(socket::Type type);
  socket::Handle listen(std::uint16_t port);
  socket::Handle connect(const Side& peer, std::uint16_t port);
  socket::Handle accept(socket::Handle listener);  // -1: none waits

  // How many bytes were taken, or given; 0 when that is none now.
  std::size_t send(socket::Handle handle, Bytes data, const ip::Endpoint* destination = nullptr);
  std::size_t receive(socket::Handle handle, MutableBytes room, ip::Endpoint* source = nullptr);

  [[nodiscard]] std::size_t count(tcp::State state);  // of TCP's flows
};

class TwoStacks : public testing::Test {
 protected:
  static constexpr std::uint16_t kPort = 80;

  explicit TwoStacks(const tcp::TcpConfig& config = {});
  ~TwoStacks() override;

  void settle();                 // until there is nothing more to do at this time
  void pass(Duration duration);  // with all the timers on the way
  struct Pair {
    socket::Handle client = -1;
    socket::Handle server = -1;
  };
  Pair connected(socket::Handle listener);

  Side client_, server_;
  Instant now_ = Instant::from_nanos(1'000'000'000'000);
};

}  // namespace sluice::scale_test
