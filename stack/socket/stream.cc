// See stream.h.
#include "stack/socket/stream.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace sluice::socket {
namespace {

using More = tcp::ConnectionHandle::More;
using Take = tcp::ConnectionHandle::Take;

More more_of(SendFlags flags) {
  if (flags.urgent) return More::kUrgent;
  return flags.more ? More::kMore : flags.end_of_record ? More::kRecord : More::kPush;
}

bool is_over(tcp::State s) {
  return s == tcp::State::kClosed || s == tcp::State::kTimeWait;
}

}  // namespace

Status Stream::bind(const Endpoint& local) {
  const bool alive = connection_ != nullptr && !is_over(connection_->state());  // one that has failed may be bound anew
  if (alive || own().claimed || listener() != nullptr) return fail(Errno::kInvalid);
  const auto bound = own_->tcp.claim_port(local, own_->sharing);
  if (!bound) return fail(bound.error());
  own_->local = *bound;
  own_->claimed = true;
  own_->claimed_sharing = own_->sharing;
  return {};
}

Status Stream::listen(int backlog) {
  if (connection_ != nullptr) return fail(Errno::kInvalid);
  if (listener() != nullptr) return listener()->set_backlog(backlog), Status();
  if (!own_->claimed) {
    if (const Status bound = bind(own_->local); !bound) return bound;
  }
  const StreamOptions& options = *own_->options;
  const auto listener = own_->tcp.listen(own_->local, own_->claimed_sharing, backlog, options, own_.get());
  if (!listener) return fail(listener.error());
  own_->listener = *listener;
  if (options.fast_open_limit > 0) own_->listener->set_fast_open_limit(options.fast_open_limit);
  own_->listener->set_fast_open_keys(options.fast_open_keys);
  return {};
}

Result<tcp::ConnectionHandle*> Stream::accept() {
  if (listener() == nullptr) return fail(Errno::kInvalid);
  return listener()->accept();
}

Status Stream::connect(const Endpoint& peer) {
  if (listener() != nullptr) return fail(Errno::kIsConnected);
  if (connection_ != nullptr) {
    if (connected_ || connection_->waits_for_data()) return fail(Errno::kIsConnected);
    if (in_handshake()) return fail(Errno::kAlready);
    if (const Errno error = connection_->take_error(); error != Errno::kOk) return forget_connection(), fail(error);
    if (connection_->state() == tcp::State::kClosed) return forget_connection(), fail(Errno::kConnectionAborted);
    connected_ = true;  // the second call tells that the first has succeeded
    return {};
  }
  const bool waits = options().fast_open_connect == Switch::kOn && config().fast_open_client == Switch::kOn;
  const auto opening = waits ? tcp::Tcp::Opening::kWithData : tcp::Tcp::Opening::kAtOnce;
  if (const Status begun = begin_connection(peer, opening); !begun) return begun;
  if (waits && connection_->may_send_in_syn()) return changed(), Status();  // the first send() does the rest
  if (waits) (void)connection_->open_with({});
  return fail(Errno::kInProgress);
}

Status Stream::begin_connection(const Endpoint& peer, tcp::Tcp::Opening opening) {
  const Errno error = std::exchange(own_->left_error, Errno::kOk);
  if (std::exchange(own_->connect_cut, false) && error != Errno::kOk) return fail(error);
  const Endpoint to{to_this_host(peer.address), peer.port};
  const auto connection = own_->tcp.connect(own_->local, to, *own_->options, this, opening);
  if (!connection) return fail(connection.error());
  connection_ = *connection;
  own_->options.reset();
  if (own_->is_nothing()) own_.reset();
  return {};
}

// Before a send() with MSG_FASTOPEN, of a socket that has no connection, or one that waits for data (RFC 7413 §4.3.1).
Status Stream::prepare_first(const Endpoint* destination) {
  if (config().fast_open_client == Switch::kOff) return fail(Errno::kNotSupported);
  if (listener() != nullptr || connected_) return fail(Errno::kIsConnected);
  if (connection_ != nullptr)
    return in_handshake() && !connection_->waits_for_data() ? fail(Errno::kAlready) : Status();
  if (destination == nullptr) return fail(Errno::kInvalid);
  return begin_connection(*destination, tcp::Tcp::Opening::kWithData);
}

// Whatever there is ends at once; the peer of a connection gets a reset. An address that was bound stays.
Status Stream::disconnect() {
  if (listener() != nullptr) stop_listening();
  if (connection_ == nullptr) return {};
  take_options_back();
  own_->left_error = is_over(connection_->state()) ? connection_->take_error() : Errno::kConnectionReset;
  connection_->abort();
  connection_ = nullptr;
  connected_ = shut_read_ = shut_write_ = false;
  return changed(), Status();
}

// For SO_ERROR: what ended the connection, else what an ICMP error said about it last, as on Linux.
Errno Stream::take_pending_error() {
  if (connection_ == nullptr) return std::exchange(own_->left_error, Errno::kOk);
  const Errno error = connection_->take_error();
  return error != Errno::kOk ? error : connection_->take_soft_error();
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

// So many bytes that a read would return, or the end or an error behind fewer.
bool Stream::has_to_read(std::size_t least) const {
  if (!connection_->readable()) return false;
  const std::size_t queued = connection_->receive_queued();
  const bool enough = queued == 0 || queued >= least + (leaves_mark_out() ? 1 : 0);
  return enough || shut_read_ || connection_->peer_closed() || connection_->pending_error() != Errno::kOk;
}

bool Stream::receives(std::size_t least) const {
  if (connection_ == nullptr) return true;  // an error
  if (in_handshake()) return false;
  const std::size_t mark = connection_->bytes_to_mark();
  const bool cut = mark > 0 && mark < least && connection_->receive_queued() >= mark;
  return cut || has_to_read(std::max<std::size_t>(least, 1));
}

void Stream::report_copied() {
  if (connection_ == nullptr || options().zero_copy == Switch::kOff) return;
  reports().copied();
  changed();
}

void Stream::report_progress() {
  if (connection_ != nullptr) connection_->report_progress();
}

// To a device that takes packets at once a byte is queued and sent in the same moment.
void Stream::on_tcp_progress(Progress what, std::uint32_t offset, Instant now) {
  if (what == Progress::kSent) {
    reports().add({Report::Kind::kQueued, offset, offset, now});
    reports().add({Report::Kind::kSent, offset, offset, now});
  } else {
    reports().add({Report::Kind::kAcknowledged, offset, offset, now});
  }
  changed();
}

Result<Report> Stream::take_report() {
  return has_reports() ? Result<Report>(reports().take()) : fail(Errno::kAgain);
}

Status Stream::shutdown(Shutdown how) {
  if (listener() != nullptr) {
    if (how != Shutdown::kWrite) stop_listening();
    return {};
  }
  if (connection_ == nullptr) return fail(Errno::kNotConnected);
  const tcp::State state = connection_->state();
  if (is_over(state)) return fail(Errno::kNotConnected);
  if (state == tcp::State::kSynSent) {  // whoever waits for the handshake is told
    forget_connection();
    own_->left_error = Errno::kConnectionReset;
    own_->connect_cut = true;
    return changed(), Status();
  }
  shut_read_ = shut_read_ || how != Shutdown::kWrite;
  shut_write_ = shut_write_ || how != Shutdown::kRead;
  if (how != Shutdown::kWrite) connection_->shutdown_receive();
  return how != Shutdown::kRead ? connection_->shutdown_send() : Status();
}

Endpoint Stream::local_name() const {
  return connection_ != nullptr ? connection_->local() : own_->local;
}

Result<Endpoint> Stream::peer_name() const {
  if (connection_ == nullptr) return fail(Errno::kNotConnected);
  const tcp::State state = connection_->state();
  if (state == tcp::State::kSynSent || is_over(state)) return fail(Errno::kNotConnected);
  return connection_->peer();
}

// As Linux's tcp_poll: a socket never connected is "hung up"; a failed connect is readable, writable and in error.
Ready Stream::ready() const {
  if (listener() != nullptr) return listener()->acceptable() ? Ready::kIn : Ready::kNone;
  if (connection_ == nullptr) {
    const Ready idle = Ready::kOut | Ready::kHangup;
    return own_->left_error != Errno::kOk ? idle | Ready::kError : idle;
  }
  const tcp::State state = connection_->state();
  Ready r = Ready::kNone;
  if (in_handshake()) return connection_->waits_for_data() ? Ready::kOut : r;
  if (has_to_read(own_ != nullptr ? own_->receive_low_water : 1)) r = r | Ready::kIn;
  if (connection_->urgent_byte(Take::kPeek)) r = r | Ready::kUrgent;
  if (connection_->writable()) r = r | Ready::kOut;
  if (has_reports() || connection_->pending_error() != Errno::kOk) r = r | Ready::kError;
  const bool read_over = connection_->peer_closed() || state == tcp::State::kClosed || shut_read_;
  if (read_over) r = r | Ready::kReadHangup;
  const bool both_over = state == tcp::State::kClosed || state == tcp::State::kTimeWait ||
                         state == tcp::State::kLastAck || state == tcp::State::kClosing || (read_over && shut_write_);
  if (both_over) r = r | Ready::kHangup;
  return r;
}

Result<std::size_t> Stream::readable_bytes() const {
  if (listener() != nullptr) return fail(Errno::kInvalid);
  if (connection_ == nullptr) return std::size_t{0};
  const bool in_line = options().urgent_inline == Switch::kOn;
  return std::min(connection_->receive_queued(), in_line ? SIZE_MAX : connection_->bytes_to_mark());
}

Result<tcp::Info> Stream::tcp_info() const {
  if (connection_ != nullptr) return connection_->info();
  tcp::Info info;
  if (listener() != nullptr) info.state = tcp::State::kListen;
  return info;
}

Object* make_stream(tcp::Tcp& tcp, Family family, Handle handle) {
  return new Stream(tcp, family, handle);
}
Object* make_accepted_stream(tcp::ConnectionHandle* connection, Handle handle) {
  return new Stream(connection, handle);
}

}  // namespace sluice::socket
