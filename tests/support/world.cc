#include "tests/support/world.h"

#include <algorithm>
#include <array>

namespace sluice::test {

std::size_t Tap::tx(Instant now, std::span<const buf::TxFrame> frames) {
  std::vector<std::uint8_t> bytes;
  for (const buf::TxFrame& frame : frames) {
    bytes.resize(frame.size());
    frame.copy_to(bytes);
    for (const std::uint8_t b : bytes) hash_ = (hash_ ^ b) * 0x100000001b3;
    hash_ = (hash_ ^ static_cast<std::uint64_t>(now.to_nanos())) * 0x100000001b3;
    const bool lost = drop && drop(frames_);
    ++frames_;
    if (!lost) (void)inner_.tx(now, {&frame, 1});
  }
  return frames.size();
}

Host& World::add_host(const drivers::Impairment& impairment, const StackConfig& wanted) {
  auto host = std::make_unique<Host>();
  const auto number = static_cast<std::uint8_t>(hosts_.size() + 1);
  host->impair = std::make_unique<drivers::Impair>(link_.add_port(), impairment, seed_ * 1000 + number);
  host->tap = std::make_unique<Tap>(*host->impair);
  StackConfig config = wanted;
  config.seed = Rng::seed_from(seed_ * 1000 + 500 + number);
  host->stack = std::make_unique<Stack>(config);
  host->stack->set_time(now_);
  ip::InterfaceConfig interface;
  interface.mac = {{2, 0, 0, 0, 0, number}};
  interface.address_check = ip::InterfaceConfig::AddressCheck::kNone;
  host->interface = host->stack->ip().add_interface(*host->tap, interface).value();
  host->address = wire::Ipv4Address::of(10, 0, 0, number);
  (void)host->stack->ip().add_address(host->interface, {host->address, 24});
  hosts_.push_back(std::move(host));
  return *hosts_.back();
}

bool World::step(Instant end) {
  bool busy = false;
  Instant next = Instant::never();
  for (const auto& host : hosts_) busy |= host->stack->poll(now_);
  for (const auto& host : hosts_) next = std::min(next, host->stack->next_deadline());
  if (busy || next <= now_) return true;
  if (next > end) return false;
  now_ = next;
  return true;
}

bool World::run(Duration longest, const std::function<bool()>& done) {
  const Instant end = now_ + longest;
  while (!done()) {
    if (step(end)) continue;
    now_ = end;
    for (const auto& host : hosts_) host->stack->poll(now_);
    return done();
  }
  return true;
}

std::uint64_t World::trace() const {
  std::uint64_t hash = 0;
  for (const auto& host : hosts_) hash = hash * 31 + host->tap->hash();
  return hash;
}

std::uint8_t Pattern::byte_at(std::uint64_t i) const {
  return static_cast<std::uint8_t>((i * 2654435761u + seed_) >> 16 ^ i);
}

void Pattern::send_up_to(std::uint64_t total) {
  if (!socket::any(host_.sockets().ready(handle_) & (socket::Ready::kOut | socket::Ready::kError))) return;
  std::array<std::uint8_t, 16384> chunk;
  while (sent_ < total && error_ == Errno::kOk) {
    const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), total - sent_));
    for (std::size_t i = 0; i < n; ++i) chunk[i] = byte_at(sent_ + i);
    const Bytes piece(chunk.data(), n);
    const auto taken = host_.sockets().send(handle_, std::span(&piece, 1), nullptr);
    if (!taken && taken.error() != Errno::kAgain) error_ = taken.error();
    if (!taken) return;
    sent_ += *taken;
  }
}

void Pattern::receive() {
  while (!end_ && error_ == Errno::kOk) {
    const std::uint64_t before = received_;
    receive_at_most(65536);
    if (received_ == before) return;
  }
}

void Pattern::receive_at_most(std::size_t bytes) {
  if (chunk_.size() < bytes) chunk_.resize(bytes);
  const MutableBytes piece(chunk_.data(), bytes);
  const auto got = host_.sockets().receive(handle_, std::span(&piece, 1));
  if (!got) {
    if (got.error() != Errno::kAgain) error_ = got.error();
    return;
  }
  end_ = got->size == 0;
  for (std::size_t i = 0; i < got->size; ++i) wrong_ |= chunk_[i] != byte_at(received_ + i);
  received_ += got->size;
}

}  // namespace sluice::test
