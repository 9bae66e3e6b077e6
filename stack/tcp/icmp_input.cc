// ICMP errors about a connection's segments: RFC 5927, RFC 9293 §3.9.2.2, RFC 1191.
#include <utility>

#include "stack/base/byte_order.h"
#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

// RFC 5927 §4.1: only errors about data in flight count (RFC5927-01). Those that do not end the connection are kept for
// the user (RFC9293-MUST-47, -SHLD-25) and abort nothing (RFC9293-MUST-56, RFC1122-ICMP-37); source quench does not
// come up (RFC9293-MUST-55). DEVIATION(RFC9293-SHLD-26, RFC1122-ICMP-14): hard errors are soft ones once the connection
// is synchronised, by RFC 5927 §5.2 (RFC5927-02): whoever guesses four numbers could end it.
void Connection::on_icmp_error(const ip::IcmpError& e) {
  const Seq quoted(load_be32(e.quoted.data() + 4));
  const bool in_flight = snd_una_ <= quoted && quoted < snd_max_;
  const bool early = state_ == State::kSynReceived && usable();
  const bool of_syn = (state_ == State::kSynSent || early) && quoted == iss_;
  if (!in_flight && !of_syn) return context_.drop(Drop::kIcmpQuote, {}, number_);
  if (e.kind == ip::ErrorKind::kFragmentationNeeded) return hear_path_mtu(e);
  const bool hard = e.kind == ip::ErrorKind::kPortUnreachable || e.kind == ip::ErrorKind::kProtocolUnreachable;
  if (early && listener_ != nullptr) return fail_with(ip::errno_of(e.kind));  // what came with the SYN can be read
  if (hard && of_syn) return fail_with(ip::errno_of(e.kind));
  rare().soft_error = ip::errno_of(e.kind);
  if (!synchronized() && e.kind == ip::ErrorKind::kHostUnreachable && e.reporter == e.source) neighbor_is_silent();
}

// RFC 5927 §7.2: as long as nothing of full size has arrived, the message is the ordinary way in which a path tells its
// MTU. Later it would say that the path has changed: then what it quotes will not arrive, and can be waited for
// (RFC5927-03). The next ACK for that proves it wrong; a timeout, right.
void Connection::hear_path_mtu(const ip::IcmpError& e) {
  const bool doubted = tcp_.config.doubt_path_mtu == Switch::kOn && synchronized() && full_size_arrived_;
  if (!doubted) return lower_path_mtu(e.mtu);
  rare().doubtful_mtu = e.mtu;
  rare().doubtful_at = Seq(load_be32(e.quoted.data() + 4));
}

// The timer has expired for what it quotes or for what stands before that.
void Connection::believe_path_mtu() {
  tcp_.ip.accept_path_mtu(tuple.peer.address, std::exchange(rare().doubtful_mtu, 0));
  refresh_route();
}

void Connection::lower_path_mtu(std::uint32_t mtu) {
  const std::uint32_t before = send_mss_;
  tcp_.ip.accept_path_mtu(tuple.peer.address, mtu);
  refresh_route();
  if (state_ == State::kSynSent && flight() > 1) return repeat_syn_without_data();
  if (send_mss_ >= before || !synchronized()) return;  // once for a burst (RFC1191-08)
  // What was too large is sent again in smaller segments (RFC1191-02); not a sign of congestion.
  if (negotiated_.sack && out_ != nullptr) {
    (void)out_->board.lose_all();
  } else {
    snd_nxt_ = snd_una_;
  }
  output();
}

// Our own link layer found nobody at the next hop. Once is a hint (RFC1122-ICMP-15): the requests may have been lost.
// The second time there is nobody to wait for.
void Connection::neighbor_is_silent() {
  constexpr Duration kAnotherTime = 1_s;  // all packets that waited for the address report at once
  if (rare().silence_seen != Instant::past() && context_.now - rare().silence_seen >= kAnotherTime) {
    return fail_with(Errno::kHostUnreachable);
  }
  if (rare().silence_seen == Instant::past()) rare().silence_seen = context_.now;
}

}  // namespace sluice::tcp
