// What ECN makes a connection do (RFC9293-SHLD-8): agree to it in the handshake, echo the marks that arrive, and reduce
// the window once for each window of data in which the peer saw some. RFC 3168 §6.1, RFC 8257, RFC 8311.
#include "stack/tcp/ecn.h"

#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr int kSetup = Flags::kEce | Flags::kCwr;
}

bool ecn_wanted(const ConnectionOptions& options, const TcpConfig& config) {
  return config.ecn == Switch::kOn || cc::wants_ecn(options.congestion != 0 ? options.congestion : config.congestion);
}

// Only a whole ECN-setup SYN is agreed to (RFC3168-02).
bool ecn_agreed(Flags syn, const ConnectionOptions& options, const TcpConfig& config) {
  const bool able = config.ecn_answer == Switch::kOn || ecn_wanted(options, config);
  return able && syn.has(kSetup);
}

// Of our SYN or SYN-ACK (RFC3168-01). When the first SYN got no answer, it may have been for its flags (RFC3168-05).
int Connection::ecn_setup_flags(bool answer) const {
  if (answer) return negotiated_.ecn ? Flags::kEce : 0;
  return ecn_wanted(*options_, tcp_.config) && syn_repeats_ == 0 ? kSetup : 0;
}

// The peer's SYN-ACK, or its SYN that has crossed ours. Not when a SYN without the flags was sent, too (RFC3168-03).
void Connection::settle_ecn(Flags flags) {
  const bool asked = ecn_setup_flags(false) != 0;
  const int answer = flags.ack() ? Flags::kEce : kSetup;
  negotiated_.ecn = asked && (flags.bits() & kSetup) == answer;
}

// A segment in the window that has data (RFC3168-13). What the peer is told of each mark must be exact for DCTCP: what
// came before a change is acknowledged before it (RFC 8257 §3.2).
void Connection::note_marks(const Arriving& s) {
  const EcnEcho how = cc::wants_ecn(cc_index()) ? EcnEcho::kExact : EcnEcho::kUntilReduced;
  const bool marked = s.ecn == kEcnCongestion;
  if (marked) context_.counters.add(Counter::kTcpMarksReceived);
  if (how == EcnEcho::kExact && marked != ecn_.echo() && ack_due_ != Ack::kNone) send_ack();
  if (ecn_.on_data(s.ecn, s.header.flags.has(Flags::kCwr), how)) want_ack(Ack::kNow);
}

// ECT(0) and CWR on new data only: not on what is sent again, on bare ACKs or on window probes (RFC3168-04, -06, -09,
// -11, -12, -14; RFC8311-01, -02).
std::uint8_t Connection::add_ecn(wire::tcp::Header& header, std::uint32_t size) {
  if (!negotiated_.ecn || header.flags.any(Flags::kSyn | Flags::kRst)) return 0;
  int flags = header.flags.bits();
  if (ecn_.echo()) flags |= Flags::kEce;
  const bool fresh = size > 0 && snd_wnd_ > 0 && Seq(header.seq) >= snd_max_;
  if (fresh && ecn_.take_reduced()) flags |= Flags::kCwr;
  header.flags = Flags(flags);
  return fresh ? kEcnCapable0 : 0;
}

bool Connection::echoes_marks(const Arriving& s) const {
  return negotiated_.ecn && s.header.flags.has(Flags::kEce);
}

// By congestion control, of this ACK: nothing grows by the one that brings the echo, either.
cc::Phase Connection::phase_seen(const Arriving& s) const {
  const cc::Phase phase = recovery_.phase();
  return phase == cc::Phase::kOpen && echoes_marks(s) ? cc::Phase::kReducing : phase;
}

// The answer to marks is that to a loss (RFC3168-16), once for each window of data (RFC3168-07): until all that is
// outstanding now has been acknowledged, nothing grows and nothing is reduced again. With SACK the window falls evenly,
// as in recovery (RFC 9937). `before`: the phase in which the ACK found us; that which ends a reduction may echo old
// marks.
void Connection::hear_echo(const Arriving& s, cc::Phase before, std::uint32_t acked) {
  if (!echoes_marks(s) || before != cc::Phase::kOpen || recovery_.phase() != cc::Phase::kOpen) return;
  context_.counters.add(Counter::kTcpMarkReductions);
  ecn_.on_reduction();
  if (out_ != nullptr) out_->undo.stop();  // what it would lead back to is too much
  const std::uint32_t flight_size = flight() + acked;
  cc_->on_congestion({.now = context_.now, .signal = cc::Signal::kEcn, .flight = cc_->cwnd()});
  const bool evenly = negotiated_.sack && out_ != nullptr && flight() > 0 && tcp_.config.prr == Switch::kOn;
  if (evenly) {
    out_->prr.start(cc_->ssthresh(), flight_size, in_flight());
  } else {
    cc_->on_recovery_done({context_.now, cc_->cwnd()});
  }
  if (flight() == 0) return;
  recovery_.reduce(snd_max_);
  context_.emit({.kind = EventKind::kTcpRecoveryEnter,
                 .flow = number_,
                 .a = recovery_.point().value(),
                 .detail = "the peer saw congestion marks"});
}

}  // namespace sluice::tcp
