#include "stack/stack.h"

#include <algorithm>

namespace sluice {

namespace {
constexpr std::size_t kTimersPerPoll = 256;  // bounds the work of one poll
}

// In order of construction: each uses those before it.
struct Stack::Parts {
  explicit Parts(const StackConfig& config)
      : context(config.seed),
        pool(config.buffers),
        ip(context, pool, config.ip),
        udp(context, ip, pool),
        tcp(context, ip, pool, config.tcp),
        sockets(context, ip, udp, tcp) {
    context.sink = config.events;
  }

  Context context;
  buf::Pool pool;
  ip::Ip ip;
  udp::Udp udp;
  tcp::Tcp tcp;
  socket::Sockets sockets;
};

Stack::Stack(const StackConfig& config) : parts_(new Parts(config)) {}
Stack::~Stack() {
  delete parts_;
}

void Stack::set_time(Instant now) {
  parts_->context.now = std::max(parts_->context.now, now);
}

bool Stack::poll(Instant now, std::size_t budget) {
  set_time(now);
  Parts& p = *parts_;
  const std::size_t frames = p.ip.poll_devices(budget);
  const std::size_t looped = p.ip.poll_loopback(budget);
  const std::size_t fired = p.context.timers.advance(p.context.now, kTimersPerPoll);
  p.tcp.on_batch_end();
  p.udp.on_batch_end();
  return frames >= budget || looped >= budget || fired >= kTimersPerPoll || p.ip.has_loopback_work();
}

Instant Stack::next_deadline() const {
  const Parts& p = *parts_;
  if (p.ip.has_loopback_work()) return p.context.now;
  return std::min(p.context.timers.next_deadline(), p.ip.next_device_deadline());
}

Context& Stack::context() {
  return parts_->context;
}
const Counters& Stack::counters() const {
  return parts_->context.counters;
}
buf::Pool& Stack::pool() {
  return parts_->pool;
}
ip::Ip& Stack::ip() {
  return parts_->ip;
}
udp::Udp& Stack::udp() {
  return parts_->udp;
}
tcp::Tcp& Stack::tcp() {
  return parts_->tcp;
}
socket::Sockets& Stack::sockets() {
  return parts_->sockets;
}

}  // namespace sluice
