// One TCP connection: the state machine of RFC 9293 over components that know nothing of each other. The connection
// alone moves facts between them. Its methods stand in several files: fast_path.cc (the commonest segments),
// segment_input.cc (all others, RFC 9293 §3.10.7), ack.cc, loss.cc (what SACK adds to it), output.cc, bursts.cc,
// timeout.cc (§3.10.8), icmp_input.cc, mtu_probing.cc (RFC 4821), ecn.cc, connection.cc (the user's calls, §3.10.1 to
// 3.10.5), zero_copy.cc (those without a copy), urgent.cc, fast_open_io.cc (RFC 7413), info.cc (§3.10.6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "stack/base/context.h"
#include "stack/buf/buffer.h"
#include "stack/ip/ip.h"
#include "stack/tcp/boundaries.h"
#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/cc/registry.h"
#include "stack/tcp/cwnd_usage.h"
#include "stack/tcp/delivery_rate.h"
#include "stack/tcp/ecn.h"
#include "stack/tcp/flow.h"
#include "stack/tcp/limit_times.h"
#include "stack/tcp/md5_keys.h"
#include "stack/tcp/min_rtt.h"
#include "stack/tcp/pacer.h"
#include "stack/tcp/rare_state.h"
#include "stack/tcp/reassembly.h"
#include "stack/tcp/receive_tuning.h"
#include "stack/tcp/receive_window.h"
#include "stack/tcp/recovery.h"
#include "stack/tcp/rto.h"
#include "stack/tcp/send_state.h"
#include "stack/tcp/send_tuning.h"
#include "stack/tcp/seq.h"
#include "stack/tcp/shared_options.h"
#include "stack/tcp/tcp.h"
#include "stack/tcp/timers.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

class Listener;
struct FastOpening;

// A segment on its way in, trimmed as the steps go along.
struct Arriving {
  Bytes bytes;  // the whole of it as it came
  wire::tcp::Header header;
  wire::tcp::Options options;
  Seq seq;
  Seq ack;
  buf::Buffer payload;         // view: the data
  std::uint8_t ecn = 0;        // of the IP header: the codepoint
  std::uint16_t gso_size = 0;  // > 0: several segments, coalesced by the device

  [[nodiscard]] std::uint32_t length() const {  // sequence numbers it takes (RFC9293-SEQ-03)
    return static_cast<std::uint32_t>(payload.size()) + (header.flags.syn() ? 1 : 0) + (header.flags.fin() ? 1 : 0);
  }
};

// What was agreed in the handshake.
struct Negotiated {
  std::uint16_t peer_mss = 536;  // (RFC9293-MUST-15)
  std::uint8_t send_scale = 0;   // the peer's shift
  std::uint8_t receive_scale = 0;
  bool window_scaling = false;
  bool timestamps = false;
  bool sack = false;
  EcnMode ecn = EcnMode::kNone;
};

class Connection final : public ConnectionHandle, public Flow {
 public:
  // The route's MTU decides the segment sizes.
  Connection(Tcp::Impl& tcp, const FourTuple& tuple, const ip::Route& route, const ConnectionOptions& options,
             std::uint32_t number);
  ~Connection() override;

  // --- how it begins
  void open_active(Seq iss, Tcp::Opening opening);  // sends SYN, or waits for open_with()
  struct Handshake {                                // of a half-open connection whose last ACK has come
    Seq iss;
    Seq irs;
    Negotiated negotiated;
    std::uint32_t ts_recent = 0;
    std::uint32_t offered_window = 0;
    std::uint8_t syn_repeats = 0;           // how often it was sent again
    std::uint8_t syn_codepoint = 0;         // of the IP header of the peer's SYN
    Instant answered_at = Instant::past();  // when our SYN-ACK went out; past(): not known
  };
  void open_passive(const Handshake& handshake, Listener* listener);
  // The same when only the SYN has come, whose data is taken now; sends the SYN-ACK. RFC 7413 §4.2.2
  void open_early(const Handshake& handshake, Listener& listener, std::unique_ptr<FastOpening> opening, Arriving& syn);

  // --- from the network
  void input(Arriving& segment);
  void on_icmp_error(const ip::IcmpError& error);
  void flush();  // at the end of a batch: what it allows to be sent, and the ACK

  // --- ConnectionHandle
  void set_user(ConnectionUser* user) override { user_ = user; }
  [[nodiscard]] Tcp& tcp() const override;
  Result<std::size_t> send(std::span<const Bytes> pieces) override { return send(pieces, More::kPush); }
  Result<std::size_t> send(std::span<const Bytes> pieces, More more) override;
  [[nodiscard]] bool waits_for_data() const override;
  [[nodiscard]] bool may_send_in_syn() const override;
  std::size_t open_with(std::span<const Bytes> pieces) override;
  Result<std::size_t> receive(MutableBytes out, Take take) override;
  Status send(buf::Buffer& block, More more) override;
  Result<buf::Buffer> lend() override;
  void give_back(std::size_t bytes) override;
  void push() override;
  void report_progress() override;
  Status shutdown_send() override;
  void shutdown_receive() override;
  void close() override;
  void abort() override;
  [[nodiscard]] State state() const override { return state_; }
  // Before ESTABLISHED a controller is there when data came with the peer's SYN.
  [[nodiscard]] bool usable() const override {
    return synchronized() || (state_ == State::kSynReceived && cc_ != nullptr);
  }
  [[nodiscard]] bool readable() const override;
  [[nodiscard]] bool writable() const override;
  [[nodiscard]] bool peer_closed() const override { return fin_received_; }
  [[nodiscard]] Errno pending_error() const override { return error_; }
  Errno take_error() override;
  Errno take_soft_error() override;
  [[nodiscard]] std::size_t receive_queued() const override { return receive_queue_.bytes(); }
  [[nodiscard]] std::size_t send_queued() const override { return send_queue_.bytes(); }
  [[nodiscard]] std::size_t bytes_to_mark() const override;
  Result<std::uint8_t> urgent_byte(Take take) override;
  [[nodiscard]] Endpoint local() const override { return tuple.local; }
  [[nodiscard]] Endpoint peer() const override { return tuple.peer; }
  [[nodiscard]] Info info() const override;
  Status set_options(const ConnectionOptions& options) override;
  void set_quick_ack(Switch wanted) override;
  [[nodiscard]] const ConnectionOptions& options() const override { return *options_; }
  [[nodiscard]] const Md5Key* md5_key() const;  // that counts for the peer; null: none

  // --- for Tcp and the listener
  void forget_listener() { listener_ = nullptr; }
  bool flush_listed = false;  // in Tcp's list of those to be flushed
  bool retired = false;       // in Tcp's list of those to be freed
  void reset_silently();      // RST to the peer, no word to the user; used when a listener closes
  void check_invariants() const;

 private:
  struct Mark {
    Seq end;  // behind the byte
    bool sent = false;
  };
  struct SendMarks {
    Boundaries ends;           // where segments have to end
    std::deque<Mark> reports;  // what report_progress() waits for
  };
  enum class Ack : std::uint8_t { kNone, kDelayed, kNow };

  // fast_path.cc: false when the segment has to take the long way
  bool fast_path(Arriving& segment);
  bool fast_ack(const Arriving& segment);
  bool fast_data(Arriving& segment);

  // segment_input.cc: each step returns false when the segment is done with
  void input_syn_sent(Arriving& segment);
  bool syn_sent_ack(const Arriving& segment);
  void syn_sent_syn(Arriving& segment);
  bool check_timestamp(const Arriving& segment);
  bool check_sequence(Arriving& segment);
  [[nodiscard]] bool only_ack_counts(const Arriving& segment) const;
  bool check_rst(const Arriving& segment);
  bool check_syn(const Arriving& segment);
  bool check_ack(const Arriving& segment);
  bool ack_in_syn_received(const Arriving& segment);
  void process_ack(const Arriving& segment);
  void duplicate_ack(const Arriving& segment);
  void new_ack(const Arriving& segment);
  std::uint32_t advance(Seq ack, Delivery& delivery);
  [[nodiscard]] std::uint32_t delivered_by(const Delivery& delivery, std::uint32_t acked) const;
  cc::Ack account(const Arriving& segment, const Delivery& delivery, std::uint32_t acked, std::uint32_t before);
  Duration measure_rtt(const Arriving& segment, const Delivery& delivery, std::uint32_t acked);
  void measure_handshake(const Arriving& segment);
  [[nodiscard]] Duration echoed_rtt(const Arriving& segment) const;
  void take_rtt(Duration sample);
  void congestion_on_ack(const cc::Ack& ack);
  void after_advance();
  void fin_acknowledged();
  void update_send_window(const Arriving& segment);
  void check_urgent(const Arriving& segment);  // urgent.cc
  bool process_text(Arriving& segment);
  void store_in_order(Arriving& segment);
  void store_out_of_order(Arriving& segment);
  void accept_data(buf::Buffer data);
  void process_fin(const Arriving& segment, Seq end);
  bool process_content(Arriving& segment);
  void take_crossing_syn_ack(Arriving& segment);
  void fin_in_order();
  void trim(Arriving& segment);
  void note_duplicate(Seq begin, Seq end);
  void accept_timestamp(const Arriving& segment);
  void unacceptable(const Arriving& segment);
  void negotiate(const wire::tcp::Options& options);

  // loss.cc
  SendState& outgoing();
  void let_go_of_send_state();
  [[nodiscard]] std::uint32_t in_flight() const;
  [[nodiscard]] std::uint32_t to_be_reduced(std::uint32_t flight) const;
  [[nodiscard]] std::uint32_t to_be_resent() const;
  void describe_recovery(Info& info) const;
  void ack_with_sack(const Arriving& segment);
  bool take_duplicate_report(const Arriving& segment);
  void take_blocks(const Arriving& segment, std::size_t first, Delivery& delivery);
  void learn_from_delivery(const Arriving& segment, const Delivery& delivery);
  Scoreboard::Found find_losses();
  void turn(const Scoreboard::Found& found, std::uint32_t recover_fs);
  void begin_recovery(std::uint32_t recover_fs);
  void end_repair();
  [[nodiscard]] std::uint32_t congestion_room() const;
  bool resend_lost();
  bool resend_doubtful();
  void look_for_needless(const Arriving& segment);
  void undo(const char* proof);
  void step_frto(const Delivery& delivery, std::uint32_t acked);
  void arm_loss_timer();
  [[nodiscard]] bool may_probe_tail() const;
  void schedule_tail_probe();
  void on_reorder_timeout();
  void on_tail_probe_timeout();
  void step_tail_probe(const Arriving& segment, const Delivery& delivery, std::uint32_t acked, bool repeated);
  void lose_by_timeout();

  void repair_while_reducing();

  // ecn.cc
  [[nodiscard]] std::uint8_t ecn_setup(bool answer) const;
  void settle_ecn(const Arriving& segment);
  void agree_on_ecn(EcnMode mode, std::uint8_t syn_codepoint);
  [[nodiscard]] bool accurate_ecn() const { return negotiated_.ecn == EcnMode::kAccurate; }
  void count_marks(const Arriving& segment, std::size_t size);
  void add_accurate_ecn(wire::tcp::Options& options, std::size_t room);
  std::uint32_t take_marks(const Arriving& segment, std::uint32_t delivered);
  void note_marks(const Arriving& segment);
  std::uint8_t add_ecn(wire::tcp::Header& header, std::uint32_t size);
  [[nodiscard]] bool echoes_marks(const Arriving& segment) const;
  [[nodiscard]] cc::Phase phase_seen(const Arriving& segment) const;
  void hear_echo(const Arriving& segment, cc::Phase before, std::uint32_t acked);

  // icmp_input.cc
  void hear_path_mtu(const ip::IcmpError& error);
  void believe_path_mtu();
  void lower_path_mtu(std::uint32_t mtu);
  void neighbor_is_silent();

  // As on Linux, a stream whose user wants anything else goes without DF, and keeps to what is known of the path.
  [[nodiscard]] bool discovers_path_mtu() const {
    return options_->path_mtu == ip::PathMtuUse::kWant || options_->path_mtu == ip::PathMtuUse::kDo;
  }

  // mtu_probing.cc
  void start_mtu_search();
  void follow_path_mtu(std::uint32_t before, std::uint32_t link_before);
  void suspect_black_hole();
  enum class MtuProbe : std::uint8_t { kNone, kSent, kWaits };
  MtuProbe send_mtu_probe();
  [[nodiscard]] bool may_probe_mtu() const;
  [[nodiscard]] bool mtu_probe_out() const { return rare_ != nullptr && rare_->mtu_search.outstanding(); }
  [[nodiscard]] bool only_mtu_probe_lost(std::uint32_t lost);
  void mtu_probe_acknowledged();
  void mtu_probe_lost();
  void resend_mtu_probe();
  void tell_path_mtu(const char* why);

  // fast_open_io.cc
  void learn_from_syn_ack(const Arriving& segment);
  void take_syn_ack_number(Seq ack);
  [[nodiscard]] bool needs_no_cookie() const;
  [[nodiscard]] std::uint32_t room_in_syn() const;
  std::uint32_t put_in_syn(std::span<const Bytes> pieces);
  void resend_syn_data();
  void repeat_syn_without_data();
  void fast_open_timed_out(bool given_up);
  void emit_fast_open(const char* what);
  bool answer_repeated_syn(const Arriving& segment);
  void handshake_done(const Arriving& segment);

  // output.cc
  void want_output();
  void output();
  struct Plan {
    std::uint32_t size = 0;  // payload bytes
    bool fin = false;
    bool go = false;
  };
  [[nodiscard]] Plan plan_next() const;
  [[nodiscard]] std::uint32_t congestion_window() const;
  [[nodiscard]] std::uint32_t usable_window() const;
  [[nodiscard]] std::uint32_t unsent() const;
  [[nodiscard]] bool worth_sending(std::uint32_t size, std::uint32_t available) const;
  void transmit(Seq seq, std::uint32_t size, wire::tcp::Flags flags);
  void emit(const wire::tcp::Header& header, const wire::tcp::Options& options, std::uint32_t offset,
            std::uint32_t size);
  [[nodiscard]] wire::tcp::Options data_options() const;
  void add_sack(wire::tcp::Options& options, std::size_t room);
  [[nodiscard]] wire::tcp::Options syn_options(bool answer) const;
  void add_urgent_pointer(wire::tcp::Header& header);  // urgent.cc
  void send_syn();
  [[nodiscard]] Seq acceptable_number() const;
  void send_ack();
  void send_challenge_ack();
  void send_rst(Seq seq, wire::tcp::Flags flags);
  void retransmit(Seq seq, std::uint32_t length, const char* why);
  void retransmit_first(const char* why);
  void after_output();
  [[nodiscard]] LimitTimes::Reason what_limits(std::uint32_t rest) const;
  void note_sent(Seq seq, std::uint32_t length, Pushed pushed);
  std::uint16_t window_field();
  void want_ack(Ack when);
  void clear_ack();
  void follow_route();  // looks it up again when routes have changed
  void refresh_route();
  [[nodiscard]] std::uint32_t header_bytes() const;
  [[nodiscard]] std::uint32_t largest_packet() const;
  void update_mss();
  [[nodiscard]] std::uint16_t advertised_mss() const;
  void probe_window();
  void probe_below_window();

  // progress.cc
  void tell_progress();

  // bursts.cc
  [[nodiscard]] std::uint32_t largest_burst() const;
  [[nodiscard]] std::uint32_t most_at_once() const;
  [[nodiscard]] std::uint32_t fitting_burst() const;
  [[nodiscard]] std::uint32_t block_size() const;
  std::size_t room_to_fill();
  void end_segment_here();
  [[nodiscard]] std::size_t send_buffer_used() const;
  void tell_of_room();
  void tune_send_buffer();
  [[nodiscard]] std::uint32_t until_boundary(Seq from) const;
  [[nodiscard]] bool ends_push(Seq end) const;

  // timeout.cc
  void on_timer();
  void on_retransmit_timeout();
  void on_persist_timeout();
  void on_keep_alive_timeout();
  void restart_keep_alive();
  [[nodiscard]] bool keep_alive_gave_up(Duration silence) const;
  void on_loss_timeout();
  void start_retransmit_timer();
  [[nodiscard]] bool gave_up(Duration limit) const;
  void give_up();

  // connection.cc
  void enter(State state);
  void establish();
  void fail_with(Errno error);  // to CLOSED, and the user hears why
  void finish();                // to CLOSED in order
  void enter_time_wait();
  void wait_for_fin();
  void detach();
  void describe_traffic(Info& info) const;
  void notify();
  SendMarks& send_marks() {
    if (send_marks_ == nullptr) send_marks_ = std::make_unique<SendMarks>();
    return *send_marks_;
  }
  RareState& rare() {
    if (rare_ == nullptr) rare_ = std::make_unique<RareState>();
    return *rare_;
  }
  [[nodiscard]] const RareState& rare_view() const;
  [[nodiscard]] bool synchronized() const { return state_ >= State::kEstablished; }
  // (RFC9293-SEND-03)
  [[nodiscard]] bool may_send_data() const {
    return state_ == State::kEstablished || state_ == State::kCloseWait || (state_ == State::kSynReceived && usable());
  }
  [[nodiscard]] std::uint32_t flight() const { return snd_max_ - snd_una_; }
  [[nodiscard]] Seq next_to_read() const {
    return rcv_nxt_ - static_cast<std::uint32_t>(receive_queue_.bytes()) - (fin_received_ ? 1 : 0);
  }
  [[nodiscard]] std::size_t receive_room() const;
  [[nodiscard]] std::size_t offered_buffer() const;
  [[nodiscard]] std::size_t send_room() const;
  [[nodiscard]] std::size_t device_queue() const;
  Status check_sendable();
  Result<std::size_t> receive_nothing();
  void reopen_window(std::size_t taken);
  [[nodiscard]] std::uint32_t now_ticks() const { return ticks_at(context_.now); }
  [[nodiscard]] std::uint32_t ticks_at(Instant time) const;
  // Of a timestamp of the peer's: before the last one that was accepted.
  [[nodiscard]] bool is_older(std::uint32_t timestamp) const {
    return static_cast<std::int32_t>(timestamp - ts_recent_) < 0;
  }
  [[nodiscard]] Seq data_end() const { return data_base_ + static_cast<std::uint32_t>(send_queue_.bytes()); }
  [[nodiscard]] std::uint8_t cc_index() const;
  void start_congestion_control();
  [[nodiscard]] std::uint64_t window_rate() const;
  void update_pacing();
  void window_changed();

  State state_ = State::kClosed;
  bool detached_ = false;    // the user has let go
  bool passive_ = false;     // came from a listener (RFC9293-MUST-11)
  bool fin_queued_ = false;  // the user has closed its sending side
  bool fin_sent_ = false;
  bool fin_received_ = false;  // in order
  bool receive_shut_ = false;
  bool push_ = false;      // the user has ended the queue: PSH on its last byte
  bool refused_ = false;   // a call had more than the buffer took, and the user was not told of room since
  bool held_ = false;      // or wants to add to it: a short end waits for an ACK (MSG_MORE)
  bool fin_seen_ = false;  // the peer's, also ahead of what has arrived
  Ecn ecn_;
  std::uint8_t keep_alive_probes_ = 0;  // unanswered
  bool syn_data_acked_ = false;
  FastOpenFailure fast_open_failure_ = FastOpenFailure::kNone;
  Negotiated negotiated_;
  Errno error_ = Errno::kOk;

  Tcp::Impl& tcp_;
  Context& context_;
  ConnectionUser* user_ = nullptr;
  Listener* listener_ = nullptr;  // until accepted
  SharedOptions options_;
  std::uint32_t number_;
  ip::Path route_;

  // Send sequence space (RFC 9293 §3.3.1). snd_nxt goes back to snd_una after a timeout; snd_max does not.
  Seq iss_, snd_una_, snd_nxt_, snd_max_;
  Seq data_base_;  // sequence number of the send queue's first byte
  Seq snd_wl1_, snd_wl2_;
  std::uint32_t snd_wnd_ = 0;  // scaled: 32 bits (RFC9293-REC-1)
  std::uint32_t max_snd_wnd_ = 0;
  std::uint32_t send_mss_ = 536;  // payload bytes of a full segment
  SendTuning send_tuning_;
  Seq block_begin_;  // of the last block in the queue, see TcpConfig::send_blocks
  Seq pushed_;       // up to here the user, or half of the peer's window, has pushed
  buf::Queue send_queue_;
  std::unique_ptr<SendMarks> send_marks_;  // null: none of either yet

  // Receive sequence space.
  Seq irs_, rcv_nxt_;
  Seq last_ack_sent_;
  Seq fin_seq_;  // of the peer's FIN, while fin_seen_
  std::uint32_t receive_mss_ = 536;
  std::uint32_t lent_ = 0;  // bytes the user has in blocks of ours
  ReceiveWindow window_;
  ReceiveTuning receive_tuning_;
  buf::Queue receive_queue_;
  Reassembly reassembly_;

  // Timestamps (RFC 7323).
  std::uint32_t ts_recent_ = 0;
  std::uint32_t ts_offset_ = 0;
  Instant ts_recent_at_;

  // Round trips and loss.
  CwndUsage cwnd_usage_;
  LimitTimes limit_times_;
  Recovery recovery_;
  BestRate best_rate_;
  RtoEstimator rto_;
  MinRtt min_rtt_;
  // What the retransmission timer waits for.
  enum class LossTimer : std::uint8_t { kRetransmit, kReorder, kTailProbe } loss_timer_ = LossTimer::kRetransmit;
  std::uint8_t syn_repeats_ = 0;    // how often our SYN or SYN-ACK was sent again
  bool full_size_arrived_ = false;  // a segment of send_mss_ was acknowledged
  bool timing_ = false;             // the SYN, since progress_at_
  Ack ack_due_ = Ack::kNone;
  bool output_due_ = false;           // at the end of the batch
  std::uint8_t quick_acks_;           // segments still to be acknowledged at once
  std::uint8_t timeouts_in_row_ = 0;  // at most UINT8_MAX
  Instant progress_at_;               // last time the peer acknowledged something, or we began to wait for that
  Instant last_sent_at_ = Instant::past();
  Instant last_received_at_;

  // Acknowledgements.
  std::uint32_t unacked_bytes_ = 0;    // in-order bytes since the last ACK
  std::uint32_t last_data_ticks_ = 0;  // now_ticks() when data came last

  std::uint64_t delivered_ = 0;  // bytes acknowledged or SACKed
  std::uint64_t bytes_sent_ = 0, bytes_received_ = 0, bytes_acked_ = 0;
  std::uint32_t segments_in_ = 0, segments_out_ = 0, data_segments_in_ = 0, data_segments_out_ = 0;

  Pacer pacer_;
  TimerSet timers_;
  std::unique_ptr<SendState> out_;  // while data is outstanding, and as long as it is worth keeping
  std::unique_ptr<RareState> rare_;
  std::unique_ptr<cc::Controller> cc_;      // as long as it is usable()
  std::unique_ptr<FastOpening> fast_open_;  // until the handshake is over, if it is one of RFC 7413
};

}  // namespace sluice::tcp
