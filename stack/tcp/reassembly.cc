#include "stack/tcp/reassembly.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice::tcp {

namespace {
constexpr std::size_t kRangeCost = 128;  // what a range and a block take besides the data, bytes, rounded up
constexpr std::size_t kBlockCost = 64;
}  // namespace

Reassembly::Inserted Reassembly::insert(Seq seq, buf::Buffer data, std::size_t max_bytes) {
  if (held_ == nullptr) held_ = std::make_unique<Held>();
  const Inserted inserted = held_->insert(seq, std::move(data), max_bytes);
  if (held_->ranges.empty() && held_->duplicate.empty()) clear();
  return inserted;
}

// A small payload goes into the block before it as far as there is room, or, as the first of its range, into a block of
// its size, so that it does not pin a large one.
void Reassembly::Held::append(Range& range, buf::Buffer data) {
  range.end += static_cast<std::uint32_t>(data.size());
  if (data.size() * 4 < data.capacity()) {
    data.trim_front(range.data.append_to_back(data.bytes()));
    if (data.empty()) return;
    if (range.data.empty()) {
      buf::Buffer exact = buf::Buffer::copy_of(data.bytes());
      if (exact) data = std::move(exact);
    }
  }
  range.memory += data.capacity() + kBlockCost;
  memory += data.capacity() + kBlockCost;
  range.data.push(std::move(data));
}

// Data that overlaps nothing, between two neighbours; what touches becomes one range. Returns where it is now.
Reassembly::Ranges::iterator Reassembly::Held::put(Ranges::iterator before, Ranges::iterator after, Seq seq,
                                                   buf::Buffer data) {
  auto place = before;
  if (before == ranges.end() || before->second.end != seq) {
    place = ranges.emplace_hint(after, seq, Range{seq, kRangeCost, {}});
    memory += kRangeCost;
  }
  Range& range = place->second;
  append(range, std::move(data));
  if (after != ranges.end() && after->first == range.end) {
    range.end = after->second.end;
    range.memory += after->second.memory - kRangeCost;
    memory -= kRangeCost;
    range.data.append(std::move(after->second.data));
    ranges.erase(after);
  }
  return place;
}

Reassembly::Inserted Reassembly::Held::insert(Seq seq, buf::Buffer data, std::size_t max_bytes) {
  Inserted result;
  const Seq first = seq;
  const auto skip = [&](const Range& held) {  // what `held` has of the front of the segment
    const std::uint32_t n = std::min(held.end - seq, static_cast<std::uint32_t>(data.size()));
    if (result.duplicate.empty()) result.duplicate = {seq, seq + n};
    data.trim_front(n);
    seq += n;
  };
  auto after = ranges.upper_bound(seq);
  auto before = after == ranges.begin() ? ranges.end() : std::prev(after);
  if (before != ranges.end() && before->second.end > seq) skip(before->second);
  while (!data.empty()) {
    const Seq end = seq + static_cast<std::uint32_t>(data.size());
    const bool overlaps = after != ranges.end() && after->first < end;
    const std::uint32_t fresh = overlaps ? after->first - seq : static_cast<std::uint32_t>(data.size());
    if (fresh > 0) {
      if (memory >= max_bytes) {
        result.outcome = Outcome::kFull;
        return result;
      }
      buf::Buffer part = overlaps ? buf::Buffer::copy_of(data.bytes().first(fresh)) : std::exchange(data, {});
      result.outcome = Outcome::kStored;
      before = put(before, after, seq, std::move(part));
      if (!overlaps) break;
      data.trim_front(fresh);
      seq += fresh;
    } else {
      before = after;
    }
    skip(before->second);
    after = std::next(before);
  }
  touch(first);
  return result;
}

Reassembly::Ranges::const_iterator Reassembly::Held::containing(Seq seq) const {
  const auto after = ranges.upper_bound(seq);
  if (after == ranges.begin()) return ranges.end();
  const auto place = std::prev(after);
  return seq < place->second.end ? place : ranges.end();
}

// The range of this number is the latest now.
void Reassembly::Held::touch(Seq seq) {
  const auto place = containing(seq);
  if (place == ranges.end()) return;
  std::array<Seq, wire::tcp::Options::kMaxSackBlocks> now{seq};
  std::size_t n = 1;
  for (std::size_t i = 0; i < recents && n < now.size(); ++i) {
    if (recent[i] < place->first || recent[i] >= place->second.end) now[n++] = recent[i];
  }
  recent = now;
  recents = n;
}

void Reassembly::report_duplicate(const SeqRange& duplicate) {
  if (duplicate.empty()) return;
  if (held_ == nullptr) held_ = std::make_unique<Held>();
  if (held_->duplicate.empty()) held_->duplicate = duplicate;
}

std::size_t Reassembly::report(std::span<wire::tcp::SackBlock> out) {
  if (held_ == nullptr || out.empty()) return 0;
  std::size_t n = 0;
  if (const SeqRange d = std::exchange(held_->duplicate, {}); !d.empty()) {
    out[n++] = {d.begin.value(), d.end.value()};
  }
  const std::size_t first = n;
  const auto add = [&](Ranges::const_iterator range) {
    const wire::tcp::SackBlock block{range->first.value(), range->second.end.value()};
    const bool there =
        std::find(out.begin() + static_cast<std::ptrdiff_t>(first), out.begin() + static_cast<std::ptrdiff_t>(n),
                  block) != out.begin() + static_cast<std::ptrdiff_t>(n);
    if (!there && n < out.size()) out[n++] = block;
  };
  for (std::size_t i = 0; i < held_->recents; ++i) {
    if (const auto range = held_->containing(held_->recent[i]); range != held_->ranges.end()) add(range);
  }
  for (auto range = held_->ranges.cbegin(); range != held_->ranges.cend() && n < out.size(); ++range) add(range);
  if (held_->ranges.empty()) clear();
  return n;
}

buf::Queue Reassembly::take(Seq rcv_nxt) {
  if (empty() || held_->ranges.begin()->first > rcv_nxt) return {};
  const auto first = held_->ranges.begin();
  buf::Queue data = std::move(first->second.data);
  held_->memory -= first->second.memory;
  const std::uint32_t old = rcv_nxt - first->first;
  held_->ranges.erase(first);
  if (held_->ranges.empty() && held_->duplicate.empty()) clear();
  data.discard(std::min<std::size_t>(old, data.bytes()));
  return data.empty() ? take(rcv_nxt) : std::move(data);
}

}  // namespace sluice::tcp
