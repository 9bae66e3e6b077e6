// TCP as the socket layer and the stack see it: RFC 9293 §3.9.1 (the user interface).
#pragma once

#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/ip/ip.h"
#include "stack/ip/types.h"
#include "stack/tcp/accurate_ecn.h"
#include "stack/tcp/cc/congestion.h"
#include "stack/tcp/options.h"

namespace sluice::tcp {

using ip::Address;
using ip::Endpoint;

enum class State : std::uint8_t {  // RFC 9293 §3.3.2
  kClosed,
  kListen,
  kSynSent,
  kSynReceived,
  kEstablished,
  kFinWait1,
  kFinWait2,
  kCloseWait,
  kClosing,
  kLastAck,
  kTimeWait,
};
const char* name_of(State state);  // "ESTABLISHED"

// Told when something about a connection changed; asks the connection what. Called from within poll() or a call.
class ConnectionUser {
 public:
  virtual ~ConnectionUser() = default;
  // Any of: connected, data or end of stream arrived, send space freed, error, closed.
  virtual void on_tcp_change() = 0;
  // What report_progress() asked for, now. `offset`: of the byte in the stream of this connection, modulo 2^32.
  enum class Progress : std::uint8_t { kSent, kAcknowledged };
  virtual void on_tcp_progress(Progress, std::uint32_t /*offset*/, Instant /*now*/) {}
};

class ListenerUser {
 public:
  virtual ~ListenerUser() = default;
  virtual void on_tcp_acceptable() = 0;
};

// Why data did not go with a SYN, or was not taken there (RFC 7413).
enum class FastOpenFailure : std::uint8_t { kNone, kNoCookie, kNotAcknowledged, kSynRetransmitted };

// Facts about a connection, for people and tests. Sizes in bytes.
struct Info {
  State state = State::kClosed;
  std::uint32_t snd_una = 0, snd_nxt = 0, snd_wnd = 0, rcv_nxt = 0, rcv_wnd = 0;
  std::uint32_t send_mss = 0, receive_mss = 0;
  std::uint32_t cwnd = 0, ssthresh = 0, flight = 0;
  std::uint8_t send_scale = 0, receive_scale = 0;
  bool timestamps = false, window_scaling = false, sack = false, ecn = false;
  bool accurate_ecn = false;  // RFC 9768; ecn is true as well
  AccurateEcn::Totals ecn_counts{};
  bool ecn_seen = false;        // the peer sends ECN-capable packets
  bool quick_ack = true;        // acknowledgements are not delayed at present
  bool recovering = false;      // fast recovery
  bool syn_data_acked = false;  // the data of the SYN was taken, by us or by the peer (RFC 7413)
  FastOpenFailure fast_open_failure = FastOpenFailure::kNone;
  Duration srtt{}, rttvar{}, rto{}, min_rtt{};  // min_rtt: of the last minutes; zero when not known
  std::uint64_t bytes_sent = 0, bytes_received = 0, bytes_retransmitted = 0, bytes_acked = 0;
  std::uint32_t retransmits = 0, timeouts = 0, timeouts_in_row = 0, backoff = 0, probes = 0;
  std::uint32_t out_of_order = 0;  // segments received
  std::uint32_t segments_in = 0, segments_out = 0, data_segments_in = 0, data_segments_out = 0;
  std::uint32_t unsent = 0, path_mtu = 0, advertised_mss = 0;
  Duration since_data_sent{}, since_data_received{}, since_ack_received{};
  std::size_t send_queued = 0, receive_queued = 0;  // unacknowledged and unsent; unread
  std::size_t send_buffer = 0, receive_buffer = 0;  // what these may grow to at present
  Duration receive_rtt{};                           // of the receiving side; zero: not known
  std::uint64_t pacing_rate = 0;                    // bytes/s; 0: not paced
  std::uint32_t max_pacing_rate = UINT32_MAX;       // the user's limit; UINT32_MAX: none
  const char* congestion = "";
  // Loss recovery, bytes; of what is in flight.
  std::uint32_t sacked = 0, lost = 0, retransmitted = 0;
  std::uint32_t in_network = 0;  // in flight, less what is SACKed or lost
  cc::Phase phase = cc::Phase::kOpen;
  std::uint32_t repaired = 0;  // of what is retransmitted: lost before
  bool reordering_seen = false;
  std::uint32_t reordering = 0, reordering_events = 0;  // how far apart at most; how often
  std::uint64_t delivered = 0;                          // acknowledged or SACKed
  std::uint32_t duplicates_reported = 0;                // D-SACKs received
  std::uint64_t delivery_rate = 0;                      // bytes/s; 0: not measured yet
  bool delivery_app_limited = false;                    // it was all the application sent
  Duration busy_time{};                                 // with something to be sent or acknowledged; of that:
  Duration peer_limited_time{}, buffer_limited_time{};  // by its window; by the send buffer
};

// The user's side of one connection. Owned by Tcp; valid from connect() or accept() until close() or abort() was
// called on it. After close() it lives on inside Tcp until its state machine ends, and tells the user nothing more.
class Tcp;

class ConnectionHandle {
 public:
  virtual ~ConnectionHandle() = default;

  virtual void set_user(ConnectionUser* user) = 0;  // may be null
  [[nodiscard]] virtual Tcp& tcp() const = 0;       // that it belongs to

  // Copies what fits into the send queue and returns how many bytes that was (> 0, unless the input is empty).
  // kAgain: queue full; kPipe: we have shut down sending, or the connection is over; a pending error comes first, once.
  // kNotConnected: not yet or never connected. Before ESTABLISHED data is queued (RFC9293-SEND-01).
  virtual Result<std::size_t> send(std::span<const Bytes> pieces) = 0;
  // Sets PSH on the last byte queued so far; kMore holds a partial segment back until more comes (MSG_MORE); kRecord
  // pushes too, and what follows begins a segment (MSG_EOR); kUrgent: what is queued goes at once, and the last byte is
  // urgent (RFC9293-MUST-30).
  enum class More : std::uint8_t { kPush, kMore, kRecord, kUrgent };
  virtual Result<std::size_t> send(std::span<const Bytes> pieces, More more) = 0;

  // Copies up to out.size() bytes; 0 means the end of the stream. kAgain: nothing now; kConnectionReset, kTimedOut ...
  // once, after which 0. Data received before the peer's FIN stays readable (RFC9293-RECV-01).
  enum class Take : std::uint8_t { kConsume, kPeek };
  virtual Result<std::size_t> receive(MutableBytes out, Take take) = 0;

  // The same two without a copy, in blocks of the stack's pool.
  // Takes the block, whose view is the data, all or nothing: kAgain when the queue is full already, other errors as
  // send(). Below kLeastOwnBlock bytes the view is copied behind what is queued, as far as it fits there: many tiny
  // blocks would not fit into the gather list of a segment. What the block holds behind its view is sent by nobody.
  static constexpr std::size_t kLeastOwnBlock = std::size_t{16} << 10;
  virtual Status send(buf::Buffer& block, More more) = 0;
  // The first block of the receive queue, with the view on its unread bytes; empty at the end of the stream. Errors as
  // receive(). The bytes count as read, but the window stays as small as if they were not, until give_back().
  virtual Result<buf::Buffer> lend() = 0;
  virtual void give_back(std::size_t bytes) = 0;  // of one lend()

  virtual void push() = 0;  // sends at once what Nagle, cork or kMore hold back
  // The user is told when the byte that is queued last is sent for the first time, perhaps within this call, and when
  // it is acknowledged.
  virtual void report_progress() = 0;
  virtual Status shutdown_send() = 0;   // FIN after all queued data; kNotConnected
  virtual void shutdown_receive() = 0;  // reads give 0 instead of kAgain; what still comes can be read, as on Linux
  virtual void close() = 0;             // graceful, or RST if unread data is left (RFC9293-SHLD-3); ends the handle
  virtual void abort() = 0;             // RST now (RFC9293-ABORT-01); ends the handle

  [[nodiscard]] virtual State state() const = 0;
  // Data may be sent and received: from ESTABLISHED on, or before that where it came with the peer's SYN (RFC 7413).
  [[nodiscard]] virtual bool usable() const = 0;
  // Of Opening::kWithData, until open_with(): SYN-SENT, but no SYN was sent.
  [[nodiscard]] virtual bool waits_for_data() const = 0;
  [[nodiscard]] virtual bool may_send_in_syn() const = 0;  // there is a cookie for this server, or none is needed
  // Sends the SYN with what may go in it, and returns how many bytes that were; it may be none.
  virtual std::size_t open_with(std::span<const Bytes> pieces) = 0;
  [[nodiscard]] virtual bool readable() const = 0;     // receive() would not give kAgain
  [[nodiscard]] virtual bool writable() const = 0;     // send() would not give kAgain
  [[nodiscard]] virtual bool peer_closed() const = 0;  // FIN received and all data before it
  [[nodiscard]] virtual Errno pending_error() const = 0;
  virtual Errno take_error() = 0;  // kOk when none; clears it
  // What an ICMP error said that does not end the connection; forgotten when the peer acknowledges something.
  virtual Errno take_soft_error() = 0;
  [[nodiscard]] virtual std::size_t receive_queued() const = 0;  // bytes that can be read now
  [[nodiscard]] virtual std::size_t send_queued() const = 0;     // bytes not yet acknowledged
  // Unread bytes before the peer's urgent byte, come or not; kNoMark when there is none (RFC9293-MUST-33).
  static constexpr std::size_t kNoMark = SIZE_MAX;
  [[nodiscard]] virtual std::size_t bytes_to_mark() const = 0;
  // That byte alone, once; it also stays in the stream. kInvalid: none, or taken; kAgain: it has not come.
  virtual Result<std::uint8_t> urgent_byte(Take take) = 0;
  [[nodiscard]] virtual Endpoint local() const = 0;
  [[nodiscard]] virtual Endpoint peer() const = 0;
  [[nodiscard]] virtual Info info() const = 0;

  // Socket options take effect at once. kInvalid: out of range; kNoProtocolOption: congestion control not known.
  virtual Status set_options(const ConnectionOptions& options) = 0;
  // On: what comes is acknowledged at once for a while, beginning with what waits; off: acknowledgements are delayed.
  virtual void set_quick_ack(Switch wanted) = 0;
  [[nodiscard]] virtual const ConnectionOptions& options() const = 0;
};

class ListenerHandle {
 public:
  virtual ~ListenerHandle() = default;
  // The oldest connection that is usable; kAgain when none waits.
  virtual Result<ConnectionHandle*> accept() = 0;
  [[nodiscard]] virtual bool acceptable() const = 0;
  [[nodiscard]] virtual std::size_t waiting() const = 0;  // connections to be accepted
  [[nodiscard]] virtual std::size_t backlog() const = 0;
  virtual void set_backlog(int backlog) = 0;
  virtual void set_options(const ConnectionOptions& options) = 0;  // inherited by connections made from now on
  // How many connections may wait for the end of their handshake while the data of their SYN is at hand already; 0:
  // data in a SYN is not taken (RFC 7413). And the keys for cookies, count 0: the stack's.
  virtual void set_fast_open_limit(std::uint32_t limit) = 0;
  virtual void set_fast_open_keys(const FastOpenKeys& keys) = 0;
  [[nodiscard]] virtual std::uint32_t fast_open_limit() const = 0;
  virtual void close() = 0;  // resets what was not accepted; ends the handle
  [[nodiscard]] virtual Endpoint local() const = 0;
};

class Tcp : public ip::Transport {
 public:
  Tcp(Context& context, ip::Ip& ip, buf::Pool& pool, const TcpConfig& config);
  ~Tcp() override;

  // Starts an active open: SYN-SENT. local.port 0 chooses one (RFC 6056), local.address any() lets IP choose.
  // kAddressInUse, kAddressNotAvailable, kNetworkUnreachable, kInvalid (RFC9293-MUST-46), kNoBuffers (RFC9293-OPEN-03).
  // kWithData: the SYN waits for open_with() (RFC 7413).
  enum class Opening : std::uint8_t { kAtOnce, kWithData };
  Result<ConnectionHandle*> connect(const Endpoint& local, const Endpoint& peer, const ConnectionOptions& options,
                                    ConnectionUser* user, Opening opening = Opening::kAtOnce);
  // local.address any() accepts on all addresses. Bounds: `backlog` connections waiting for accept(), and the SYN
  // queue.
  Result<ListenerHandle*> listen(const Endpoint& local, PortSharing sharing, int backlog,
                                 const ConnectionOptions& options, ListenerUser* user);
  // Ports are claimed at bind() time, before connect() or listen(). port 0 chooses a random one.
  // kAddressInUse, kAddressNotAvailable
  Result<Endpoint> claim_port(const Endpoint& local, PortSharing sharing);
  void release_port(const Endpoint& local, PortSharing sharing);  // as it was claimed

  [[nodiscard]] const TcpConfig& config() const;
  // Holds for connections and listeners made from now on; those there are keep what was copied or agreed.
  void set_config(const TcpConfig& config);
  void forget_fast_open();  // what is known of servers (RFC 7413)

  using Visitor = void (*)(void* arg, const Endpoint& local, const Endpoint& peer, const Info& info);
  void visit_connections(Visitor visit, void* arg) const;

  void on_datagram(ip::Datagram datagram) override;
  void on_icmp_error(const ip::IcmpError& error) override;
  void on_batch_end() override;

  struct Impl;

 private:
  Impl* impl_;
};

}  // namespace sluice::tcp
