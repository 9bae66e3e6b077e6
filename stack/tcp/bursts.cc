// In what pieces the stream goes out: how large a burst may be, the blocks in which the send queue is filled, and the
// user's records.
#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

namespace {
constexpr std::int64_t kShortPath = 512;  // us of round trip
}  // namespace

// What the device cuts at once, in whole segments. It could not sign them.
std::uint32_t Connection::largest_burst() const {
  if (has_key) return send_mss_;
  return std::max((route_.max_gso_bytes - header_bytes()) / send_mss_, 1u) * send_mss_;
}

// The largest super-segment, in whole segments.
std::uint32_t Connection::most_at_once() const {
  // Whoever cuts for us would leave the urgent pointer the same in each, and take the bit of CWR from all but the
  // first.
  const bool cwr = accurate_ecn() && (rare_->accurate_ecn->ace_next() & 2) != 0;
  if (rare_view().urgent_pointer.on() || cwr) return send_mss_;
  std::uint32_t most = largest_burst();
  if (pacer_.on()) most = std::min(most, pacer_.quantum(send_mss_));
  return tcp_.config.burst_sizing == Switch::kOn ? std::min(most, fitting_burst()) : most;
}

// A millisecond's worth: small bursts keep queues on the path short, large ones save work. On a short path the queues
// are short in time, whatever the size. Two bursts in a window at least, so that ACKs for one come while the other is
// on its way.
std::uint32_t Connection::fitting_burst() const {
  std::uint64_t bytes = rto_.has_sample() ? window_rate() / 1024 : 0;
  const std::int64_t halvings = min_rtt_.get().to_micros() / kShortPath;
  if (halvings < 32) bytes += route_.max_gso_bytes >> halvings;
  const std::uint64_t segments = std::max<std::uint64_t>(bytes / send_mss_, tcp_.config.least_burst);
  const std::uint32_t half = std::max(congestion_window() / send_mss_ / 2, 1u);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(segments, half)) * send_mss_;
}

// --- blocks of the send queue
// -----------------------------------------------------------------------------------------

std::uint32_t Connection::block_size() const {
  constexpr std::uint32_t kSmallWindow = 536;
  const std::uint32_t half = max_snd_wnd_ > kSmallWindow ? max_snd_wnd_ / 2 : std::max(max_snd_wnd_, send_mss_);
  return std::max(std::min(half, largest_burst()) / send_mss_, 1u) * send_mss_;
}

// How many bytes of the user's may be copied to the end of the queue now. A block that is full is sent as far as
// possible; what is left of it is filled up again, and only then another begins, if the buffer has room.
std::size_t Connection::room_to_fill() {
  if (tcp_.config.send_blocks == Switch::kOff) return send_room();
  const auto filled = [this] { return data_end() - min(max(block_begin_, snd_nxt_), data_end()); };
  const std::uint32_t size = block_size();
  if (filled() >= size && may_send_data()) {
    push_ = data_end() - pushed_ > max_snd_wnd_ / 2;  // so much the peer may hold back, not more
    if (push_) pushed_ = data_end();
    output();
  }
  if (filled() > 0 && filled() < size) return size - filled();
  if (send_room() == 0) return 0;
  if (filled() > 0) end_segment_here();
  block_begin_ = data_end();
  return size;
}

std::size_t Connection::send_buffer_used() const {
  const std::size_t bytes = send_queue_.bytes();
  if (tcp_.config.count_memory == Switch::kOff || bytes == 0) return bytes;
  constexpr std::size_t kEach = 1280;
  const std::size_t transmissions = out_ != nullptr ? out_->board.records() : 0;
  const std::size_t blocks = send_marks_ != nullptr ? send_marks_->ends.count_after(snd_nxt_) : 0;
  return bytes + kEach * (transmissions + blocks + (unsent() > 0 ? 1 : 0));
}

void Connection::tune_send_buffer() {
  if (tcp_.config.count_memory == Switch::kOff) send_tuning_.on_cwnd(congestion_window());
}

// After sending what an ACK allowed.
void Connection::tell_of_room() {
  if (tcp_.config.count_memory == Switch::kOff) {
    const bool limited = notsent_limit(*options_, tcp_.config) != ConnectionOptions::kUnlimited;
    if (limited && user_ != nullptr && writable()) notify();
    return;
  }
  if (!refused_) return;
  if (in_flight() < congestion_window()) send_tuning_.on_full_buffer(cc_->cwnd() / send_mss_, send_mss_);
  if (user_ == nullptr || !writable()) return;
  refused_ = false;
  notify();
}

// What is queued from now on does not share a segment with what is queued already.
void Connection::end_segment_here() {
  send_marks().ends.add(data_end());
}

// Whether the segment that ends here carries PSH because the user has pushed (RFC9293-MUST-61).
bool Connection::ends_push(Seq end) const {
  if (push_ && end == data_end()) return true;
  if (until_boundary(end - 1) == 1) return true;
  return end <= snd_max_ && out_ != nullptr && out_->board.pushed_at(end);
}

std::uint32_t Connection::until_boundary(Seq from) const {
  return send_marks_ != nullptr ? send_marks_->ends.distance(from) : UINT32_MAX;
}

}  // namespace sluice::tcp
