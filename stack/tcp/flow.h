// What the demultiplexer finds for a 4-tuple: a connection, a half-open one, or one in TIME-WAIT.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/rng.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"

namespace sluice::tcp {

struct FourTuple {
  ip::Endpoint local;
  ip::Endpoint peer;
  bool operator==(const FourTuple&) const = default;
};

// A 4-tuple as bytes, and what a keyed hash takes in behind it.
class TupleBytes {
 public:
  explicit TupleBytes(const FourTuple& tuple);
  void append(std::uint32_t value);
  [[nodiscard]] Bytes view() const { return Bytes(bytes_).first(size_); }

 private:
  std::array<std::uint8_t, 48> bytes_{};
  std::size_t size_ = 0;
};

enum class FlowKind : std::uint8_t { kConnection, kHalfOpen, kTimeWait };

// A node of the table; what it belongs to derives from it.
struct Flow {
  Flow(FlowKind k, const FourTuple& t) : kind(k), tuple(t) {}
  FlowKind kind;
  bool listed = false;     // in the table
  bool counted = false;    // at its local port, see ports.h
  bool has_key = false;    // RFC 2385; of connections and TIME-WAIT
  std::uint32_t hash = 0;  // of the tuple, while it is
  FourTuple tuple;
  Flow* next_in_bucket = nullptr;
};

// A hash table with chains and a key of its own, so that nobody outside can make chains long. When it is full it
// doubles, and moves to its new buckets a few chains with each insertion, so that none takes long.
class FlowTable {
 public:
  explicit FlowTable(Rng& rng);
  ~FlowTable();
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  [[nodiscard]] Flow* find(const FourTuple& tuple) const;
  void insert(Flow& flow);  // its tuple is not in the table
  void remove(Flow& flow);  // no-op when it is not in the table
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] std::uint32_t hash_of(const FourTuple& tuple) const;

  template <typename F>
  void for_each(F&& visit) const {
    for (const Buckets* part : {&buckets_, &old_}) {
      for (std::size_t i = 0; i < part->capacity; ++i) {
        for (Flow* f = part->chains[i]; f != nullptr;) {
          Flow* next = f->next_in_bucket;  // the visitor may remove f
          visit(*f);
          f = next;
        }
      }
    }
  }

 private:
  struct Buckets {
    Flow** chains = nullptr;
    std::size_t capacity = 0;  // a power of two, or 0
    [[nodiscard]] std::size_t index(std::uint32_t hash) const { return hash & (capacity - 1); }
  };

  [[nodiscard]] Flow*& chain(std::uint32_t hash) const;  // where a flow with this hash is, or belongs
  void grow();
  void move_some();

  SipKey key_{};
  Buckets buckets_;
  Buckets old_;            // while the table moves: the chains from moved_ on
  std::size_t moved_ = 0;  // chains of old_ that are empty now
  std::size_t count_ = 0;
};

}  // namespace sluice::tcp
