#include "stack/tcp/flow.h"

#include <algorithm>
#include <utility>

#include "stack/base/byte_order.h"

namespace sluice::tcp {
namespace {
constexpr std::size_t kFirstCapacity = 64;
constexpr std::size_t kMovedAtOnce = 2;  // chains an insertion moves: done before the table is full again
}  // namespace

TupleBytes::TupleBytes(const FourTuple& tuple) {
  for (const ip::Endpoint* e : {&tuple.local, &tuple.peer}) {
    const Bytes octets = e->address.octets();
    std::copy(octets.begin(), octets.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += octets.size();
  }
  append(std::uint32_t{tuple.local.port} << 16 | tuple.peer.port);
}

void TupleBytes::append(std::uint32_t value) {
  store_be32(bytes_.data() + size_, value);
  size_ += sizeof value;
}

FlowTable::FlowTable(Rng& rng) : buckets_{new Flow* [kFirstCapacity] {}, kFirstCapacity} {
  rng.fill(key_);
}
FlowTable::~FlowTable() {
  delete[] buckets_.chains;
  delete[] old_.chains;
}

std::uint32_t FlowTable::hash_of(const FourTuple& tuple) const {
  return static_cast<std::uint32_t>(siphash24(key_, TupleBytes(tuple).view()));
}

Flow*& FlowTable::chain(std::uint32_t hash) const {
  const bool not_moved = old_.chains != nullptr && old_.index(hash) >= moved_;
  const Buckets& b = not_moved ? old_ : buckets_;
  return b.chains[b.index(hash)];
}

Flow* FlowTable::find(const FourTuple& tuple) const {
  const std::uint32_t hash = hash_of(tuple);
  Flow* f = chain(hash);
  while (f != nullptr && !(f->hash == hash && f->tuple == tuple)) f = f->next_in_bucket;
  return f;
}

void FlowTable::insert(Flow& flow) {
  if (count_ == buckets_.capacity) grow();
  move_some();
  flow.hash = hash_of(flow.tuple);
  flow.listed = true;
  Flow*& head = chain(flow.hash);
  flow.next_in_bucket = std::exchange(head, &flow);
  ++count_;
}

void FlowTable::remove(Flow& flow) {
  if (!flow.listed) return;
  Flow** link = &chain(flow.hash);
  while (*link != &flow) link = &(*link)->next_in_bucket;
  *link = flow.next_in_bucket;
  flow.listed = false;
  --count_;
}

void FlowTable::grow() {
  old_ = buckets_;
  moved_ = 0;
  buckets_ = {new Flow* [old_.capacity * 2] {}, old_.capacity * 2};
}

void FlowTable::move_some() {
  if (old_.chains == nullptr) return;
  for (std::size_t n = 0; n < kMovedAtOnce; ++n) {
    Flow* f = std::exchange(old_.chains[moved_++], nullptr);
    while (f != nullptr) {
      Flow*& head = buckets_.chains[buckets_.index(f->hash)];
      f = std::exchange(f->next_in_bucket, std::exchange(head, f));
    }
  }
  if (moved_ < old_.capacity) return;
  delete[] old_.chains;
  old_ = {};
}

}  // namespace sluice::tcp
