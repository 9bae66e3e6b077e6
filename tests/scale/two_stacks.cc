#include "tests/scale/two_stacks.h"

#include <algorithm>

namespace sluice::scale_test {

std::size_t CableEnd::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  for (; n < out.size() && count_ > 0; ++n, --count_) {
    const Slot& slot = slots_[first_];
    buf::Buffer buffer = pool.copy_of(Bytes(slot.bytes).first(slot.size));
    if (!buffer) break;
    out[n] = {std::move(buffer), {}, static_cast<std::uint32_t>(slot.size)};
    first_ = (first_ + 1) % kCableFrames;
  }
  return n;
}

std::size_t CableEnd::tx(Instant, std::span<const buf::TxFrame> frames) {
  std::size_t n = 0;
  for (; n < frames.size() && other_->count_ < kCableFrames; ++n, ++other_->count_) {
    Slot& slot = other_->slots_[(other_->first_ + other_->count_) % kCableFrames];
    slot.size = frames[n].size();
    frames[n].copy_to(slot.bytes);
  }
  return n;
}

// --- Side ------------------------------------------------------------------------------------------------------------

socket::Handle Side::open(socket::Type type) {
  const auto handle = sockets().open(ip::Family::kV4, type);
  EXPECT_TRUE(handle);
  return handle.value_or(-1);
}

socket::Handle Side::listen(std::uint16_t port) {
  const socket::Handle handle = open(socket::Type::kStream);
  EXPECT_TRUE(sockets().bind(handle, {address, port}));
  EXPECT_TRUE(sockets().listen(handle, 1024));
  return handle;
}

socket::Handle Side::connect(const Side& peer, std::uint16_t port) {
  const socket::Handle handle = open(socket::Type::kStream);
  EXPECT_EQ(sockets().connect(handle, {peer.address, port}).error(), Errno::kInProgress);
  return handle;
}

socket::Handle Side::accept(socket::Handle listener) {
  return sockets().accept(listener, nullptr).value_or(-1);
}

std::size_t Side::send(socket::Handle handle, Bytes data, const ip::Endpoint* destination) {
  return sockets().send(handle, std::span(&data, 1), destination).value_or(0);
}

std::size_t Side::receive(socket::Handle handle, MutableBytes room, ip::Endpoint* source) {
  const auto got = sockets().receive(handle, std::span(&room, 1));
  if (!got) return 0;
  if (source != nullptr) *source = got->source;
  return got->size;
}

std::size_t Side::count(tcp::State state) {
  struct Count {
    tcp::State wanted;
    std::size_t n = 0;
  } count{state};
  stack->tcp().visit_connections(
      [](void* arg, const ip::Endpoint&, const ip::Endpoint&, const tcp::Info& info) {
        auto* c = static_cast<Count*>(arg);
        if (info.state == c->wanted) ++c->n;
      },
      &count);
  return count.n;
}

// --- TwoStacks -------------------------------------------------------------------------------------------------------

TwoStacks::TwoStacks(const tcp::TcpConfig& config) {
  client_.device.join(server_.device);
  server_.device.join(client_.device);
  std::uint8_t number = 0;
  for (Side* side : {&client_, &server_}) {
    ++number;
    StackConfig c;
    c.seed = Rng::seed_from(number);
    c.tcp = config;
    side->stack.emplace(c);
    side->stack->set_time(now_);
    const auto interface = side->stack->ip().add_interface(side->device, {});
    side->address = wire::Ipv4Address::of(10, 0, 0, number);
    EXPECT_TRUE(interface && side->stack->ip().add_address(*interface, {side->address, 24}));
  }
}

TwoStacks::~TwoStacks() {  // a stack says goodbye over its device
  client_.stack.reset();
  server_.stack.reset();
}

void TwoStacks::settle() {
  bool busy = true;
  while (busy) {
    busy = client_.stack->poll(now_);
    busy |= server_.stack->poll(now_);
    busy |= std::min(client_.stack->next_deadline(), server_.stack->next_deadline()) <= now_;
  }
}

void TwoStacks::pass(Duration duration) {
  const Instant end = now_ + duration;
  settle();
  while (now_ < end) {
    now_ = std::min({end, client_.stack->next_deadline(), server_.stack->next_deadline()});
    settle();
  }
}

TwoStacks::Pair TwoStacks::connected(socket::Handle listener) {
  Pair pair;
  pair.client = client_.connect(server_, kPort);
  settle();
  pair.server = server_.accept(listener);
  EXPECT_GE(pair.server, 0);
  return pair;
}

}  // namespace sluice::scale_test
