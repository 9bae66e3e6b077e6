// What ECN makes a connection do (RFC9293-SHLD-8): agree to it in the handshake, echo the marks that arrive, and reduce
// the window once for each window of data in which the peer saw some. RFC 3168 §6.1, RFC 8257, RFC 8311.
#include "stack/tcp/ecn.h"

#include <algorithm>

#include "stack/tcp/accurate_ecn.h"
#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
// AE, CWR and ECE as one number (RFC9768-01).
constexpr std::uint8_t kNothing = 0, kClassicAnswer = 1, kClassicSetup = 3, kAccurateSetup = 7;
}  // namespace

EcnUse ecn_wanted(const ConnectionOptions& options, const TcpConfig& config) {
  if (config.ecn != EcnUse::kOff) return config.ecn;
  const bool useless_without = cc::wants_ecn(options.congestion != 0 ? options.congestion : config.congestion);
  return useless_without ? EcnUse::kClassic : EcnUse::kOff;
}

// Only a whole ECN-setup SYN is agreed to (RFC3168-02). What RFC 9768 does not know will be a request for what comes
// after it, and is answered as its own (RFC9768-04, -05).
EcnMode ecn_agreed(const wire::tcp::Header& syn, const ConnectionOptions& options, const TcpConfig& config) {
  const EcnUse able = std::max(config.ecn_answer, ecn_wanted(options, config));
  const std::uint8_t asked = wire::tcp::ace_of(syn);
  if (able == EcnUse::kOff || asked == kNothing) return EcnMode::kNone;
  if (able == EcnUse::kAccurate && asked != kClassicSetup) return EcnMode::kAccurate;
  return syn.flags.has(Flags::kEce | Flags::kCwr) ? EcnMode::kClassic : EcnMode::kNone;
}

// (RFC9768-02, -03)
std::uint8_t ecn_answer(EcnMode agreed, std::uint8_t codepoint) {
  if (agreed == EcnMode::kAccurate) return reflected(codepoint);
  return agreed == EcnMode::kClassic ? kClassicAnswer : kNothing;
}

// Of our SYN or SYN-ACK (RFC3168-01). When the first SYN got no answer, it may have been for its flags (RFC3168-05);
// with three of them the second is tried, too (RFC 9768 §3.1.4).
std::uint8_t Connection::ecn_setup(bool answer) const {
  if (answer) return ecn_answer(negotiated_.ecn, accurate_ecn() ? rare_->syn_codepoint : std::uint8_t{0});
  switch (ecn_wanted(*options_, tcp_.config)) {
    case EcnUse::kAccurate:
      return syn_repeats_ <= 1 ? kAccurateSetup : kNothing;
    case EcnUse::kClassic:
      return syn_repeats_ > 0 ? kNothing : kClassicSetup;
    case EcnUse::kOff:
      break;
  }
  return kNothing;
}

// The peer's SYN-ACK, or its SYN that has crossed ours. Not when a SYN without the flags was sent, too (RFC3168-03).
void Connection::settle_ecn(const Arriving& s) {
  const std::uint8_t asked = ecn_setup(false);
  const std::uint8_t got = wire::tcp::ace_of(s.header);
  EcnMode agreed = EcnMode::kNone;
  if (!s.header.flags.ack()) {
    if (asked != kNothing) agreed = ecn_agreed(s.header, *options_, tcp_.config);
  } else if (asked == kClassicSetup) {
    if ((got & kClassicSetup) == kClassicAnswer) agreed = EcnMode::kClassic;
  } else if (asked == kAccurateSetup && got != kNothing && got != kAccurateSetup) {  // who repeats all has no idea
    const bool classic = got == kClassicAnswer || got == (kClassicAnswer | 4);
    agreed = classic ? EcnMode::kClassic : EcnMode::kAccurate;
  }
  agree_on_ecn(agreed, s.ecn);
  if (!accurate_ecn() || !s.header.flags.ack()) return;
  rare_->accurate_ecn->on_answer(got);
  rare_->accurate_ecn->on_syn_ack(s.ecn);
}

// (RFC9768-06): once, and for ever.
void Connection::agree_on_ecn(EcnMode mode, std::uint8_t syn_codepoint) {
  negotiated_.ecn = mode;
  if (mode != EcnMode::kAccurate) return;
  rare().accurate_ecn.emplace();
  rare_->syn_codepoint = syn_codepoint;
}

// Every acceptable segment counts, whatever it carries (RFC9768-09); `size` bytes of payload before anything was cut
// off.
void Connection::count_marks(const Arriving& s, std::size_t size) {
  AccurateEcn& e = *rare_->accurate_ecn;
  const std::uint8_t ace = wire::tcp::ace_of(s.header);
  if (!e.first_seen()) e.on_first(ace, size == 0);
  const std::size_t packets = s.gso_size != 0 ? (size + s.gso_size - 1) / s.gso_size : 1;
  e.count(s.ecn, static_cast<std::uint32_t>(std::max<std::size_t>(packets, 1)), static_cast<std::uint32_t>(size));
  if (s.ecn == kEcnCongestion) context_.counters.add(Counter::kTcpMarksReceived, std::max<std::size_t>(packets, 1));
  if (e.ack_due(size > 0)) want_ack(Ack::kNow);
}

// As far as `room` bytes of options allow, where SACK comes first (RFC9768-14).
void Connection::add_accurate_ecn(wire::tcp::Options& o, std::size_t room) {
  if (!accurate_ecn() || !rare_->accurate_ecn->option_due()) return;
  o.accurate_ecn = rare_->accurate_ecn->option();
  if (wire::tcp::options_size(o) <= room) return rare_->accurate_ecn->on_option_sent();
  o.accurate_ecn = {};
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
// -11, -12, -14; RFC8311-01, -02). Accurate ECN has its count in the place of CWR and ECE (RFC9768-06, -08).
std::uint8_t Connection::add_ecn(wire::tcp::Header& header, std::uint32_t size) {
  if (negotiated_.ecn == EcnMode::kNone || header.flags.any(Flags::kSyn | Flags::kRst)) return 0;
  if (accurate_ecn()) {
    AccurateEcn& e = *rare_->accurate_ecn;
    wire::tcp::set_ace(header, e.ace());
    return size > 0 && snd_wnd_ > 0 && Seq(header.seq) >= snd_max_ && !e.mangled() ? kEcnCapable0 : std::uint8_t{0};
  }
  int flags = header.flags.bits();
  if (ecn_.echo()) flags |= Flags::kEce;
  const bool fresh = size > 0 && snd_wnd_ > 0 && Seq(header.seq) >= snd_max_;
  if (fresh && ecn_.take_reduced()) flags |= Flags::kCwr;
  header.flags = Flags(flags);
  return fresh ? kEcnCapable0 : 0;
}

bool Connection::echoes_marks(const Arriving& s) const {
  if (accurate_ecn()) return rare_->accurate_ecn->news().packets > 0;
  return negotiated_.ecn == EcnMode::kClassic && s.header.flags.has(Flags::kEce);
}

// Bytes that the ACK at hand tells to have been marked, of those that it delivers.
std::uint32_t Connection::take_marks(const Arriving& s, std::uint32_t delivered) {
  if (!accurate_ecn()) return echoes_marks(s) ? delivered : 0;
  AccurateEcn& e = *rare_->accurate_ecn;
  if (delivered > 0 && e.first_seen())
    e.on_ack(wire::tcp::ace_of(s.header), s.options.accurate_ecn, delivered, send_mss_);
  return e.news().bytes;
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
