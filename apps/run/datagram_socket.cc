#include "apps/run/datagram_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace sluice::apps::run {

namespace {

// Bytes. A burst waits in the stack until the loop, and then the program, comes round.
constexpr int kReceiveBuffer = 4 << 20;
constexpr int kPairBuffer = 1 << 20;  // or as much of it as the kernel lets us have
constexpr int kBatches = 2;           // in a row, before others have their turn

// A control buffer for one descriptor.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

}  // namespace

DatagramSocket::DatagramSocket(Context& context, Kind kind, Ends& ends, net::Socket stack)
    : ProgramSocket(context, kind, std::move(ends.ours), ends.identity, std::move(stack)),
      senders_(context.loop),
      receivers_(context.loop) {}

void DatagramSocket::begin() {
  (void)sl_setsockopt(stack_.fd(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  (void)::setsockopt(ours_.get(), SOL_SOCKET, SO_SNDBUF, &kPairBuffer, sizeof kPairBuffer);
  update();
}

void DatagramSocket::update() {
  if (gone_ && up_.empty()) return end();
  if (gone_) {
    unwatch_kernel();
  } else {
    watch_kernel((!up_.empty() || up_ended_ ? 0 : POLLIN) | (down_.empty() ? 0 : POLLOUT));
  }
  watch_stack((!down_.empty() || gone_ ? 0 : POLLIN) | (up_.empty() && senders_.empty() ? 0 : POLLOUT));
}

void DatagramSocket::on_stack(short revents) {
  if ((revents & POLLOUT) != 0) {
    move_up_parked();
    senders_.serve([this](Call& call) { return send_all(call); });
  }
  if ((revents & (POLLIN | POLLERR)) != 0) move_down();
  if ((revents & POLLERR) != 0 && down_.empty()) keep_errors();  // that of the socket has been moved
  update();
}

void DatagramSocket::on_kernel(short revents) {
  gone_ = gone_ || (revents & (POLLHUP | POLLERR)) != 0;
  if (up_.empty()) move_up();
  if (!down_.empty() && (revents & POLLOUT) != 0) move_down_parked();
  update();
}

// --- from the program ------------------------------------------------------------------------------------------------

void DatagramSocket::move_up() {
  RecordBatch& batch = context_.batch;
  for (int i = 0; up_.empty() && !up_ended_ && (gone_ || i < kBatches); ++i) {
    batch.take(ours_.get());
    for (std::size_t k = 0; k < batch.size(); ++k) {
      const Bytes bytes = batch[k];
      if (!up_.empty() || !send_up(bytes)) up_.emplace_back(bytes.begin(), bytes.end());
    }
    up_ended_ = batch.ended();
    if (!batch.full()) return;
  }
}

void DatagramSocket::move_up_parked() {
  while (!up_.empty() && send_up(up_.front())) up_.pop_front();
  if (up_.empty()) move_up();
}

// False when the stack has no room now. Other errors were not asked for: the datagram is lost, as one on the wire.
bool DatagramSocket::send_up(Bytes bytes) {
  if (sl_send(stack_.fd(), bytes.data(), bytes.size(), 0) >= 0) return true;
  if (errno == EAGAIN) return false;
  note_error(errno);
  return true;
}

// The end of a call for which there is nothing, or no room, just now. `limit`: the option that says how long it may
// wait.
void DatagramSocket::fail_or_wait(Call call, WaitingCalls& waiting, const KernelFd& theirs, int limit) {
  if (is_nonblocking(theirs) || (flags_of_messages(call) & MSG_DONTWAIT) != 0) {
    call.fail(EAGAIN);
  } else {
    waiting.add(std::move(call), time_limit(theirs, limit), EAGAIN);
  }
}

// What was written before goes first.
void DatagramSocket::send_message(Call call, KernelFd theirs) {
  if (!stack_) return call.let_through();
  if (up_.empty()) move_up();
  if (!send_all(call)) fail_or_wait(std::move(call), senders_, theirs, SO_SNDTIMEO);
  update();
}

// Whether the call has had its answer; it has none while there is no room for the first message.
bool DatagramSocket::send_all(Call& call) {
  if (const int error = take_noted_error(); error != 0) return call.fail(error), true;
  const std::size_t count = count_of_messages(call);
  for (std::size_t i = 0; i < count; ++i) {
    const int n = send_one(call, i);
    if (n == -EAGAIN && i == 0) return false;
    if (n < 0) {
      if (i > 0) return call.answer(static_cast<int>(i)), true;
      return call.fail(-n), true;
    }
    if (!takes_several(call)) return call.answer(n), true;
  }
  return call.answer(static_cast<int>(count)), true;
}

int DatagramSocket::send_one(const Call& call, std::size_t index) {
  ProgramMessage message;
  Datagram datagram;
  if (const int error = message.find(call, index); error != 0) return -error;
  if (const int error = message.read(call, context_.scratch, datagram); error != 0) return -error;
  iovec piece{};
  const msghdr header = datagram.header(piece);
  const ssize_t n = sl_sendmsg(stack_.fd(), &header, MSG_DONTWAIT);
  if (n < 0) return -errno;
  if (const int error = message.set_sent(call, datagram.bytes.size()); error != 0) return -error;
  return static_cast<int>(n);
}

// --- to the program --------------------------------------------------------------------------------------------------

// 0, or an errno.
int DatagramSocket::receive_from_stack(Datagram& datagram, Bytes room, int flags) {
  datagram.bytes = room;
  datagram.name.length = sizeof datagram.name.storage;
  datagram.control_size = datagram.control.size();
  iovec piece{};
  msghdr header = datagram.header(piece);
  const ssize_t n = sl_recvmsg(stack_.fd(), &header, flags);
  if (n < 0) return errno;
  datagram.bytes = datagram.bytes.first(static_cast<std::size_t>(n));
  datagram.name.length = header.msg_namelen;
  datagram.control_size = header.msg_controllen;
  return 0;
}

void DatagramSocket::move_down() {
  RecordBatch& batch = context_.batch;
  for (int i = 0; down_.empty() && !gone_ && i < kBatches; ++i) {
    batch.clear();
    context_.tags.begin_batch();
    while (!batch.full() && take_from_stack(batch)) {
    }
    for (std::size_t k = batch.give(ours_.get()); k < batch.size(); ++k) {
      const Bytes bytes = batch[k];
      down_.push_back({{bytes.begin(), bytes.end()}, KernelFd(::dup(batch.descriptor(k)))});
    }
    if (!batch.full()) break;
  }
  receivers_.serve([this](Call& call) { return receive_later(call); });
}

// False when there is nothing now.
bool DatagramSocket::take_from_stack(RecordBatch& batch) {
  Datagram datagram;
  const int error = receive_from_stack(datagram, batch.room(), 0);
  if (error == EAGAIN) return false;
  if (error != 0) {
    note_error(error);
    datagram = {};
  }
  const std::uint64_t tag = error != 0 ? error_tag(error) : source_tag(datagram.name);
  const Bytes control = Bytes(datagram.control).first(datagram.control_size);
  batch.put(datagram.bytes, context_.tags.descriptor_for(tag, control));
  return true;
}

void DatagramSocket::move_down_parked() {
  RecordBatch& batch = context_.batch;
  while (!down_.empty()) {
    batch.clear();
    for (auto p = down_.begin(); p != down_.end() && !batch.full(); ++p) batch.put(p->bytes, p->tag.get());
    const std::size_t given = batch.give(ours_.get());
    down_.erase(down_.begin(), down_.begin() + static_cast<std::ptrdiff_t>(given));
    if (given < batch.size()) return;
  }
  move_down();
}

void DatagramSocket::receive_message(Call call, KernelFd theirs) {
  if (!stack_) return call.let_through();
  if ((flags_of_messages(call) & MSG_ERRQUEUE) != 0) {
    const int n = receive_error(call);
    (void)(n < 0 ? call.fail(-n) : call.answer(n));
    return;
  }
  if (receivers_.empty()) move_down();
  const bool answered = receivers_.empty() && receive_all(call, theirs);
  if (!answered) fail_or_wait(std::move(call), receivers_, theirs, SO_RCVTIMEO);
  update();
}

bool DatagramSocket::receive_later(Call& call) {
  const KernelFd theirs = context_.processes.take(call.thread(), call.descriptor());
  if (theirs && identity_of(theirs.get()) == identity()) return receive_all(call, theirs);
  call.fail(EBADF);
  return true;
}

// Whether the call has had its answer; it has none while nothing is there. Of several messages those that are there.
bool DatagramSocket::receive_all(Call& call, const KernelFd& theirs) {
  const std::size_t count = count_of_messages(call);
  for (std::size_t i = 0; i < count; ++i) {
    const int n = receive_one(call, theirs, i, flags_of_messages(call));
    if (n == -EAGAIN && i == 0) return false;
    if (n < 0) {
      if (i > 0) return call.answer(static_cast<int>(i)), true;
      return call.fail(-n), true;
    }
    if (!takes_several(call)) return call.answer(n), true;
  }
  return call.answer(static_cast<int>(count)), true;
}

// How long the datagram is, or -errno.
int DatagramSocket::receive_one(const Call& call, const KernelFd& theirs, std::size_t index, int flags) {
  ProgramMessage message;
  Datagram datagram;
  if (const int error = message.find(call, index); error != 0) return -error;
  if (const int error = take_record(theirs, flags, datagram); error != 0) return -error;
  if (const int error = message.store(call, datagram, 0); error != 0) return -error;
  const std::size_t size = datagram.bytes.size();
  return static_cast<int>((flags & MSG_TRUNC) != 0 ? size : std::min(size, message.room()));
}

// Takes the errors out of the stack's queue, which makes its socket ready as long as one is there.
void DatagramSocket::keep_errors() {
  Datagram datagram;
  while (receive_from_stack(datagram, context_.scratch, MSG_ERRQUEUE) == 0) {
    if (errors_.size() < kMostErrors) {
      errors_.push_back({{datagram.bytes.begin(), datagram.bytes.end()}, datagram});
    }
  }
}

int DatagramSocket::receive_error(const Call& call) {
  ProgramMessage message;
  if (const int error = message.find(call, 0); error != 0) return -error;
  keep_errors();
  if (errors_.empty()) return -EAGAIN;
  KeptError kept = std::move(errors_.front());
  errors_.pop_front();
  kept.datagram.bytes = kept.bytes;
  if (const int error = message.store(call, kept.datagram, MSG_ERRQUEUE); error != 0) return -error;
  return static_cast<int>(std::min(kept.bytes.size(), message.room()));
}

// The next datagram from the program's end of the pair. 0, or an errno: also that of the socket.
int DatagramSocket::take_record(const KernelFd& theirs, int flags, Datagram& datagram) {
  for (;;) {
    Control control;
    iovec piece{context_.scratch.data(), context_.scratch.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    const ssize_t n = ::recvmsg(theirs.get(), &message, (flags & MSG_PEEK) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) return errno;
    datagram.bytes = Bytes(context_.scratch).first(static_cast<std::size_t>(n));
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr) return 0;
    int descriptor = -1;
    memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    const KernelFd owned(descriptor);
    const std::uint64_t tag = Tags::read(descriptor);
    datagram.control_size = Tags::read_control(descriptor, datagram.control).size();
    if (names_source(tag)) datagram.name = source_of(tag);
    if (error_of(tag) == 0) return 0;
    if ((flags & MSG_PEEK) == 0 && take_error() == 0) continue;  // it has been told meanwhile
    return error_of(tag);
  }
}

// --- roles -----------------------------------------------------------------------------------------------------------

void DatagramSocket::connect(Call call, KernelFd) {
  SocketAddress peer;
  if (const int error = peer.read_from(call, call.argument(1), call.argument(2)); error != 0) {
    call.fail(error);
  } else if (sl_connect(stack_.fd(), peer.get(), peer.length) < 0) {
    call.fail(stack_ ? errno : EINVAL);
  } else {
    call.answer(0);
  }
}

void DatagramSocket::listen(Call call, KernelFd) {
  call.fail(EOPNOTSUPP);
}
void DatagramSocket::accept(Call call, KernelFd) {
  call.fail(EOPNOTSUPP);
}

}  // namespace sluice::apps::run
