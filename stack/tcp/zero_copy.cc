// The user's calls without a copy: blocks of the pool that change their owner (RFC 9293 §3.10.2, §3.10.3).
#include <cassert>
#include <utility>

#include "stack/tcp/connection.h"

namespace sluice::tcp {

// A small view goes into the room behind the last block, so that a small block can only follow a full one: 64 KiB stay
// a handful of spans.
Status Connection::send(buf::Buffer& block, More more) {
  if (const Status sendable = check_sendable(); !sendable) return sendable;
  if (send_queue_.bytes() >= send_tuning_.buffer()) return fail(Errno::kAgain);
  if (block.size() < kLeastOwnBlock) {
    const std::size_t copied = send_queue_.append_to_back(block.bytes());
    context_.counters.add(Counter::kTcpBytesCopied, copied);
    block.trim_front(copied);
  }
  buf::Buffer rest = std::move(block);
  if (!rest.empty()) send_queue_.push(std::move(rest));
  push_ = more != More::kMore;
  held_ = !push_;
  if (more == More::kRecord) end_segment_here();
  if (may_send_data()) output();
  return {};
}

Result<buf::Buffer> Connection::lend() {
  if (receive_queue_.empty()) {
    const auto nothing = receive_nothing();
    return nothing ? Result<buf::Buffer>(buf::Buffer()) : fail(nothing.error());
  }
  buf::Buffer block = receive_queue_.pop();
  lent_ += static_cast<std::uint32_t>(block.size());
  if (rare_ != nullptr) rare_->urgent_mark.read_up_to(next_to_read());
  return block;
}

void Connection::give_back(std::size_t bytes) {
  assert(bytes <= lent_);
  lent_ -= static_cast<std::uint32_t>(bytes);
  reopen_window(bytes);
}

}  // namespace sluice::tcp
