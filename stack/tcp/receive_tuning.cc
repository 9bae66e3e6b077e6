#include "stack/tcp/receive_tuning.h"

#include <algorithm>
#include <utility>

namespace sluice::tcp {
namespace {

std::size_t portion(std::size_t bytes, Duration part, Duration whole) {  // 0 <= part <= whole
  const auto parts = static_cast<std::size_t>(part.to_micros());
  const auto all = static_cast<std::size_t>(whole.to_micros());
  return all == 0 ? bytes : bytes * parts / all;
}

}  // namespace

// Only an edge that has just moved will do: one offered before may be about to be reached.
void ReceiveTuning::on_offer(Instant now, Seq edge) {
  if (done() || edge == edge_) return;
  edge_ = edge;
  if (!marked_at_.is_never()) return;
  mark_ = edge;
  marked_at_ = now;
}

void ReceiveTuning::on_data(Instant now, Seq rcv_nxt) {
  if (marked_at_.is_never() || rcv_nxt < mark_) return;
  const Duration took = now - std::exchange(marked_at_, Instant::never());
  if (rtt_ == Duration() || took < rtt_) rtt_ = took;
}

// Two readings of a clock of 1 ms that differ by n are between n - 1 and n + 1 ms apart. Down at once; up slowly, since
// a sender that had nothing to send looks like a long path, but a path may really have become longer. Only the first
// segment with an echo: later ones are what the sender sent later.
void ReceiveTuning::on_echo(std::uint32_t echo, std::uint32_t now_ticks) {
  const auto elapsed = static_cast<std::int32_t>(now_ticks - echo);
  if (done() || echo == echo_ || echo == 0 || elapsed < 0) return;
  echo_ = echo;
  const Duration low = Duration::millis(std::max(elapsed - 1, 0));
  const Duration high = Duration::millis(std::int64_t{elapsed} + 1);
  path_ms_ = std::min(path_ms_, static_cast<std::uint32_t>(low.to_millis()));
  if (rtt_ == Duration() || rtt_ > high) {
    rtt_ = high;
  } else if (rtt_ < low) {
    rtt_ += (std::min(low, rtt_ * 2) - rtt_) / 8;
  }
}

void ReceiveTuning::on_taken(Instant now, std::size_t bytes, std::size_t device_queue) {
  if (done()) return;
  taken_ = to_32_bits(taken_ + bytes);
  if (since_ == Instant::past()) since_ = now;
  const Duration length = now - since_;
  if (rtt_ == Duration() || length < rtt_) return;
  round_trip_over(length, device_queue);
  since_ = now;
  taken_ = 0;
}

// In slow start each round trip brings twice as much as the one before, and a new window reaches the sender a round
// trip later: so four times what came. 2 t + 4 (t - best) gives that, and twice when nothing grows any more.
//
// An application that reads rarely takes what came in more than one round trip: only the share of one counts. Else a
// larger buffer would be filled and emptied in larger portions, and grow by that alone, on a short path beyond what
// the processor's cache holds.
void ReceiveTuning::round_trip_over(Duration length, std::size_t device_queue) {
  const std::uint32_t share = to_32_bits(portion(taken_, rtt_, length));
  if (share <= best_) return;
  const std::size_t wanted = 2 * std::size_t{share} + 4 * std::size_t{share - best_};
  best_ = share;
  std::size_t most = most_;
  if (device_queue != 0) {  // and what is on the path: as much of a round trip's bytes as that is of its time
    const Duration path = path_ms_ == kUnknown ? Duration() : std::min(Duration::millis(path_ms_), length);
    most = std::min(most, device_queue + portion(taken_, path, length));
  }
  buffer_ = std::max(buffer_, to_32_bits(std::min(wanted, most)));
}

}  // namespace sluice::tcp
