// How large the receive buffer, and with it the offered window, should be: dynamic right-sizing (M. Fisk, W. Feng:
// Dynamic Right-Sizing in TCP, 2001). What the application takes in one round trip is what the path delivers; a window
// of twice that lets the sender grow, and more is offered while each round trip brings more than the one before.
// The buffer is a bound and no allocation: a connection that waits, or whose application reads at once, uses little.
// Knows neither the clock nor the connection.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stack/base/time.h"
#include "stack/tcp/options.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

class ReceiveTuning {
 public:
  // A range of one value never changes, and nothing is measured.
  explicit ReceiveTuning(const BufferRange& range) : buffer_(to_32_bits(range.first)), most_(to_32_bits(range.most)) {}

  // The round trip of the receiving side. Two ways give an upper bound of it; the lower one counts.
  // First: a window that moves to `edge` at `now` is full one round trip later at the earliest.
  void on_offer(Instant now, Seq edge);
  void on_data(Instant now, Seq rcv_nxt);
  // Second: a data segment echoes the timestamp `echo`. The clock has ticks of one millisecond (RFC7323-23).
  void on_echo(std::uint32_t echo, std::uint32_t now_ticks);

  // The application has taken `bytes`. `device_queue` is what the device holds of frames not yet read, in bytes; 0:
  // more than any window. Beyond that a window may only cover what is on the way, or the device would drop.
  void on_taken(Instant now, std::size_t bytes, std::size_t device_queue);

  [[nodiscard]] std::size_t buffer() const { return buffer_; }  // bytes; grows, and never shrinks
  [[nodiscard]] Duration rtt() const { return rtt_; }           // zero: not known

 private:
  [[nodiscard]] bool done() const { return buffer_ >= most_; }
  static constexpr std::uint32_t kUnknown = UINT32_MAX;
  void round_trip_over(Duration length, std::size_t device_queue);

  // Every connection has this: sizes of 32 bits, which a window cannot exceed, and the members stand by size.
  Instant since_ = Instant::past();
  Instant marked_at_ = Instant::never();  // when the window being timed was offered; never(): none is
  Duration rtt_;
  std::uint32_t buffer_;
  std::uint32_t most_;
  std::uint32_t taken_ = 0;           // in the present round trip
  std::uint32_t best_ = 0;            // the most that was taken in one
  std::uint32_t path_ms_ = kUnknown;  // shortest round trip by the timestamps, rounded down: without the queues
  Seq mark_;                          // the edge of the window being timed
  Seq edge_;                          // offered last
  std::uint32_t echo_ = 0;
};

}  // namespace sluice::tcp
