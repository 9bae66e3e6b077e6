#include "drivers/sim/transfer.h"

#include <algorithm>

namespace sluice::sim {

using socket::Ready;

// --- Sender --------------------------------------------------------------------------------------------------------

bool Sender::connect(Stack& stack) {
  socket::Sockets& sockets = stack.sockets();
  if (handle_ < 0) {
    handle_ = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
    (void)sockets.connect(handle_, peer_);
  }
  const Ready ready = sockets.ready(handle_);
  if (any(ready & Ready::kError)) {
    finish(stack, static_cast<Errno>(sockets.get_option(handle_, socket::Option::kError).value_or(0)));
    return false;
  }
  return any(ready & Ready::kOut);
}

std::uint64_t Sender::wanted(Instant now) const {
  const std::uint64_t all = flow_.bytes != 0 ? flow_.bytes : UINT64_MAX;
  if (flow_.write == 0) return all;
  const Duration since = now - (Instant::from_nanos(0) + flow_.start);
  const auto writes = static_cast<std::uint64_t>(since.to_nanos() / flow_.write_every.to_nanos()) + 1;
  return std::min(all, writes * flow_.write);
}

Instant Sender::next_write(Instant now) const {
  if (flow_.write == 0 || wanted(now) == flow_.bytes) return Instant::never();
  const Instant start = Instant::from_nanos(0) + flow_.start;
  return start + flow_.write_every * ((now - start).to_nanos() / flow_.write_every.to_nanos() + 1);
}

void Sender::send(Stack& stack, std::uint64_t up_to) {
  while (sent_ < up_to) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(up_to - sent_, Pattern::kLongest));
    const Bytes piece = pattern_.at(sent_, size);
    const auto taken = stack.sockets().send(handle_, {&piece, 1}, nullptr);
    if (!taken) {
      if (taken.error() != Errno::kAgain) finish(stack, taken.error());
      return;
    }
    sent_ += *taken;
  }
}

void Sender::finish(Stack& stack, Errno error) {
  last_ = info(stack);
  error_ = error;
  over_ = true;
  (void)stack.sockets().close(handle_);
}

Instant Sender::act(Stack& stack, Instant now) {
  if (over_) return Instant::never();
  const Instant start = Instant::from_nanos(0) + flow_.start;
  if (now < start) return start;
  if (!connect(stack)) return Instant::never();
  send(stack, wanted(now));
  const bool all_given = flow_.bytes != 0 && sent_ == flow_.bytes;
  if (all_given && !over_ && info(stack).send_queued == 0) finish(stack, Errno::kOk);
  return over_ ? Instant::never() : next_write(now);
}

tcp::Info Sender::info(Stack& stack) const {
  if (over_ || handle_ < 0) return last_;
  const auto info = stack.sockets().tcp_info(handle_);
  return info ? *info : last_;
}

// --- Receiver ------------------------------------------------------------------------------------------------------

void Receiver::listen(Stack& stack) {
  socket::Sockets& sockets = stack.sockets();
  listener_ = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  (void)sockets.bind(listener_, {wire::Ipv4Address::any(), port_});
  (void)sockets.listen(listener_, 1);
}

void Receiver::receive(Stack& stack, Instant now) {
  socket::Sockets& sockets = stack.sockets();
  while (!end_) {
    const auto lent = sockets.lend(handle_);
    if (!lent) {
      if (lent.error() == Errno::kAgain) return;
      error_ = lent.error();
      end_ = true;
      break;
    }
    const Bytes bytes = lent->block.bytes();
    end_ = bytes.empty();
    if (end_) break;
    intact_ = intact_ && pattern_.matches(bytes_, bytes);
    bytes_ += bytes.size();
    last_ = now;
    sockets.give_back(handle_, bytes.size());
  }
  (void)sockets.close(handle_);
}

Instant Receiver::act(Stack& stack, Instant now) {
  if (listener_ < 0) listen(stack);
  if (handle_ < 0) handle_ = stack.sockets().accept(listener_, nullptr).value_or(-1);
  if (handle_ >= 0 && !end_) receive(stack, now);
  return Instant::never();
}

}  // namespace sluice::sim
