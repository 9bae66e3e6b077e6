// What the demultiplexer finds for a 4-tuple: a connection, a half-open one, or one in TIME-WAIT.
#pragma once

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

enum class FlowKind : std::uint8_t { kConnection, kHalfOpen, kTimeWait };

// A node of the table; what it belongs to derives from it.
struct Flow {
  Flow(FlowKind k, const FourTuple& t) : kind(k), tuple(t) {}
  FlowKind kind;
  bool listed = false;  // in the table
  FourTuple tuple;
  Flow* next_in_bucket = nullptr;
};

// A hash table with chains and a key of its own, so that nobody outside can make chains long. It doubles when it is
// full.
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

  template <typename F>
  void for_each(F&& visit) const {
    for (std::size_t i = 0; i < capacity_; ++i) {
      for (Flow* f = buckets_[i]; f != nullptr;) {
        Flow* next = f->next_in_bucket;  // the visitor may remove f
        visit(*f);
        f = next;
      }
    }
  }

 private:
  [[nodiscard]] std::size_t bucket(const FourTuple& tuple) const;
  void grow();

  SipKey key_{};
  Flow** buckets_;
  std::size_t capacity_;  // a power of two
  std::size_t count_ = 0;
};

}  // namespace sluice::tcp
