// The two applications of a flow: one connects and sends what its description says, the other accepts, reads and
// compares.
#pragma once

#include "drivers/sim/host.h"
#include "drivers/sim/pattern.h"
#include "sluice/simulation.hpp"

namespace sluice::sim {

class Sender final : public Application {
 public:
  Sender(const Flow& flow, const Pattern& pattern, const wire::Endpoint& peer)
      : flow_(flow), pattern_(pattern), peer_(peer) {}

  Instant act(Stack& stack, Instant now) override;
  // As of now, or of the moment when the connection was closed.
  [[nodiscard]] tcp::Info info(Stack& stack) const;
  [[nodiscard]] Errno error() const { return error_; }
  [[nodiscard]] bool over() const { return over_; }  // all sent and acknowledged, or failed

 private:
  [[nodiscard]] bool connect(Stack& stack);
  [[nodiscard]] std::uint64_t wanted(Instant now) const;  // bytes of the stream that the application has written by now
  [[nodiscard]] Instant next_write(Instant now) const;
  void send(Stack& stack, std::uint64_t up_to);
  void finish(Stack& stack, Errno error);

  const Flow& flow_;
  const Pattern& pattern_;
  wire::Endpoint peer_;
  socket::Handle handle_ = -1;
  std::uint64_t sent_ = 0;
  tcp::Info last_;
  Errno error_ = Errno::kOk;
  bool over_ = false;
};

class Receiver final : public Application {
 public:
  Receiver(const Pattern& pattern, std::uint16_t port) : pattern_(pattern), port_(port) {}

  Instant act(Stack& stack, Instant now) override;
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] Instant last() const { return last_; }  // when the latest of them was read
  [[nodiscard]] bool intact() const { return intact_; }
  [[nodiscard]] Errno error() const { return error_; }

 private:
  void listen(Stack& stack);
  void receive(Stack& stack, Instant now);

  const Pattern& pattern_;
  std::uint16_t port_;
  socket::Handle listener_ = -1, handle_ = -1;
  std::uint64_t bytes_ = 0;
  Instant last_ = Instant::past();
  Errno error_ = Errno::kOk;
  bool intact_ = true;
  bool end_ = false;
};

}  // namespace sluice::sim
