// RFC 7413 in connections and listeners: data in SYN and SYN-ACK.
#include "stack/tcp/fast_open_io.h"

#include <algorithm>
#include <utility>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

// --- the server: RFC 7413 §4.2.2 -------------------------------------------------------------------------------------

void Listener::set_fast_open_keys(const FastOpenKeys& keys) {
  fast_open_keys_ = keys.count > 0 ? std::make_unique<FastOpenKeys>(keys) : nullptr;
}

const FastOpenKeys& Listener::fast_open_keys() const {
  if (fast_open_keys_ != nullptr) return *fast_open_keys_;
  return tcp_.config.fast_open_keys.count > 0 ? tcp_.config.fast_open_keys : tcp_.fast_open_secret.keys();
}

// A SYN that has neither data nor the option is none of ours (RFC7413-01).
Listener::EarlyData Listener::judge_fast_open(const Arriving& s, const FourTuple& tuple) {
  const TcpConfig& c = tcp_.config;
  const bool asked = s.options.fast_open.present() || !s.payload.empty();
  if (!asked || c.fast_open_server == Switch::kOff || fast_open_->limit == 0) return {};
  if (!fast_open_->has_room(context_.now)) {  // an ordinary handshake (RFC7413-06)
    context_.counters.add(Counter::kTcpFastOpenFull);
    context_.emit({.kind = EventKind::kTcpFastOpen,
                   .a = static_cast<std::int64_t>(s.payload.size()),
                   .detail = "not taken: too many handshakes are incomplete"});
    return {};
  }
  const bool no_cookie = c.fast_open_server_no_cookie == Switch::kOn || options_.fast_open_no_cookie == Switch::kOn;
  const EarlyData early = no_cookie ? EarlyData{.taken = true} : judge_fast_open_cookie(s, tuple);
  if (early.answer.present()) context_.counters.add(Counter::kTcpFastOpenCookies);
  return early;
}

// Without data a good cookie still lets us send before the handshake is over. Whoever has none, or a bad one, gets one
// for the next time.
Listener::EarlyData Listener::judge_fast_open_cookie(const Arriving& s, const FourTuple& tuple) {
  const FastOpenOption& shown = s.options.fast_open;
  if (!shown.present()) return {};
  const FastOpenKeys& keys = fast_open_keys();
  EarlyData early{.taken = false, .answer = fast_open_cookie(keys.key[0], tuple.peer.address, tuple.local.address)};
  early.answer.kind = shown.kind;
  const char* decided = "a cookie is given";
  if (shown.size > 0) {
    switch (judge_cookie(shown, keys, tuple.peer.address, tuple.local.address)) {
      case FastOpenVerdict::kGood:
        return {.taken = true, .answer = {}};
      case FastOpenVerdict::kOld:
        early.taken = true;
        decided = "the cookie is renewed";
        break;
      case FastOpenVerdict::kBad:
        context_.counters.add(Counter::kTcpFastOpenBad);
        decided = "not taken: a bad cookie";
        break;
    }
  }
  context_.emit({.kind = EventKind::kTcpFastOpen,
                 .a = static_cast<std::int64_t>(s.payload.size()),
                 .b = tuple.peer.port,
                 .detail = decided});
  return early;
}

void Listener::open_early(Arriving& s, const HalfOpen& half, const ip::Route& route, const FastOpenOption& answer) {
  Connection* c = tcp_.make_connection(half.tuple, route, options_);
  context_.counters.add(Counter::kTcpFastOpensTaken);
  wait_for_accept(*c);
  FastOpening opening{.option = answer, .place = FastOpenPlace(fast_open_)};
  c->open_early(half.handshake, *this, std::make_unique<FastOpening>(std::move(opening)), s);
  if (user_ != nullptr) user_->on_tcp_acceptable();
}

// The window of a SYN is not scaled (RFC7323-05). What is sent before the handshake is over stays in the initial
// congestion window (RFC7413-08), as nothing is acknowledged before.
void Connection::open_early(const Handshake& h, Listener& listener, std::unique_ptr<FastOpening> opening, Arriving& s) {
  open_passive(h, &listener);
  fast_open_ = std::move(opening);
  context_.emit({.kind = EventKind::kTcpFastOpen,
                 .flow = number_,
                 .a = static_cast<std::int64_t>(s.payload.size()),
                 .detail = "taken"});
  snd_una_ = iss_ + 1;
  snd_wnd_ = max_snd_wnd_ = s.header.window;
  start_congestion_control();
  s.header.flags = Flags(s.header.flags.bits() & ~Flags::kSyn);
  s.seq += 1;
  trim(s);
  syn_data_acked_ = !s.payload.empty();
  if (syn_data_acked_) store_in_order(s);
  send_syn();
  start_retransmit_timer();
}

// The SYN came again: our answer was lost. Data it may bring is at hand already (RFC 7413 §2.1).
bool Connection::answer_repeated_syn(const Arriving& s) {
  const bool repeated = s.header.flags.syn() && !s.header.flags.ack() && !s.header.flags.rst() && s.seq == irs_;
  if (!repeated || !passive_) return false;
  send_syn();
  return true;
}

// The ACK of our SYN, which may cover or report data that followed it.
void Connection::handshake_done(const Arriving& s) {
  fast_open_.reset();
  if (s.ack > snd_una_ || s.options.sack_count > 0) {
    process_ack(s);
  } else if (flight() > 0) {
    start_retransmit_timer();
  }
}

}  // namespace sluice::tcp
