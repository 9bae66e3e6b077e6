// Segments that arrived beyond a hole: RFC 9293 §3.10.7.4 (RFC9293-SHLD-31). Ordered, bounded in number and in memory.
// Rule for overlaps: the bytes that arrived first stay, so delivered data never depends on a later copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "stack/buf/buffer.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

class Reassembly {
 public:
  enum class Outcome : std::uint8_t { kStored, kDuplicate, kFull };

  // Keeps the part of the segment not held yet. `max_segments` and `max_bytes` bound what is held after the call.
  Outcome insert(Seq seq, buf::Buffer data, std::size_t max_segments, std::size_t max_bytes);

  // The data that begins at rcv_nxt, and is removed; an empty buffer when the hole is still there.
  buf::Buffer take(Seq rcv_nxt);

  [[nodiscard]] bool empty() const { return held_ == nullptr; }
  [[nodiscard]] std::size_t segments() const { return held_ != nullptr ? held_->segments.size() : 0; }
  [[nodiscard]] std::size_t heap_bytes() const { return held_ != nullptr ? held_->heap_bytes : 0; }  // of the blocks
  void clear() { held_.reset(); }

 private:
  struct Segment {
    Seq begin;
    buf::Buffer data;
    [[nodiscard]] Seq end() const { return begin + static_cast<std::uint32_t>(data.size()); }
  };

  struct Held {
    std::vector<Segment> segments;  // in order, without overlap
    std::size_t heap_bytes = 0;

    void put(std::size_t index, Seq seq, buf::Buffer data);
    Outcome insert(Seq seq, buf::Buffer data, std::size_t max_segments, std::size_t max_bytes);
  };

  std::unique_ptr<Held> held_;  // null while nothing is held
};

}  // namespace sluice::tcp
