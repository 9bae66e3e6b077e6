#include "drivers/sim/dumbbell.h"

#include <algorithm>

namespace sluice::sim {

namespace {

link::Capabilities bare_ip(std::uint32_t mtu) {
  link::Capabilities c;
  c.medium = link::Medium::kIp;
  c.mtu = mtu;
  return c;
}

}  // namespace

Dumbbell::Dumbbell(Scheduler& scheduler, const Direction& to_right, const Direction& to_left, std::uint32_t mtu,
                   std::uint64_t seed)
    : scheduler_(scheduler),
      capabilities_(bare_ip(mtu)),
      rng_(Rng::seed_from(seed)),
      pool_({.max_bytes = SIZE_MAX}),
      right_(scheduler, to_right, rng_,
             [this](Packet p) {
               Pair& pair = *pairs_[p.pair];
               pass(right_, *pair.left, *pair.right, std::move(p));
             }),
      left_(scheduler, to_left, rng_, [this](Packet p) {
        Pair& pair = *pairs_[p.pair];
        pass(left_, *pair.right, *pair.left, std::move(p));
      }) {}

Dumbbell::Pair& Dumbbell::add_pair(Duration round_trip) {
  const auto number = static_cast<std::uint32_t>(pairs_.size());
  const Duration back = round_trip / 2;
  pairs_.push_back(std::make_unique<Pair>());
  pairs_.back()->left.reset(new Port(*this, number, Port::Side::kLeft, back));
  pairs_.back()->right.reset(new Port(*this, number, Port::Side::kRight, round_trip - back));
  return *pairs_.back();
}

void Dumbbell::pass(Way& way, Port& from, Port& to, Packet packet) {
  if (way.model.loses(scheduler_.now(), packet.size())) return void(++from.lost_);
  Instant due = way.model.jittered(scheduler_.now()) + to.delay_;
  if (way.model.holds_back()) due = due + way.faults.reorder_delay;
  to.arrive(due, std::move(packet.buffer));
}

void Dumbbell::Port::arrive(Instant due, buf::Buffer packet) {
  auto at = arrivals_.end();
  while (at != arrivals_.begin() && std::prev(at)->due > due) --at;
  arrivals_.insert(at, Arrival{due, std::move(packet)});
  if (alarm_ != nullptr) network_.scheduler_.schedule_by(*alarm_, due);
}

std::size_t Dumbbell::Port::rx(Instant now, buf::Pool&, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  for (; n < out.size() && !arrivals_.empty() && arrivals_.front().due <= now; ++n) {
    const auto size = static_cast<std::uint32_t>(arrivals_.front().packet.size());
    out[n] = {std::move(arrivals_.front().packet), {.checksum = buf::ChecksumState::kVerified}, size};
    arrivals_.pop_front();
  }
  return n;
}

std::size_t Dumbbell::Port::tx(Instant, std::span<const buf::TxFrame> frames) {
  for (const buf::TxFrame& frame : frames) {
    Packet packet{network_.pool_.allocate(frame.size()), pair_, {}};
    if (!packet.buffer) return static_cast<std::size_t>(&frame - frames.data());
    packet.buffer.set_view(0, frame.copy_to(packet.buffer.storage()));
    if (loses_ && loses_(packet.buffer.bytes())) {
      ++lost_;
      continue;
    }
    (side_ == Side::kLeft ? network_.right_ : network_.left_).bottleneck.accept(std::move(packet));
  }
  return frames.size();
}

}  // namespace sluice::sim
