// RFC 7413 in connections and listeners: data in SYN and SYN-ACK.
#include "stack/tcp/fast_open_io.h"

#include <algorithm>
#include <utility>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr std::uint32_t kFixedHeaders = 40;
}

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
  if (!asked || key_for(tuple.peer.address) != nullptr || c.fast_open_server == Switch::kOff || fast_open_->limit == 0)
    return {};
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
  } else if (!passive_) {
    resend_syn_data();
  } else if (flight() > 0) {
    start_retransmit_timer();
  }
}

// --- the client: RFC 7413 §4.2.1 -------------------------------------------------------------------------------------

void Connection::emit_fast_open(const char* what) {
  context_.emit({.kind = EventKind::kTcpFastOpen,
                 .flow = number_,
                 .a = static_cast<std::int64_t>(snd_max_ - iss_) - 1,
                 .detail = what});
}

bool Connection::waits_for_data() const {
  return state_ == State::kSynSent && fast_open_ != nullptr && fast_open_->waits;
}

bool Connection::needs_no_cookie() const {
  return tcp_.config.fast_open_client_no_cookie == Switch::kOn || options_->fast_open_no_cookie == Switch::kOn;
}

bool Connection::may_send_in_syn() const {
  const FastOpenCache& cache = tcp_.fast_open_cache;
  if (has_key || cache.resting(tuple.peer.address)) return false;  // no room for both options
  return needs_no_cookie() || cache.option_for(tuple.peer.address).size > 0;
}

// What the server takes, as it said last time (RFC7413-04), and the path; less all options there may be, as something
// on the way may add some.
std::uint32_t Connection::room_in_syn() const {
  std::uint32_t mss = route_.mtu - kFixedHeaders;
  if (const std::uint32_t known = tcp_.fast_open_cache.mss_of(tuple.peer.address); known != 0)
    mss = std::min(mss, known);
  if (options_->max_segment != 0) mss = std::min(mss, options_->max_segment);
  const std::uint32_t room = mss - std::min<std::uint32_t>(mss, wire::tcp::kMaxOptionSize);
  return static_cast<std::uint32_t>(std::min<std::size_t>(room, send_tuning_.buffer() / 2));  // more may follow it
}

// Into the send queue, as one block; how many bytes that were.
std::uint32_t Connection::put_in_syn(std::span<const Bytes> pieces) {
  const std::uint32_t room = room_in_syn();
  buf::Buffer block = tcp_.pool.allocate(room);
  if (!block) return 0;
  for (const Bytes piece : pieces) {
    (void)block.append(piece.first(std::min<std::size_t>(piece.size(), room - block.size())));
  }
  const auto size = static_cast<std::uint32_t>(block.size());
  if (size == 0) return 0;
  context_.counters.add(Counter::kTcpBytesCopied, size);
  send_queue_.push(std::move(block));
  return size;
}

// The data counts as sent from here on: the SYN-ACK says how much of it is to be sent again.
std::size_t Connection::open_with(std::span<const Bytes> pieces) {
  FastOpening& opening = *fast_open_;
  opening.waits = false;
  progress_at_ = context_.now;
  const bool resting = tcp_.fast_open_cache.resting(tuple.peer.address);
  if (!resting && !needs_no_cookie() && !has_key)
    opening.sent = opening.option = tcp_.fast_open_cache.option_for(tuple.peer.address);
  if (may_send_in_syn()) {
    opening.data = put_in_syn(pieces);
  } else {
    fast_open_failure_ = FastOpenFailure::kNoCookie;
  }
  const std::uint32_t size = opening.data;
  if (size > 0) {
    negotiated_.peer_mss = static_cast<std::uint16_t>(size + wire::tcp::kMaxOptionSize);  // until the SYN-ACK says more
    update_mss();
    SendState& o = outgoing();
    o.board.sent(snd_nxt_, size, o.rate.stamp(context_.now), Pushed::kYes);
    snd_nxt_ = snd_max_ = snd_nxt_ + size;
    last_sent_at_ = context_.now;
    push_ = true;
    bytes_sent_ += size;
    ++data_segments_out_;
    context_.counters.add(Counter::kTcpBytesSent, size);
    context_.counters.add(Counter::kTcpFastOpensSent);
  }
  send_syn();
  start_retransmit_timer();
  emit_fast_open(size > 0                 ? "data goes with the SYN"
                 : resting                ? "at rest after failures"
                 : opening.sent.size > 0  ? "a cookie, but no data"
                 : opening.sent.present() ? "a cookie is asked for"
                                          : "no data");
  return size;
}

// The number a SYN-ACK acknowledges: the SYN, and data that went with it.
void Connection::take_syn_ack_number(Seq ack) {
  snd_una_ = iss_ + 1;
  if (ack == snd_una_) return;
  Delivery d;
  (void)advance(ack, d);
}

// (RFC7413-04, -05)
void Connection::learn_from_syn_ack(const Arriving& s) {
  if (fast_open_ == nullptr) return;
  using Outcome = FastOpenCache::Outcome;
  const FastOpenOption& sent = fast_open_->sent;
  const FastOpenOption& got = s.options.fast_open;
  const bool had_data = data_base_ > iss_ + 1 || flight() > 0;
  Outcome outcome = Outcome::kAnswered;
  if (syn_repeats_ > 0 && flight() > 0 && got.size == 0) outcome = Outcome::kLost;
  if (syn_repeats_ == 0 && !had_data && sent.present() && got.size == 0) outcome = Outcome::kNoCookie;
  if (sent.present() || had_data) {
    tcp_.fast_open_cache.on_syn_ack(tuple.peer.address, negotiated_.peer_mss, sent, got, outcome);
  }
  syn_data_acked_ = had_data && flight() == 0;
  if (syn_data_acked_) {
    tcp_.fast_open_cache.on_success();
    emit_fast_open("taken by the peer");
  } else if (had_data) {
    fast_open_failure_ = syn_repeats_ > 0 ? FastOpenFailure::kSynRetransmitted : FastOpenFailure::kNotAcknowledged;
    context_.counters.add(Counter::kTcpFastOpensFailed);
    emit_fast_open("not taken by the peer: sent again");
  }
  if (sent.present() && got.size > 0) emit_fast_open("a cookie came");
  fast_open_.reset();
}

// Data of the SYN that the peer did not take. That is no sign of congestion.
void Connection::resend_syn_data() {
  if (flight() == 0) return let_go_of_send_state();
  if (negotiated_.sack) {
    (void)out_->board.lose_all();
  } else {
    snd_nxt_ = snd_una_;
  }
}

// It was too large for the path: now the SYN alone, which fits any.
void Connection::repeat_syn_without_data() {
  tcp_.fast_open_cache.on_failure(tuple.peer.address);
  timing_ = false;
  emit_fast_open("too large for the path: the SYN alone");
  context_.counters.add(Counter::kTcpRetransmits);
  send_syn();
  start_retransmit_timer();
}

// The third timeout in a row, or the last before we give up, where data stood in the SYN: who drops it may drop all
// that follows, and for all servers (RFC7413-05).
void Connection::fast_open_timed_out(bool given_up) {
  constexpr std::uint32_t kMany = 3;
  if (passive_ || (fast_open_ == nullptr && !syn_data_acked_)) return;
  const bool in_handshake = fast_open_ != nullptr;
  if (in_handshake && !fast_open_->sent.present() && flight() <= 1) return;
  const std::uint32_t row = in_handshake ? rare_view().timeouts : timeouts_in_row_;
  if (row != kMany && !(given_up && row < kMany)) return;
  tcp_.fast_open_cache.on_failure(tuple.peer.address);
  tcp_.fast_open_cache.on_black_hole(tcp_.config.fast_open_rest);
  emit_fast_open("a black hole: at rest for a while");
}

}  // namespace sluice::tcp
