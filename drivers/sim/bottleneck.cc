#include "drivers/sim/bottleneck.h"

#include "stack/wire/ipv4.h"

namespace sluice::sim {

namespace {
Duration time_for(std::size_t bytes, std::uint64_t rate) {
  return Duration::nanos(static_cast<std::int64_t>(bytes * 8'000'000'000ull / rate));
}
}  // namespace

Bottleneck::Bottleneck(Scheduler& scheduler, const Settings& settings, const MakeQueue& make_queue, Deliver deliver)
    : scheduler_(scheduler),
      settings_(settings),
      queue_(make_queue(*this)),
      deliver_(std::move(deliver)),
      sent_([](void* self) { static_cast<Bottleneck*>(self)->on_sent(); }, this) {}

PacketCounts& Bottleneck::counts(std::uint32_t pair) {
  if (pair >= pairs_.size()) pairs_.resize(pair + 1);
  return pairs_[pair];
}

PacketCounts Bottleneck::of_pair(std::uint32_t pair) const {
  return pair < pairs_.size() ? pairs_[pair] : PacketCounts();
}

void Bottleneck::forget() {
  waits_ = {};
  total_ = {};
  pairs_.clear();
}

void Bottleneck::on_drop(const Packet& packet) {
  ++total_.dropped;
  ++counts(packet.pair).dropped;
}

void Bottleneck::on_mark(const Packet& packet) {
  ++total_.marked;
  ++counts(packet.pair).marked;
}

void Bottleneck::accept(Packet packet) {
  const std::size_t length = queue_->bytes() + packet.size();
  if (settings_.ecn_threshold != 0 && length > settings_.ecn_threshold &&
      wire::ipv4::mark_congestion(packet.buffer.writable())) {
    on_mark(packet);
  }
  queue_->enqueue(scheduler_.now(), std::move(packet));
  if (!on_wire_) send_next();
}

void Bottleneck::send_next() {
  const Instant now = scheduler_.now();
  on_wire_ = queue_->dequeue(now);
  if (!on_wire_) return;
  waits_.add(now - on_wire_->queued);
  if (settings_.rate == 0) return on_sent();
  scheduler_.schedule(sent_, now + time_for(on_wire_->size(), settings_.rate));
}

void Bottleneck::on_sent() {
  Packet packet = std::move(*on_wire_);
  on_wire_.reset();
  for (PacketCounts* c : {&total_, &counts(packet.pair)}) {
    ++c->packets;
    c->bytes += packet.size();
  }
  deliver_(std::move(packet));
  if (!on_wire_) send_next();
}

}  // namespace sluice::sim
