#include "drivers/capture.h"

#include <algorithm>
#include <utility>

#include "drivers/event_text.h"
#include "stack/base/byte_order.h"
#include "stack/wire/checksum.h"

namespace sluice::drivers {

namespace {
constexpr std::size_t kMostNotes = 64;            // at one frame
constexpr std::size_t kMostWindows = 4096;        // connections whose window is known; then they are told again
constexpr std::size_t kMostHeldBytes = 4u << 20;  // more are written without waiting for what may be said of them
}  // namespace

Capture::~Capture() {
  settle();
}

EventSink* Capture::events(EventSink* next) {
  if (!writer_->keeps_comments()) return next;
  next_ = next;
  return this;
}

void Capture::record(Instant now, const buf::TxFrame& frame, std::size_t wire_length, Direction direction) {
  const buf::Offload& o = frame.offload;
  whole_.resize(frame.size());
  frame.copy_to(whole_);
  const std::size_t field = std::size_t{o.checksum_start} + o.checksum_offset;
  if (o.checksum == buf::ChecksumState::kPartial && field + 2 <= whole_.size()) {
    const std::uint16_t sum = wire::checksum(Bytes(whole_).subspan(o.checksum_start));
    store_be16(whole_.data() + field, sum == 0 ? 0xffff : sum);
  }
  const auto length = static_cast<std::uint32_t>(wire_length);
  std::vector<std::string> comments;
  if (direction == Direction::kOut) std::swap(comments, notes_);
  const bool waits = writer_->keeps_comments() && (direction == Direction::kIn || !held_.empty());
  if (!waits) return writer_->write({now + offset_, whole_, length, direction, comments});
  held_bytes_ += whole_.size();
  held_.push_back({now + offset_, whole_, length, direction,
                   direction == Direction::kIn ? frame.header.data() : nullptr, std::move(comments)});
  if (held_bytes_ > kMostHeldBytes) settle();
}

// The stack has dealt with all that was received.
void Capture::settle() {
  const auto last = std::find_if(held_.rbegin(), held_.rend(), [](const Held& h) { return h.where != nullptr; });
  if (last != held_.rend()) {
    last->comments.insert(last->comments.end(), notes_.begin(), notes_.end());
    notes_.clear();
  }
  for (const Held& h : held_) writer_->write({h.at, h.bytes, h.wire_length, h.direction, h.comments});
  if (!held_.empty()) writer_->flush();
  held_.clear();
  held_bytes_ = 0;
}

std::size_t Capture::rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) {
  settle();
  const std::size_t n = inner_.rx(now, pool, out);
  for (const buf::RxFrame& f : out.first(n))
    record(now, {f.buffer.bytes(), {}, f.offload}, f.wire_length, Direction::kIn);
  if (n > 0 && held_.empty()) writer_->flush();
  return n;
}

std::size_t Capture::tx(Instant now, std::span<const buf::TxFrame> frames) {
  const std::size_t n = inner_.tx(now, frames);
  for (const buf::TxFrame& f : frames.first(n)) record(now, f, f.size(), Direction::kOut);
  if (held_.empty()) writer_->flush();
  return n;
}

// What is held goes to the file before anybody sleeps: the stack asks once more.
Instant Capture::next_deadline() const {
  return held_.empty() ? inner_.next_deadline() : Instant::past();
}

// A window that is told with every ACK is news when it has changed.
bool Capture::is_news(const Event& event) {
  if (event.kind != EventKind::kTcpCwnd) return true;
  if (windows_.size() >= kMostWindows) windows_.clear();
  Window& known = windows_[event.flow];
  const Window told{event.a, event.b};
  const bool same = known.cwnd == told.cwnd && known.ssthresh == told.ssthresh;
  known = told;
  return !same;
}

Capture::Held* Capture::received_at(const std::uint8_t* place) {
  const auto found = std::find_if(held_.begin(), held_.end(), [&](const Held& h) {
    return h.where != nullptr && place >= h.where && place < h.where + h.bytes.size();
  });
  return found != held_.end() ? &*found : nullptr;
}

void Capture::on_event(const Event& event) {
  if (next_ != nullptr) next_->on_event(event);
  if (!is_news(event)) return;
  std::string text = text_of(event);
  if (text.empty()) return;
  Held* frame = nullptr;
  if (event.kind == EventKind::kDrop) frame = received_at(event.bytes.empty() ? event.arriving : event.bytes.data());
  if (frame != nullptr) {
    frame->comments.push_back(std::move(text));
  } else if (notes_.size() < kMostNotes) {
    notes_.push_back(std::move(text));
  }
}

}  // namespace sluice::drivers
