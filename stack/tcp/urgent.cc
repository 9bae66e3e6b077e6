// Urgent data of a connection: RFC 9293 §3.8.5, §3.10.7.4 step six; RFC 6093. See urgent.h.
#include "stack/tcp/urgent.h"

#include <array>

#include "stack/tcp/connection.h"

namespace sluice::tcp {

using wire::tcp::Flags;

// Sixth: URG. Without that flag the field means nothing (RFC9293-HDR-04); after the peer's FIN there is no more stream
// (RFC9293-SEG-08). The data stays in the stream (RFC 6093 §2).
void Connection::check_urgent(const Arriving& s) {
  if (!s.header.flags.urg() || s.header.urgent == 0 || fin_received_) return;
  const Seq last = Seq(s.header.seq) + (std::uint32_t{s.header.urgent} - 1);  // (RFC9293-MUST-62)
  if (rare().urgent_mark.point_to(last, next_to_read())) notify();            // (RFC9293-MUST-32)
}

std::size_t Connection::bytes_to_mark() const {
  return rare_view().urgent_mark.ahead() ? rare_view().urgent_mark.at() - next_to_read() : kNoMark;
}

Result<std::uint8_t> Connection::urgent_byte(Take take) {
  if (!rare_view().urgent_mark.ahead() || rare_view().urgent_mark.taken()) return fail(Errno::kInvalid);
  std::array<std::uint8_t, 1> byte{};
  if (receive_queue_.peek(byte, bytes_to_mark()) == 0) return fail(Errno::kAgain);
  if (take == Take::kConsume) rare().urgent_mark.take();
  return byte[0];
}

// On every segment from before the end of the urgent data, so that the peer hears of it whatever is lost, even when its
// window is closed: probes carry it, too (RFC9293-MUST-30, -MUST-62).
void Connection::add_urgent_pointer(wire::tcp::Header& header) {
  if (rare_ == nullptr) return;
  rare_->urgent_pointer.on_acknowledged(snd_una_);
  if (!header.flags.ack() || header.flags.rst() || header.flags.syn()) return;
  header.urgent = rare_->urgent_pointer.field(Seq(header.seq));
  if (header.urgent != 0) header.flags = Flags(header.flags.bits() | Flags::kUrg);
}

}  // namespace sluice::tcp
