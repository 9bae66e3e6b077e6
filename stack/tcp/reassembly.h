// Segments that arrived beyond a hole: RFC 9293 §3.10.7.4 (RFC9293-SHLD-31), and what the peer is told about them:
// RFC 2018 and RFC 2883. What touches is one range, and a filled hole gives up its range in one piece; so the cost of a
// segment is the logarithm of the number of holes, however much is held. Bounded in memory.
// Rule for overlaps: the bytes that arrived first stay, so delivered data never depends on a later copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "stack/buf/buffer.h"
#include "stack/tcp/seq.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

class Reassembly {
 public:
  enum class Outcome : std::uint8_t { kStored, kDuplicate, kFull };

  struct SeqRange {
    Seq begin;
    Seq end;
    [[nodiscard]] bool empty() const { return begin == end; }
  };
  struct Inserted {
    Outcome outcome = Outcome::kDuplicate;
    SeqRange duplicate{};  // the first part of the segment that was held already
  };

  // Keeps the part of the segment not held yet. `max_bytes` bounds what is held, overhead included, but for the last
  // segment. What is held stays until it is taken: the peer may have been told (RFC2018-17).
  Inserted insert(Seq seq, buf::Buffer data, std::size_t max_bytes);

  // The data that begins at rcv_nxt, up to the next hole, and is removed; empty when the hole is still there.
  buf::Queue take(Seq rcv_nxt);

  // To be reported once, with the next ACK (RFC2883-01).
  void report_duplicate(const SeqRange& duplicate);
  // The blocks for an ACK, as many as there are and `out` has room for (RFC2018-07); returns how many. A duplicate
  // comes first; then the range of the latest segment (RFC2018-06, RFC2883-02), then those reported before
  // (RFC2018-08).
  std::size_t report(std::span<wire::tcp::SackBlock> out);
  [[nodiscard]] bool something_to_report() const { return held_ != nullptr; }

  [[nodiscard]] bool empty() const { return ranges() == 0; }
  [[nodiscard]] std::size_t ranges() const { return held_ != nullptr ? held_->ranges.size() : 0; }
  [[nodiscard]] std::size_t memory() const { return held_ != nullptr ? held_->memory : 0; }  // bytes, with overhead
  void clear() { held_.reset(); }

 private:
  struct Range {
    Seq end;
    std::size_t memory = 0;
    buf::Queue data;
  };
  struct Earlier {
    bool operator()(Seq a, Seq b) const { return a < b; }
  };
  using Ranges = std::map<Seq, Range, Earlier>;  // by their first number, without overlap, never touching

  struct Held {
    Ranges ranges;
    std::size_t memory = 0;
    SeqRange duplicate{};  // not yet reported
    std::array<Seq, wire::tcp::Options::kMaxSackBlocks>
        recent{};  // a number in each of the latest ranges, latest first
    std::size_t recents = 0;

    Inserted insert(Seq seq, buf::Buffer data, std::size_t max_bytes);
    Ranges::iterator put(Ranges::iterator before, Ranges::iterator after, Seq seq, buf::Buffer data);
    void append(Range& range, buf::Buffer data);
    [[nodiscard]] Ranges::const_iterator containing(Seq seq) const;
    void touch(Seq seq);
  };

  std::unique_ptr<Held> held_;  // null while there is nothing to hold and nothing to say
};

}  // namespace sluice::tcp
