#include "stack/tcp/flow.h"

#include <algorithm>
#include <array>

#include "stack/base/byte_order.h"

namespace sluice::tcp {
namespace {
constexpr std::size_t kFirstCapacity = 64;
}

FlowTable::FlowTable(Rng& rng) : buckets_(new Flow* [kFirstCapacity] {}), capacity_(kFirstCapacity) {
  rng.fill(key_);
}
FlowTable::~FlowTable() {
  delete[] buckets_;
}

std::size_t FlowTable::bucket(const FourTuple& tuple) const {
  std::array<std::uint8_t, 36> message{};
  std::size_t size = 0;
  for (const ip::Endpoint* e : {&tuple.local, &tuple.peer}) {
    const Bytes octets = e->address.octets();
    std::copy(octets.begin(), octets.end(), message.begin() + static_cast<std::ptrdiff_t>(size));
    size += octets.size();
  }
  store_be16(message.data() + size, tuple.local.port);
  store_be16(message.data() + size + 2, tuple.peer.port);
  return siphash24(key_, Bytes(message).first(size + 4)) & (capacity_ - 1);
}

Flow* FlowTable::find(const FourTuple& tuple) const {
  Flow* f = buckets_[bucket(tuple)];
  while (f != nullptr && !(f->tuple == tuple)) f = f->next_in_bucket;
  return f;
}

void FlowTable::insert(Flow& flow) {
  if (count_ == capacity_) grow();
  Flow*& head = buckets_[bucket(flow.tuple)];
  flow.next_in_bucket = head;
  flow.listed = true;
  head = &flow;
  ++count_;
}

void FlowTable::remove(Flow& flow) {
  if (!flow.listed) return;
  Flow** link = &buckets_[bucket(flow.tuple)];
  while (*link != &flow) link = &(*link)->next_in_bucket;
  *link = flow.next_in_bucket;
  flow.listed = false;
  --count_;
}

void FlowTable::grow() {
  Flow** old = buckets_;
  const std::size_t old_capacity = capacity_;
  capacity_ *= 2;
  buckets_ = new Flow* [capacity_] {};
  for (std::size_t i = 0; i < old_capacity; ++i) {
    while (old[i] != nullptr) {
      Flow* f = old[i];
      old[i] = f->next_in_bucket;
      Flow*& head = buckets_[bucket(f->tuple)];
      f->next_in_bucket = head;
      head = f;
    }
  }
  delete[] old;
}

}  // namespace sluice::tcp
