// The stream socket: unbound, bound, listening, or with a connection. errno values and readiness as tcp(7), connect(2),
// poll(2) have them.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "stack/socket/object.h"
#include "stack/socket/reports.h"
#include "stack/tcp/cc/registry.h"

namespace sluice::socket {
namespace {

using More = tcp::ConnectionHandle::More;
using Take = tcp::ConnectionHandle::Take;
More more_of(SendFlags flags) {
  if (flags.urgent) return More::kUrgent;
  return flags.more ? More::kMore : flags.end_of_record ? More::kRecord : More::kPush;
}
using tcp::Switch;

Switch to_switch(std::int64_t v) {
  return v != 0 ? Switch::kOn : Switch::kOff;
}
std::int64_t from_switch(Switch s) {
  return s == Switch::kOn ? 1 : 0;
}

bool is_over(tcp::State s) {
  return s == tcp::State::kClosed || s == tcp::State::kTimeWait;
}

constexpr std::int64_t kMinBuffer = 2304;  // as Linux: SO_RCVBUF has this floor, SO_SNDBUF twice it
constexpr std::int64_t kMaxBuffer = 64 << 20;

constexpr std::int64_t kMaxLinger2 = 120;     // s, as Linux
constexpr std::int64_t kMaxFastOpens = 4096;  // as Linux's somaxconn

// Between a time and how often a SYN or SYN-ACK is sent again in it: after 1, 2, 4 ... s.
Duration period_of(int retries) {
  constexpr Duration kLongest = 120_s;
  Duration wait = 1_s;
  Duration sum = wait;
  for (int i = 1; i < retries; ++i) {
    wait = std::min(wait * 2, kLongest);
    sum += wait;
  }
  return sum;
}
std::uint8_t retries_of(Duration time) {
  if (time <= Duration()) return 0;
  int retries = 1;
  while (retries < UINT8_MAX && period_of(retries) < time) ++retries;
  return static_cast<std::uint8_t>(retries);
}

// Of a socket without a connection: what one is going to have, and what a listener has beside that (RFC 7413).
struct Options : tcp::ConnectionOptions {
  std::uint32_t fast_open_limit = 0;
  tcp::FastOpenKeys fast_open_keys{};
};

class Stream final : public Object, private tcp::ConnectionUser, private tcp::ListenerUser {
 public:
  Stream(tcp::Tcp& tcp, Family family, Handle h)
      : Object(Type::kStream, h), tcp_(tcp), options_(std::make_unique<Options>()) {
    local_.address = Address::any(family);
  }
  Stream(tcp::Tcp& tcp, tcp::ConnectionHandle* connection, Handle h)
      : Object(Type::kStream, h), tcp_(tcp), connection_(connection), connected_(true) {
    connection->set_user(this);
  }
  ~Stream() override {
    if (connection_ != nullptr) connection_->close();
    if (listener_ != nullptr) listener_->close();
    if (claimed_) tcp_.release_port(local_, claimed_sharing_);
  }

  Status bind(const Endpoint& local) override;
  Status listen(int backlog) override;
  Result<tcp::ConnectionHandle*> accept() override;
  Status connect(const Endpoint& peer) override;
  Status disconnect() override;
  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) override;
  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override;
  Result<Lent> lend() override;
  void give_back(std::size_t bytes) override;
  Status send(buf::Buffer& block, SendFlags flags) override;
  void report_copied() override;
  void report_progress() override;
  Result<Report> take_report() override;
  Status shutdown(Shutdown how) override;
  [[nodiscard]] Endpoint local_name() const override;
  [[nodiscard]] Result<Endpoint> peer_name() const override;
  Status set_option(Option option, std::int64_t value) override;
  Result<std::int64_t> get_option(Option option) override;
  Status set_fast_open_keys(const tcp::FastOpenKeys& keys) override;
  [[nodiscard]] Result<tcp::FastOpenKeys> fast_open_keys() const override;
  [[nodiscard]] bool in_handshake() const override;
  [[nodiscard]] Ready ready() const override;
  [[nodiscard]] Result<std::size_t> readable_bytes() const override;
  [[nodiscard]] Result<tcp::Info> tcp_info() const override;

 private:
  void on_tcp_change() override { changed(); }
  void on_tcp_progress(Progress what, std::uint32_t offset, Instant now) override;
  void on_tcp_acceptable() override { changed(); }
  void forget_connection() {  // one that has failed: the socket may connect again
    options_ = std::make_unique<Options>(Options{connection_->options()});
    connection_->close();
    connection_ = nullptr;
  }
  void stop_listening() {
    listener_->close();
    listener_ = nullptr;
    changed();
  }
  [[nodiscard]] const tcp::ConnectionOptions& options() const {
    return connection_ != nullptr ? connection_->options() : *options_;
  }
  // As a destination, no address is this host, as on Linux.
  [[nodiscard]] Address to_this_host(const Address& peer) const {
    if (!peer.is_any()) return peer;
    return local_.address.is_any() ? Address(wire::Ipv4Address{0x7f000001}) : local_.address;
  }
  [[nodiscard]] Status check_connection(Errno without) const;
  Status begin_connection(const Endpoint& peer, tcp::Tcp::Opening opening);
  Status prepare_first(const Endpoint* destination);
  Result<Received> receive_urgent(std::span<const MutableBytes> pieces, ReceiveFlags flags);
  [[nodiscard]] bool leaves_mark_out() const {
    return options().urgent_inline == Switch::kOff && connection_->bytes_to_mark() == 0;
  }
  [[nodiscard]] bool has_to_read() const;
  Result<Received> peek(std::span<const MutableBytes> pieces);
  Status take_fast_open_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  Status take_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  Status take_tcp_option(tcp::ConnectionOptions& options, Option option, std::int64_t value);
  [[nodiscard]] Result<std::int64_t> get_tcp_option(Option option) const;

  tcp::Tcp& tcp_;
  tcp::ConnectionHandle* connection_ = nullptr;
  tcp::ListenerHandle* listener_ = nullptr;
  std::unique_ptr<Options> options_;  // null while there is a connection: it has them
  Endpoint local_;
  Errno left_error_ = Errno::kOk;  // of a connection that is forgotten already
  bool shut_read_ = false;
  bool shut_write_ = false;
  bool connect_cut_ = false;  // the forgotten one was in its handshake, and connect() is to tell
  bool claimed_ = false;
  bool connected_ = false;            // connect() has succeeded and was told so, or accepted
  std::unique_ptr<Reports> reports_;  // null: none ever
  tcp::PortSharing sharing_;          // wanted
  tcp::PortSharing claimed_sharing_;
};

Status Stream::bind(const Endpoint& local) {
  const bool alive = connection_ != nullptr && !is_over(connection_->state());  // one that has failed may be bound anew
  if (claimed_ || alive || listener_ != nullptr) return fail(Errno::kInvalid);
  const auto bound = tcp_.claim_port(local, sharing_);
  if (!bound) return fail(bound.error());
  local_ = *bound;
  claimed_ = true;
  claimed_sharing_ = sharing_;
  return {};
}

Status Stream::listen(int backlog) {
  if (connection_ != nullptr) return fail(Errno::kInvalid);
  if (listener_ != nullptr) return listener_->set_backlog(backlog), Status();
  if (!claimed_) {
    if (const Status bound = bind(local_); !bound) return bound;
  }
  const auto listener = tcp_.listen(local_, claimed_sharing_, backlog, *options_, this);
  if (!listener) return fail(listener.error());
  listener_ = *listener;
  if (options_->fast_open_limit > 0) listener_->set_fast_open_limit(options_->fast_open_limit);
  listener_->set_fast_open_keys(options_->fast_open_keys);
  return {};
}

Result<tcp::ConnectionHandle*> Stream::accept() {
  if (listener_ == nullptr) return fail(Errno::kInvalid);
  return listener_->accept();
}

Status Stream::connect(const Endpoint& peer) {
  if (listener_ != nullptr) return fail(Errno::kIsConnected);
  if (connection_ != nullptr) {
    if (connected_ || connection_->waits_for_data()) return fail(Errno::kIsConnected);
    if (in_handshake()) return fail(Errno::kAlready);
    if (const Errno error = connection_->take_error(); error != Errno::kOk) return forget_connection(), fail(error);
    if (connection_->state() == tcp::State::kClosed) return forget_connection(), fail(Errno::kConnectionAborted);
    connected_ = true;  // the second call tells that the first has succeeded
    return {};
  }
  const bool waits = options_->fast_open_connect == Switch::kOn && tcp_.config().fast_open_client == Switch::kOn;
  const auto opening = waits ? tcp::Tcp::Opening::kWithData : tcp::Tcp::Opening::kAtOnce;
  if (const Status begun = begin_connection(peer, opening); !begun) return begun;
  if (waits && connection_->may_send_in_syn()) return changed(), Status();  // the first send() does the rest
  if (waits) (void)connection_->open_with({});
  return fail(Errno::kInProgress);
}

Status Stream::begin_connection(const Endpoint& peer, tcp::Tcp::Opening opening) {
  const Errno error = std::exchange(left_error_, Errno::kOk);
  if (std::exchange(connect_cut_, false) && error != Errno::kOk) return fail(error);
  const auto connection = tcp_.connect(local_, {to_this_host(peer.address), peer.port}, *options_, this, opening);
  if (!connection) return fail(connection.error());
  connection_ = *connection;
  options_.reset();
  return {};
}

// Before a send() with MSG_FASTOPEN, of a socket that has no connection, or one that waits for data (RFC 7413 §4.3.1).
Status Stream::prepare_first(const Endpoint* destination) {
  if (tcp_.config().fast_open_client == Switch::kOff) return fail(Errno::kNotSupported);
  if (listener_ != nullptr || connected_) return fail(Errno::kIsConnected);
  if (connection_ != nullptr)
    return in_handshake() && !connection_->waits_for_data() ? fail(Errno::kAlready) : Status();
  if (destination == nullptr) return fail(Errno::kInvalid);
  return begin_connection(*destination, tcp::Tcp::Opening::kWithData);
}

// Whatever there is ends at once; the peer of a connection gets a reset. An address that was bound stays.
Status Stream::disconnect() {
  if (listener_ != nullptr) stop_listening();
  if (connection_ == nullptr) return {};
  left_error_ = is_over(connection_->state()) ? connection_->take_error() : Errno::kConnectionReset;
  options_ = std::make_unique<Options>(Options{connection_->options()});
  connection_->abort();
  connection_ = nullptr;
  connected_ = shut_read_ = shut_write_ = false;
  return changed(), Status();
}

// Whether there is a connection that is no longer in its handshake; else kAgain, or `without` when there is none.
Status Stream::check_connection(Errno without) const {
  if (connection_ == nullptr) return fail(without);
  if (in_handshake()) return fail(Errno::kAgain);
  return {};
}

bool Stream::in_handshake() const {
  if (connection_ == nullptr) return false;
  const tcp::State state = connection_->state();
  return (state == tcp::State::kSynSent || state == tcp::State::kSynReceived) && !connection_->usable();
}

Result<std::size_t> Stream::send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) {
  if (flags.fast_open) {
    if (const Status prepared = prepare_first(destination); !prepared) return fail(prepared.error());
  }
  if (connection_ != nullptr && connection_->waits_for_data()) {
    const std::size_t taken = connection_->open_with(pieces);
    changed();
    return taken > 0 ? Result<std::size_t>(taken) : fail(Errno::kInProgress);
  }
  if (const Status there = check_connection(Errno::kPipe); !there) return fail(there.error());
  return connection_->send(pieces, more_of(flags));
}

// The first data of a connection that waits for it: what fits into the SYN is copied there, the rest is queued.
Status Stream::send(buf::Buffer& block, SendFlags flags) {
  if (connection_ != nullptr && connection_->waits_for_data()) {
    const Bytes view = block.bytes();
    block.trim_front(connection_->open_with(std::span(&view, 1)));
    changed();
  } else if (const Status there = check_connection(Errno::kPipe); !there) {
    return there;
  }
  return connection_->send(block, more_of(flags));
}

Result<Lent> Stream::lend() {
  if (const Status there = check_connection(Errno::kNotConnected); !there) return fail(there.error());
  auto block = connection_->lend();
  if (!block) return fail(block.error());
  connected_ = true;  // so it stays the connection of this socket, which gets the bytes back
  return Lent{std::move(*block), {}};
}

void Stream::give_back(std::size_t bytes) {
  if (connection_ != nullptr) connection_->give_back(bytes);
}

// A read does not cross the urgent mark; the next one begins behind the byte there, or with it (SO_OOBINLINE).
Result<Received> Stream::receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  if (const Status there = check_connection(Errno::kNotConnected); !there) return fail(there.error());
  if (flags.urgent) return receive_urgent(pieces, flags);
  if (flags.peek) return peek(pieces);
  if (std::array<std::uint8_t, 1> left_out{}; leaves_mark_out()) (void)connection_->receive(left_out, Take::kConsume);
  std::size_t room = connection_->bytes_to_mark() != 0 ? connection_->bytes_to_mark() : SIZE_MAX;
  Received got;
  for (MutableBytes piece : pieces) {
    if (piece.empty()) continue;
    piece = piece.first(std::min(piece.size(), room));
    const auto n = connection_->receive(piece, Take::kConsume);
    if (!n) {
      if (got.size > 0) break;
      return fail(n.error());
    }
    got.size += *n;
    room -= *n;
    if (*n < piece.size() || room == 0 || connection_->receive_queued() == 0) break;
  }
  return got;
}

Result<Received> Stream::receive_urgent(std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  if (options().urgent_inline == Switch::kOn) return fail(Errno::kInvalid);
  const auto byte = connection_->urgent_byte(flags.peek ? Take::kPeek : Take::kConsume);
  if (!byte) return fail(byte.error());
  const std::array<std::uint8_t, 1> one{*byte};
  Received got;
  got.size = scatter(one, pieces);
  got.truncated = got.size == 0;
  got.urgent = true;
  return got;
}

// The connection shows its first bytes, into one place only.
Result<Received> Stream::peek(std::span<const MutableBytes> pieces) {
  const std::size_t skip = leaves_mark_out() ? 1 : 0;
  const std::size_t mark = connection_->bytes_to_mark();
  const std::size_t most = mark != 0 && mark != tcp::ConnectionHandle::kNoMark ? mark : SIZE_MAX;
  Received got;
  if (pieces.size() <= 1 && skip == 0) {
    const MutableBytes room = pieces.empty() ? MutableBytes() : pieces[0].first(std::min(pieces[0].size(), most));
    const auto n = pieces.empty() ? Result<std::size_t>(std::size_t{0}) : connection_->receive(room, Take::kPeek);
    if (!n) return fail(n.error());
    got.size = *n;
    return got;
  }
  std::size_t room = skip;
  for (const MutableBytes piece : pieces) room += piece.size();
  std::vector<std::uint8_t> together(
      std::min(std::clamp<std::size_t>(connection_->receive_queued(), 1, std::max<std::size_t>(room, 1)), most));
  const auto n = connection_->receive(together, Take::kPeek);
  if (!n) return fail(n.error());
  if (*n == skip && skip != 0) return connection_->peer_closed() ? Result<Received>(got) : fail(Errno::kAgain);
  got.size = scatter(std::span(together).subspan(skip, *n - skip), pieces);
  return got;
}

// Something that a read would return.
bool Stream::has_to_read() const {
  if (!connection_->readable()) return false;
  const bool only_mark = leaves_mark_out() && connection_->receive_queued() == 1;
  return !only_mark || connection_->peer_closed() || connection_->pending_error() != Errno::kOk;
}

void Stream::report_copied() {
  if (connection_ == nullptr || options().zero_copy == Switch::kOff) return;
  if (reports_ == nullptr) reports_ = std::make_unique<Reports>();
  reports_->copied();
  changed();
}

void Stream::report_progress() {
  if (connection_ != nullptr) connection_->report_progress();
}

// To a device that takes packets at once a byte is queued and sent in the same moment.
void Stream::on_tcp_progress(Progress what, std::uint32_t offset, Instant now) {
  if (reports_ == nullptr) reports_ = std::make_unique<Reports>();
  if (what == Progress::kSent) {
    reports_->add({Report::Kind::kQueued, offset, offset, now});
    reports_->add({Report::Kind::kSent, offset, offset, now});
  } else {
    reports_->add({Report::Kind::kAcknowledged, offset, offset, now});
  }
  changed();
}

Result<Report> Stream::take_report() {
  if (reports_ == nullptr || reports_->empty()) return fail(Errno::kAgain);
  return reports_->take();
}

Status Stream::shutdown(Shutdown how) {
  if (listener_ != nullptr) {
    if (how != Shutdown::kWrite) stop_listening();
    return {};
  }
  if (connection_ == nullptr) return fail(Errno::kNotConnected);
  const tcp::State state = connection_->state();
  if (is_over(state)) return fail(Errno::kNotConnected);
  if (state == tcp::State::kSynSent) {  // whoever waits for the handshake is told
    forget_connection();
    left_error_ = Errno::kConnectionReset;
    connect_cut_ = true;
    return changed(), Status();
  }
  shut_read_ = shut_read_ || how != Shutdown::kWrite;
  shut_write_ = shut_write_ || how != Shutdown::kRead;
  if (how != Shutdown::kWrite) connection_->shutdown_receive();
  return how != Shutdown::kRead ? connection_->shutdown_send() : Status();
}

Endpoint Stream::local_name() const {
  return connection_ != nullptr ? connection_->local() : local_;
}

Result<Endpoint> Stream::peer_name() const {
  if (connection_ == nullptr) return fail(Errno::kNotConnected);
  const tcp::State state = connection_->state();
  if (state == tcp::State::kSynSent || is_over(state)) return fail(Errno::kNotConnected);
  return connection_->peer();
}

// As Linux's tcp_poll: a socket never connected is "hung up"; a failed connect is readable, writable and in error.
Ready Stream::ready() const {
  if (listener_ != nullptr) return listener_->acceptable() ? Ready::kIn : Ready::kNone;
  if (connection_ == nullptr) {
    const Ready idle = Ready::kOut | Ready::kHangup;
    return left_error_ != Errno::kOk ? idle | Ready::kError : idle;
  }
  const tcp::State state = connection_->state();
  Ready r = Ready::kNone;
  if (in_handshake()) return connection_->waits_for_data() ? Ready::kOut : r;
  if (has_to_read()) r = r | Ready::kIn;
  if (connection_->urgent_byte(Take::kPeek)) r = r | Ready::kUrgent;
  if (connection_->writable()) r = r | Ready::kOut;
  const bool reports = reports_ != nullptr && !reports_->empty();
  if (reports || connection_->pending_error() != Errno::kOk) r = r | Ready::kError;
  const bool read_over = connection_->peer_closed() || state == tcp::State::kClosed || shut_read_;
  if (read_over) r = r | Ready::kReadHangup;
  const bool both_over = state == tcp::State::kClosed || state == tcp::State::kTimeWait ||
                         state == tcp::State::kLastAck || state == tcp::State::kClosing || (read_over && shut_write_);
  if (both_over) r = r | Ready::kHangup;
  return r;
}

Result<std::size_t> Stream::readable_bytes() const {
  if (listener_ != nullptr) return fail(Errno::kInvalid);
  if (connection_ == nullptr) return std::size_t{0};
  const bool in_line = options().urgent_inline == Switch::kOn;
  return std::min(connection_->receive_queued(), in_line ? SIZE_MAX : connection_->bytes_to_mark());
}

Result<tcp::Info> Stream::tcp_info() const {
  if (connection_ != nullptr) return connection_->info();
  tcp::Info info;
  if (listener_ != nullptr) info.state = tcp::State::kListen;
  return info;
}

Status Stream::set_option(Option option, std::int64_t value) {
  tcp::ConnectionOptions wanted = options();
  if (const Status taken = take_option(wanted, option, value); !taken) return taken;
  if (connection_ != nullptr) {
    const Status done = connection_->set_options(wanted);
    // Setting TCP_NODELAY also sends what is held back, corked or not, as on Linux.
    if (done && option == Option::kTcpNoDelay && value != 0) connection_->push();
    return done;
  }
  static_cast<tcp::ConnectionOptions&>(*options_) = wanted;
  if (listener_ != nullptr) listener_->set_options(wanted);
  return {};
}

Status Stream::take_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const auto in_range = [v](std::int64_t low, std::int64_t high) { return v >= low && v <= high; };
  const Status bad = fail(Errno::kInvalid);
  switch (option) {
    case Option::kReuseAddress:
      return sharing_.address = to_switch(v), Status();
    case Option::kReusePort:
      return sharing_.port = to_switch(v), Status();
    case Option::kBroadcast:
      return {};  // without effect here, as on Linux
    case Option::kKeepAlive:
      return options.keep_alive = to_switch(v), Status();
    case Option::kUrgentInline:
      return options.urgent_inline = to_switch(v), Status();
    case Option::kLinger:
      options.linger = v >= 0 ? Switch::kOn : Switch::kOff;
      return options.linger_time = static_cast<std::uint16_t>(std::clamp<std::int64_t>(v, 0, UINT16_MAX)), Status();
    case Option::kZeroCopy:
      return in_range(0, 1) ? (options.zero_copy = to_switch(v), Status()) : bad;
    case Option::kSendBuffer:
      return options.send_buffer = static_cast<std::uint32_t>(std::clamp(v, 2 * kMinBuffer, kMaxBuffer)), Status();
    case Option::kReceiveBuffer:
      return options.receive_buffer = static_cast<std::uint32_t>(std::clamp(v, kMinBuffer, kMaxBuffer)), Status();
    case Option::kIpTtl:
      return in_range(-1, 255) && v != 0
                 ? (options.ttl = static_cast<std::uint8_t>(std::max<std::int64_t>(v, 0)), Status())
                 : bad;
    case Option::kIpTos:
      return in_range(0, 255) ? (options.tos = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kIpMtuDiscover:
      return {};  // TCP always discovers the path MTU
    default:
      return take_tcp_option(options, option, v);
  }
}

Status Stream::take_tcp_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const auto in_range = [v](std::int64_t low, std::int64_t high) { return v >= low && v <= high; };
  const Status bad = fail(Errno::kInvalid);
  switch (option) {
    case Option::kTcpNoDelay:
      return options.no_delay = to_switch(v), Status();
    case Option::kTcpCork:
      return options.cork = to_switch(v), Status();
    case Option::kTcpQuickAck:
      if (connection_ != nullptr) connection_->set_quick_ack(to_switch(v));
      return {};
    case Option::kTcpMaxSegment:
      return v == 0 || in_range(88, 32767) ? (options.max_segment = static_cast<std::uint32_t>(v), Status()) : bad;
    case Option::kTcpKeepIdle:
      return in_range(1, 32767) ? (options.keep_idle = static_cast<std::uint16_t>(v), Status()) : bad;
    case Option::kTcpKeepInterval:
      return in_range(1, 32767) ? (options.keep_interval = static_cast<std::uint16_t>(v), Status()) : bad;
    case Option::kTcpKeepCount:
      return in_range(1, 127) ? (options.keep_count = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kTcpUserTimeout:
      return in_range(0, INT32_MAX) ? (options.user_timeout = static_cast<std::uint32_t>(v), Status()) : bad;
    case Option::kTcpSynCount:
      return in_range(1, 127) ? (options.syn_count = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kTcpLinger2:
      return options.fin_wait2_time = static_cast<std::int16_t>(std::clamp<std::int64_t>(v, -1, kMaxLinger2)), Status();
    case Option::kTcpDeferAccept:
      return options.defer_accept = retries_of(Duration::seconds(v)), Status();
    case Option::kTcpNotsentLowWater:
      return options.notsent_low = static_cast<std::uint32_t>(v), Status();
    case Option::kTcpWindowClamp:
      if (v <= 0 && connection_ != nullptr) return bad;
      options.window_clamp = v <= 0 ? tcp::ConnectionOptions::kUnlimited
                                    : static_cast<std::uint32_t>(std::max<std::int64_t>(v, kMinBuffer / 2));
      return {};
    case Option::kMaxPacingRate:
      return in_range(INT32_MIN, UINT32_MAX) && v != 0
                 ? (options.max_pacing_rate = static_cast<std::uint32_t>(v), Status())
                 : bad;
    case Option::kTcpCongestion:
      if (!in_range(1, tcp::cc::count())) return fail(Errno::kNoProtocolOption);
      return options.congestion = static_cast<std::uint8_t>(v), Status();
    default:
      return take_fast_open_option(options, option, v);
  }
}

// Only before there is a connection (RFC7413-09: nobody gets it who has not asked).
Status Stream::take_fast_open_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const bool is_switch = v == 0 || v == 1;
  switch (option) {
    case Option::kTcpFastOpen:
      if (v < 0 || connection_ != nullptr) return fail(Errno::kInvalid);
      options_->fast_open_limit = static_cast<std::uint32_t>(std::min<std::int64_t>(v, kMaxFastOpens));
      if (listener_ != nullptr) listener_->set_fast_open_limit(options_->fast_open_limit);
      return {};
    case Option::kTcpFastOpenConnect:
      if (!is_switch) return fail(Errno::kInvalid);
      if (tcp_.config().fast_open_client == Switch::kOff) return fail(Errno::kNotSupported);
      if (connection_ != nullptr || listener_ != nullptr) return fail(Errno::kInvalid);
      return options.fast_open_connect = to_switch(v), Status();
    case Option::kTcpFastOpenNoCookie:
      if (!is_switch || connection_ != nullptr) return fail(Errno::kInvalid);
      return options.fast_open_no_cookie = to_switch(v), Status();
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

Status Stream::set_fast_open_keys(const tcp::FastOpenKeys& keys) {
  if (connection_ != nullptr) return fail(Errno::kInvalid);
  options_->fast_open_keys = keys;
  if (listener_ != nullptr) listener_->set_fast_open_keys(keys);
  return {};
}

Result<tcp::FastOpenKeys> Stream::fast_open_keys() const {
  const bool own = options_ != nullptr && options_->fast_open_keys.count > 0;
  return own ? options_->fast_open_keys : tcp_.config().fast_open_keys;
}

Result<std::int64_t> Stream::get_option(Option option) {
  const tcp::ConnectionOptions& o = options();
  switch (option) {
    case Option::kReuseAddress:
      return from_switch(sharing_.address);
    case Option::kReusePort:
      return from_switch(sharing_.port);
    case Option::kBroadcast:
      return std::int64_t{0};
    case Option::kKeepAlive:
      return from_switch(o.keep_alive);
    case Option::kUrgentInline:
      return from_switch(o.urgent_inline);
    case Option::kAtMark:
      return std::int64_t{connection_ != nullptr && connection_->bytes_to_mark() == 0};
    case Option::kLinger:
      return o.linger == Switch::kOn ? std::int64_t{o.linger_time} : std::int64_t{-1};
    case Option::kZeroCopy:
      return from_switch(o.zero_copy);
    case Option::kSendBuffer:
      return static_cast<std::int64_t>(connection_ != nullptr ? connection_->info().send_buffer
                                                              : tcp::send_range(o, tcp_.config()).first);
    case Option::kReceiveBuffer:
      return static_cast<std::int64_t>(connection_ != nullptr ? connection_->info().receive_buffer
                                                              : tcp::receive_range(o, tcp_.config()).first);
    case Option::kError:
      return static_cast<std::int64_t>(connection_ != nullptr ? connection_->take_error()
                                                              : std::exchange(left_error_, Errno::kOk));
    case Option::kAcceptConnection:
      return std::int64_t{listener_ != nullptr};
    case Option::kIpTtl:
      return o.ttl != 0 ? std::int64_t{o.ttl} : std::int64_t{64};
    case Option::kIpTos:
      return std::int64_t{o.tos};
    case Option::kIpMtuDiscover:
      return std::int64_t{1};
    default:
      return get_tcp_option(option);
  }
}

Result<std::int64_t> Stream::get_tcp_option(Option option) const {
  const tcp::ConnectionOptions& o = options();
  switch (option) {
    case Option::kTcpNoDelay:
      return from_switch(o.no_delay);
    case Option::kTcpCork:
      return from_switch(o.cork);
    case Option::kTcpQuickAck:
      return std::int64_t{connection_ == nullptr || connection_->info().quick_ack};
    case Option::kTcpMaxSegment:
      return connection_ != nullptr ? std::int64_t{connection_->info().send_mss}
                                    : std::int64_t{o.max_segment != 0 ? o.max_segment : 536};
    case Option::kTcpKeepIdle:
      return std::int64_t{o.keep_idle};
    case Option::kTcpKeepInterval:
      return std::int64_t{o.keep_interval};
    case Option::kTcpKeepCount:
      return std::int64_t{o.keep_count};
    case Option::kTcpUserTimeout:
      return std::int64_t{o.user_timeout};
    case Option::kTcpSynCount:
      return std::int64_t{o.syn_count != 0 ? o.syn_count : retries_of(tcp_.config().r2_syn)};
    case Option::kTcpLinger2:
      if (o.fin_wait2_time != 0) return std::int64_t{o.fin_wait2_time};
      return tcp_.config().fin_wait2_time.to_millis() / 1000;
    case Option::kTcpDeferAccept:
      return o.defer_accept != 0 ? period_of(o.defer_accept).to_millis() / 1000 : 0;
    case Option::kTcpNotsentLowWater:
      return std::int64_t{o.notsent_low};
    case Option::kTcpWindowClamp:
      return static_cast<std::int64_t>(
          std::min<std::size_t>(o.window_clamp, tcp::receive_range(o, tcp_.config()).most));
    case Option::kMaxPacingRate:
      return std::int64_t{o.max_pacing_rate};
    case Option::kTcpFastOpen:
      if (listener_ != nullptr) return std::int64_t{listener_->fast_open_limit()};
      return std::int64_t{options_ != nullptr ? options_->fast_open_limit : 0};
    case Option::kTcpFastOpenConnect:
      return from_switch(o.fast_open_connect);
    case Option::kTcpFastOpenNoCookie:
      return from_switch(o.fast_open_no_cookie);
    case Option::kTcpCongestion:
      return std::int64_t{o.congestion != 0 ? o.congestion : tcp_.config().congestion};
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

}  // namespace

Object* make_stream(tcp::Tcp& tcp, Family family, Handle handle) {
  return new Stream(tcp, family, handle);
}
Object* make_accepted_stream(tcp::Tcp& tcp, tcp::ConnectionHandle* connection, Handle handle) {
  return new Stream(tcp, connection, handle);
}

}  // namespace sluice::socket
