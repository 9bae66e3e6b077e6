// The user's calls (RFC 9293 §3.10.1 to 3.10.5), and how a connection begins and ends.
#include "stack/tcp/connection.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "stack/tcp/fast_open_io.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

namespace {
constexpr Duration kLongestPaced = 4_s;    // a window is spread over no longer time
constexpr std::uint8_t kQuickAcks = 16;    // segments acknowledged at once when the user asks for it
constexpr std::size_t kSmallWrite = 2048;  // writes up to this go into small blocks
}  // namespace

const char* name_of(State state) {
  constexpr std::array kNames = {"CLOSED",     "LISTEN",     "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
                                 "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",  "LAST-ACK",     "TIME-WAIT"};
  return kNames[static_cast<std::size_t>(state)];
}

Connection::Connection(Tcp::Impl& tcp, const FourTuple& t, const ip::Route& route, const ConnectionOptions& options,
                       std::uint32_t number)
    : Flow(FlowKind::kConnection, t),
      tcp_(tcp),
      context_(tcp.context),
      options_(tcp.option_sets.share(options)),
      number_(number),
      route_(route),
      send_tuning_(send_range(options, tcp.config)),
      receive_tuning_(receive_range(options, tcp.config)),
      rto_(tcp.rto_bounds),
      timers_(
          tcp.context.timers, [](void* self) { static_cast<Connection*>(self)->on_timer(); }, this) {
  ts_offset_ = tcp.isn.timestamp_offset(t.local, t.peer);
  progress_at_ = last_received_at_ = context_.now;
  quick_acks_ = tcp.config.quick_acks;
  has_key = md5_key() != nullptr;
  update_mss();
}

const Md5Key* Connection::md5_key() const {
  return key_for(options_->md5_keys, tuple.peer.address);
}

const RareState& Connection::rare_view() const {
  static constexpr RareState kNone;
  return rare_ != nullptr ? *rare_ : kNone;
}

Connection::~Connection() {
  timers_.cancel_all();
  if (out_ != nullptr) tcp_.send_states.give_back(std::move(out_));
}

void Connection::open_active(Seq iss, Tcp::Opening opening) {
  iss_ = snd_una_ = iss;
  snd_nxt_ = snd_max_ = data_base_ = iss + 1;  // (RFC9293-OPEN-02)
  recovery_.start(iss);                        // (RFC6582-01)
  negotiated_.receive_scale = ReceiveWindow::scale_for(receive_range(*options_, tcp_.config).most);
  enter(State::kSynSent);
  if (opening == Tcp::Opening::kWithData) {
    fast_open_ = std::make_unique<FastOpening>();
    fast_open_->waits = true;
    return;
  }
  send_syn();
  start_retransmit_timer();
}

void Connection::open_passive(const Handshake& h, Listener* listener) {
  listener_ = listener;
  passive_ = true;
  iss_ = snd_una_ = h.iss;
  snd_nxt_ = snd_max_ = data_base_ = h.iss + 1;
  irs_ = h.irs;
  rcv_nxt_ = last_ack_sent_ = h.irs + 1;
  negotiated_ = h.negotiated;
  agree_on_ecn(negotiated_.ecn, h.syn_codepoint);
  ts_recent_ = h.ts_recent;
  ts_recent_at_ = context_.now;
  syn_repeats_ = h.syn_repeats;
  timing_ = syn_repeats_ == 0 && h.answered_at != Instant::past();  // the handshake is the first measurement
  if (timing_) progress_at_ = h.answered_at;
  recovery_.start(iss_);
  window_.start(rcv_nxt_, h.offered_window, negotiated_.receive_scale);
  update_mss();
  state_ = State::kSynReceived;
}

Tcp& Connection::tcp() const {
  return tcp_.tcp;
}

// --- states ----------------------------------------------------------------------------------------------------------

void Connection::enter(State state) {
  if (state == state_) return;
  context_.emit({.kind = EventKind::kTcpState,
                 .flow = number_,
                 .a = static_cast<std::int64_t>(state_),
                 .b = static_cast<std::int64_t>(state),
                 .detail = name_of(state)});
  state_ = state;
}

void Connection::establish() {
  enter(State::kEstablished);
  last_data_ticks_ = now_ticks();
  pushed_ = data_base_;
  update_mss();
  if (syn_repeats_ > 0) rto_.on_syn_timeout();  // (RFC6298-20)
  if (cc_ == nullptr || syn_repeats_ > 0) start_congestion_control();
  timers_.cancel(TimerKind::kRetransmit);
  progress_at_ = context_.now;
  if (rare_ != nullptr) rare_->soft_error = Errno::kOk;
  restart_keep_alive();
  if (tcp_.config.mtu_probing == MtuProbing::kAlways) start_mtu_search();
  notify();
}

std::uint8_t Connection::cc_index() const {
  return options_->congestion != 0 ? options_->congestion : tcp_.config.congestion;
}

// RFC 6928 (RFC6928-01), or RFC 5681 §3.1 (RFC5681-04); one segment when the SYN was lost (RFC5681-06), of the larger
// window when it was lost twice (RFC6928-02). It begins here, so the handshake's own ACKs do not enlarge it
// (RFC5681-05).
void Connection::start_congestion_control() {
  const std::uint32_t mss = send_mss_;
  std::uint32_t window = std::min(10 * mss, std::max<std::uint32_t>(2 * mss, 14600));
  const bool ten = tcp_.config.initial_window_10 == Switch::kOn;
  if (!ten) window = mss > 2190 ? 2 * mss : mss > 1095 ? 3 * mss : 4 * mss;
  if (syn_repeats_ > (ten ? 1 : 0)) window = mss;
  cc_ = cc::make(cc_index());
  cc_->start({.mss = mss,
              .initial_window = window,
              .srtt = rto_.srtt(),
              .seed = context_.rng.next_u64(),
              .slow_start = tcp_.config.hystart == Switch::kOn ? cc::SlowStart::kHyStart : cc::SlowStart::kStandard,
              .slow_start_segments = tcp_.config.slow_start_limit == Switch::kOn ? 8 : UINT32_MAX});
  window_changed();
}

// After whatever the controller was told.
void Connection::window_changed() {
  update_pacing();
  context_.emit({.kind = EventKind::kTcpCwnd, .flow = number_, .a = congestion_window(), .b = cc_->ssthresh()});
}

// A rate at which the window grows as fast as it may: twice the window each round trip in slow start, 1.2 times later.
std::uint64_t Connection::window_rate() const {
  const std::uint64_t percent = cc_->cwnd() < cc_->ssthresh() ? 200 : 120;
  // An echoed timestamp may measure several timeouts as one round trip; the window alone bounds what is sent then.
  const auto srtt_us =
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(rto_.srtt().to_micros(), 1, kLongestPaced.to_micros()));
  return std::max<std::uint64_t>(congestion_window() * percent * 10'000 / srtt_us, 1);
}

// The controller's rate; without one, if asked for, that of the window. The user's limit stands above both.
void Connection::update_pacing() {
  std::uint64_t rate = cc_->pacing_rate();
  if (rate == Pacer::kUnlimited && tcp_.config.pacing == Switch::kOn && rto_.srtt() > Duration()) rate = window_rate();
  if (options_->max_pacing_rate != UINT32_MAX) {
    rate = rate == Pacer::kUnlimited ? options_->max_pacing_rate
                                     : std::min<std::uint64_t>(rate, options_->max_pacing_rate);
  }
  pacer_.set_rate(rate);
}

void Connection::notify() {
  if (user_ != nullptr) user_->on_tcp_change();
}

// To CLOSED because of an error: queues are flushed, the user hears of it once (RFC9293-TMO-01).
// DEVIATION(RFC9293-SEG-12): what was received in order before a reset stays to be read, as on Linux.
void Connection::fail_with(Errno error) {
  error_ = error;
  send_queue_.clear();
  reassembly_.clear();
  finish();
}

void Connection::finish() {
  const bool was_waiting = listener_ != nullptr;
  enter(State::kClosed);
  timers_.cancel_all();
  tcp_.unlist(*this);
  fast_open_.reset();
  if (was_waiting && receive_queue_.empty()) {  // with data it is still worth an accept()
    listener_->on_connection_gone(*this);
    listener_ = nullptr;
    detached_ = true;
  }
  notify();
  if (detached_) tcp_.retire(*this);
}

// The state machine goes on in a small record (RFC9293-MUST-13); this object only keeps what the user may still read.
void Connection::enter_time_wait() {
  auto* record = new TimeWait(tuple);
  record->snd_nxt = snd_max_;
  record->rcv_nxt = rcv_nxt_;
  record->ts_recent = ts_recent_;
  record->ts_offset = ts_offset_;
  record->timestamps = negotiated_.timestamps;
  record->window = window_field();
  if (ack_due_ != Ack::kNone) send_ack();
  enter(State::kTimeWait);
  timers_.cancel_all();
  tcp_.replace_by_time_wait(*this, *record);
  notify();
  if (detached_) tcp_.retire(*this);
}

// --- the user's calls ------------------------------------------------------------------------------------------------

Errno Connection::take_error() {
  return std::exchange(error_, Errno::kOk);
}

Errno Connection::take_soft_error() {
  return rare_ != nullptr ? std::exchange(rare_->soft_error, Errno::kOk) : Errno::kOk;
}

Status Connection::check_sendable() {
  if (error_ != Errno::kOk) return fail(take_error());
  if (state_ == State::kClosed || fin_queued_ || state_ > State::kCloseWait || state_ == State::kFinWait1 ||
      state_ == State::kFinWait2) {
    return fail(Errno::kPipe);  // (RFC9293-SEND-02)
  }
  return {};
}

// What follows joins what still waits (RFC9293-SHLD-27). Bytes of small writes share blocks; a long queue or a large
// write takes large blocks, so that a segment of 64 KiB is a handful of spans.
Result<std::size_t> Connection::send(std::span<const Bytes> pieces, More more) {
  if (const Status sendable = check_sendable(); !sendable) return fail(sendable.error());
  std::size_t taken = 0;
  std::size_t wanted = 0;
  for (Bytes piece : pieces) wanted += piece.size();
  for (Bytes piece : pieces) {
    while (!piece.empty()) {
      const std::size_t room = room_to_fill();
      if (room == 0) break;
      const Bytes part = piece.first(std::min(piece.size(), room));
      std::size_t n = send_queue_.append_to_back(part);
      if (n == 0) {
        const bool small = wanted <= kSmallWrite && send_queue_.bytes() <= kSmallWrite;
        buf::Buffer block = tcp_.pool.allocate(small ? buf::Pool::kSmall : buf::Pool::kLarge);
        if (!block) return taken > 0 ? Result<std::size_t>(taken) : fail(Errno::kNoBuffers);
        n = std::min(part.size(), block.capacity());
        (void)block.append(part.first(n));
        send_queue_.push(std::move(block));
      }
      piece = piece.subspan(n);
      taken += n;
    }
  }
  context_.counters.add(Counter::kTcpBytesCopied, taken);
  refused_ = taken < wanted || (refused_ && tcp_.config.count_memory == Switch::kOn);
  if (taken == 0 && wanted > 0) return fail(Errno::kAgain);
  push_ = more != More::kMore;
  if (push_) pushed_ = data_end();
  held_ = !push_;
  if (more == More::kRecord && taken == wanted) end_segment_here();
  if (more == More::kUrgent && taken == wanted && taken > 0) rare().urgent_pointer.set(data_end());
  if (may_send_data()) output();  // before that it is queued (RFC9293-SEND-01)
  return taken;
}

// What fits into the send queue. TCP_NOTSENT_LOWAT limits what it leaves unsent.
std::size_t Connection::send_room() const {
  const std::size_t queued = send_buffer_used();
  const std::size_t room = queued < send_tuning_.buffer() ? send_tuning_.buffer() - queued : 0;
  const std::uint32_t limit = notsent_limit(*options_, tcp_.config);
  if (limit == ConnectionOptions::kUnlimited) return room;
  // Where blocks are filled, what may go has gone.
  const bool gone = cc_ == nullptr || tcp_.config.send_blocks == Switch::kOn;
  const std::size_t may_go = gone ? 0 : usable_window();
  const std::size_t waiting = unsent();
  return std::min(room, waiting < limit + may_go ? limit + may_go - waiting : 0);
}

// In whatever state, as long as there is something to read (RFC9293-RECV-02). The end of the stream is 0, an abort is
// an error (RFC9293-MUST-12).
Result<std::size_t> Connection::receive(MutableBytes out, Take take) {
  if (receive_queue_.empty()) return receive_nothing();
  if (take == Take::kPeek) return receive_queue_.peek(out);
  const std::size_t n = receive_queue_.read(out);
  context_.counters.add(Counter::kTcpBytesCopied, n);
  if (rare_ != nullptr) rare_->urgent_mark.read_up_to(next_to_read());
  reopen_window(n);
  return n;
}

Result<std::size_t> Connection::receive_nothing() {
  if (error_ != Errno::kOk) return fail(take_error());
  if (fin_received_ || receive_shut_ || state_ == State::kClosed || state_ == State::kTimeWait) return std::size_t{0};
  if (!usable()) return fail(Errno::kNotConnected);
  return fail(Errno::kAgain);
}

// The user has done with `taken` bytes: the peer hears of the room when that is worth a segment.
void Connection::reopen_window(std::size_t taken) {
  receive_tuning_.on_taken(context_.now, taken, device_queue());
  const bool open = state_ == State::kEstablished || state_ == State::kFinWait1 || state_ == State::kFinWait2;
  if (open && window_.update_due(rcv_nxt_, receive_room(), offered_buffer(), receive_mss_)) send_ack();
}

std::size_t Connection::receive_room() const {
  const std::size_t used = receive_queue_.bytes() + lent_;
  const std::size_t buffer = receive_tuning_.buffer();
  return std::min<std::size_t>(used < buffer ? buffer - used : 0, options_->window_clamp);
}

std::size_t Connection::offered_buffer() const {
  return std::min<std::size_t>(receive_tuning_.buffer(), options_->window_clamp);
}

// Three quarters of the device's queue, in bytes: other connections use it too.
std::size_t Connection::device_queue() const {
  return std::size_t{route_.rx_queue_frames} * receive_mss_ / 4 * 3;
}

bool Connection::readable() const {
  const bool over = fin_received_ || receive_shut_ || state_ == State::kClosed || state_ == State::kTimeWait;
  return !receive_queue_.empty() || error_ != Errno::kOk || over;
}

// With a third of the buffer free, as Linux has it, so that a writer is not woken for each segment.
bool Connection::writable() const {
  if (error_ != Errno::kOk || fin_queued_ || state_ == State::kClosed || state_ == State::kTimeWait) return true;
  const std::uint32_t limit = notsent_limit(*options_, tcp_.config);
  if (limit != ConnectionOptions::kUnlimited && 2 * std::uint64_t{unsent()} >= limit) return false;
  return usable() && send_buffer_used() < send_tuning_.buffer() - send_tuning_.buffer() / 3;
}

void Connection::push() {
  held_ = false;
  if (!may_send_data()) return;
  output();
  const std::uint32_t rest = std::min({unsent(), usable_window(), until_boundary(snd_nxt_)});
  if (rest == 0 || rest >= send_mss_ || timers_.armed(TimerKind::kPacing)) return;
  const std::uint8_t pushed = ends_push(snd_nxt_ + rest) ? wire::tcp::Flags::kPsh : 0;
  transmit(snd_nxt_, rest, wire::tcp::Flags(wire::tcp::Flags::kAck | pushed));
  after_output();
}

// (RFC9293-CLOSE-02, -03, -04)
Status Connection::shutdown_send() {
  if (state_ == State::kClosed || state_ == State::kSynSent) return fail(Errno::kNotConnected);
  if (fin_queued_) return {};
  fin_queued_ = true;
  push_ = true;
  held_ = false;
  if (state_ == State::kEstablished) enter(State::kFinWait1);
  if (state_ == State::kCloseWait) enter(State::kLastAck);
  if (usable()) output();
  notify();
  return {};
}

void Connection::shutdown_receive() {
  receive_shut_ = true;
  notify();
}

void Connection::detach() {
  user_ = nullptr;
  detached_ = true;
}

void Connection::close() {  // and nobody reads on (RFC9293-MAY-1)
  const bool unread = !receive_queue_.empty();
  const bool linger_zero = options_->linger == Switch::kOn && options_->linger_time == 0;
  detach();
  if (state_ == State::kTimeWait && linger_zero) return abort();
  if (state_ == State::kClosed || state_ == State::kTimeWait) return tcp_.retire(*this);
  if (state_ == State::kSynSent) return finish();  // (RFC9293-CLOSE-01)
  if (unread) {                                    // data is lost: the peer must hear (RFC9293-SHLD-3)
    send_rst(acceptable_number(), wire::tcp::Flags::kRst | wire::tcp::Flags::kAck);
    return finish();
  }
  if (linger_zero) return abort();
  (void)shutdown_send();
  if (state_ == State::kFinWait2) wait_for_fin();
}

// In FIN-WAIT-2, and nobody is interested any more: the peer's FIN is waited for, but not for ever.
void Connection::wait_for_fin() {
  if (options_->fin_wait2_time == ConnectionOptions::kNoFinWait2) {
    send_rst(acceptable_number(), wire::tcp::Flags::kRst | wire::tcp::Flags::kAck);
    return finish();
  }
  const Duration chosen = Duration::seconds(options_->fin_wait2_time);
  timers_.set(TimerKind::kFinWait2, context_.now + (chosen != Duration() ? chosen : tcp_.config.fin_wait2_time));
}

// Where both ends have closed there is nothing left to be reset: the record goes (RFC9293-ABORT-02).
void Connection::abort() {
  detach();
  if (state_ == State::kTimeWait) tcp_.forget_time_wait(*this);
  if (state_ == State::kClosed || state_ == State::kTimeWait) return tcp_.retire(*this);
  reset_silently();
}

void Connection::reset_silently() {  // (RFC9293-ABORT-01)
  const bool both_closed = (state_ == State::kClosing || state_ == State::kLastAck) && fin_sent_;
  if (state_ != State::kSynSent && !both_closed) {
    send_rst(acceptable_number(), wire::tcp::Flags::kRst | wire::tcp::Flags::kAck);
  }
  send_queue_.clear();
  receive_queue_.clear();
  reassembly_.clear();
  detach();
  finish();
}

Status Connection::set_options(const ConnectionOptions& wanted) {
  if (cc::name_at(wanted.congestion) == nullptr && wanted.congestion != 0) return fail(Errno::kNoProtocolOption);
  const SharedOptions before = std::exchange(options_, tcp_.option_sets.share(wanted));
  if (before->receive_buffer != wanted.receive_buffer) {
    receive_tuning_ = ReceiveTuning(receive_range(wanted, tcp_.config));
  }
  if (before->send_buffer != wanted.send_buffer) send_tuning_ = SendTuning(send_range(wanted, tcp_.config));
  if (before->keep_alive != options_->keep_alive || before->keep_idle != options_->keep_idle) restart_keep_alive();
  has_key = md5_key() != nullptr;
  if (before->max_segment != options_->max_segment || before->md5_keys != options_->md5_keys) update_mss();
  if (before->congestion != options_->congestion && cc_ != nullptr) start_congestion_control();
  if (before->max_pacing_rate != options_->max_pacing_rate && cc_ != nullptr) update_pacing();
  const bool released = options_->no_delay == Switch::kOn || options_->cork == Switch::kOff;
  if (released && may_send_data()) output();
  return {};
}

void Connection::set_quick_ack(Switch wanted) {
  quick_acks_ = wanted == Switch::kOn ? kQuickAcks : 0;
  if (wanted == Switch::kOn && ack_due_ == Ack::kDelayed) send_ack();
}

void Connection::check_invariants() const {
  assert(snd_una_ <= snd_nxt_ && snd_nxt_ <= snd_max_);
  assert(!synchronized() || data_base_ + (fin_sent_ ? 1 : 0) >= snd_una_);
  assert(!synchronized() || snd_max_ <= data_end() + (fin_sent_ ? 1 : 0));
  assert(cc_ == nullptr || cc_->cwnd() >= std::min(send_mss_, cc_->cwnd() + 1));
  assert(!fin_received_ || fin_seen_);
}

}  // namespace sluice::tcp
