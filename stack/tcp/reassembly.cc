#include "stack/tcp/reassembly.h"

#include <algorithm>
#include <utility>

namespace sluice::tcp {

// Stores data that overlaps nothing, before the segment at `index`. A small payload is appended to the neighbour before
// it when they touch and there is room, or copied into a block of its size, so that it does not pin a large one.
void Reassembly::Held::put(std::size_t index, Seq seq, buf::Buffer data) {
  if (index > 0 && segments[index - 1].end() == seq) {
    buf::Buffer& before = segments[index - 1].data;
    if (before.append(data.bytes())) return;
  }
  if (data.size() * 4 < data.capacity()) {
    buf::Buffer small = buf::Buffer::copy_of(data.bytes());
    if (small) data = std::move(small);
  }
  heap_bytes += data.capacity();
  segments.insert(segments.begin() + static_cast<std::ptrdiff_t>(index), Segment{seq, std::move(data)});
}

Reassembly::Outcome Reassembly::insert(Seq seq, buf::Buffer data, std::size_t max_segments, std::size_t max_bytes) {
  if (held_ == nullptr) held_ = std::make_unique<Held>();
  const Outcome outcome = held_->insert(seq, std::move(data), max_segments, max_bytes);
  if (held_->segments.empty()) clear();
  return outcome;
}

Reassembly::Outcome Reassembly::Held::insert(Seq seq, buf::Buffer data, std::size_t max_segments,
                                             std::size_t max_bytes) {
  auto at =
      std::upper_bound(segments.begin(), segments.end(), seq, [](Seq s, const Segment& g) { return s < g.begin; });
  auto index = static_cast<std::size_t>(at - segments.begin());
  if (index > 0 && segments[index - 1].end() > seq) {
    const std::uint32_t held = std::min(segments[index - 1].end() - seq, static_cast<std::uint32_t>(data.size()));
    data.trim_front(held);
    seq += held;
  }
  Outcome outcome = Outcome::kDuplicate;
  while (!data.empty()) {
    const Seq end = seq + static_cast<std::uint32_t>(data.size());
    const bool overlaps = index < segments.size() && segments[index].begin < end;
    const std::uint32_t fresh = overlaps ? segments[index].begin - seq : static_cast<std::uint32_t>(data.size());
    if (fresh > 0) {
      if (segments.size() >= max_segments || heap_bytes >= max_bytes) return Outcome::kFull;
      buf::Buffer part = overlaps ? buf::Buffer::copy_of(data.bytes().first(fresh)) : std::exchange(data, {});
      if (!part) return Outcome::kFull;
      const std::size_t before = segments.size();
      put(index, seq, std::move(part));
      index += segments.size() - before;
      outcome = Outcome::kStored;
    }
    if (!overlaps) break;
    const std::uint32_t skip = std::min(segments[index].end() - seq, static_cast<std::uint32_t>(data.size()));
    data.trim_front(skip);
    seq += skip;
    ++index;
  }
  return outcome;
}

buf::Buffer Reassembly::take(Seq rcv_nxt) {
  if (held_ == nullptr || held_->segments.front().begin > rcv_nxt) return {};
  Segment first = std::move(held_->segments.front());
  held_->segments.erase(held_->segments.begin());
  held_->heap_bytes -= first.data.capacity();
  if (held_->segments.empty()) clear();
  const std::uint32_t old = std::min(rcv_nxt - first.begin, static_cast<std::uint32_t>(first.data.size()));
  first.data.trim_front(old);
  if (first.data.empty()) return take(rcv_nxt);
  return std::move(first.data);
}

}  // namespace sluice::tcp
