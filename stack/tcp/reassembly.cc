#include "stack/tcp/reassembly.h"

#include <algorithm>
#include <utility>

namespace sluice::tcp {

void Reassembly::clear() {
  segments_.clear();
  heap_bytes_ = 0;
}

// Stores data that overlaps nothing, before the segment at `index`. A small payload is appended to the neighbour before
// it when they touch and there is room, or copied into a block of its size, so that it does not pin a large one.
void Reassembly::put(std::size_t index, Seq seq, buf::Buffer data) {
  if (index > 0 && segments_[index - 1].end() == seq) {
    buf::Buffer& before = segments_[index - 1].data;
    if (before.append(data.bytes())) return;
  }
  if (data.size() * 4 < data.capacity()) {
    buf::Buffer small = buf::Buffer::copy_of(data.bytes());
    if (small) data = std::move(small);
  }
  heap_bytes_ += data.capacity();
  segments_.insert(segments_.begin() + static_cast<std::ptrdiff_t>(index), Segment{seq, std::move(data)});
}

Reassembly::Outcome Reassembly::insert(Seq seq, buf::Buffer data, std::size_t max_segments, std::size_t max_bytes) {
  auto at =
      std::upper_bound(segments_.begin(), segments_.end(), seq, [](Seq s, const Segment& g) { return s < g.begin; });
  auto index = static_cast<std::size_t>(at - segments_.begin());
  if (index > 0 && segments_[index - 1].end() > seq) {
    const std::uint32_t held = std::min(segments_[index - 1].end() - seq, static_cast<std::uint32_t>(data.size()));
    data.trim_front(held);
    seq += held;
  }
  Outcome outcome = Outcome::kDuplicate;
  while (!data.empty()) {
    const Seq end = seq + static_cast<std::uint32_t>(data.size());
    const bool overlaps = index < segments_.size() && segments_[index].begin < end;
    const std::uint32_t fresh = overlaps ? segments_[index].begin - seq : static_cast<std::uint32_t>(data.size());
    if (fresh > 0) {
      if (segments_.size() >= max_segments || heap_bytes_ >= max_bytes) return Outcome::kFull;
      buf::Buffer part = overlaps ? buf::Buffer::copy_of(data.bytes().first(fresh)) : std::exchange(data, {});
      if (!part) return Outcome::kFull;
      const std::size_t before = segments_.size();
      put(index, seq, std::move(part));
      index += segments_.size() - before;
      outcome = Outcome::kStored;
    }
    if (!overlaps) break;
    const std::uint32_t skip = std::min(segments_[index].end() - seq, static_cast<std::uint32_t>(data.size()));
    data.trim_front(skip);
    seq += skip;
    ++index;
  }
  return outcome;
}

buf::Buffer Reassembly::take(Seq rcv_nxt) {
  if (segments_.empty() || segments_.front().begin > rcv_nxt) return {};
  Segment first = std::move(segments_.front());
  segments_.erase(segments_.begin());
  heap_bytes_ -= first.data.capacity();
  const std::uint32_t old = std::min(rcv_nxt - first.begin, static_cast<std::uint32_t>(first.data.size()));
  first.data.trim_front(old);
  if (first.data.empty()) return take(rcv_nxt);
  return std::move(first.data);
}

}  // namespace sluice::tcp
