#include "apps/run/datagram_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

namespace sluice::apps::run {

namespace {

// Bytes. A burst waits in the stack until the loop comes round, and is charged more there than by the kernel.
constexpr int kReceiveBuffer = 512 << 10;
constexpr int kRounds = 64;  // datagrams in a row, before others have their turn

// A control buffer for one descriptor.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

bool ended(int socket) {
  pollfd p{socket, POLLRDHUP, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) != 0;
}

}  // namespace

DatagramSocket::DatagramSocket(Context& context, Kind kind, Ends& ends, net::Socket stack)
    : ProgramSocket(context, kind, std::move(ends.ours), ends.identity, std::move(stack)),
      senders_(context.loop),
      receivers_(context.loop) {}

void DatagramSocket::begin() {
  (void)sl_setsockopt(stack_.fd(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  update();
}

void DatagramSocket::update() {
  if (gone_ && (up_ended_ || !up_)) return end();
  if (gone_) {
    unwatch_kernel();
  } else {
    watch_kernel((up_ || up_ended_ ? 0 : POLLIN) | (down_ ? POLLOUT : 0));
  }
  watch_stack((down_ || gone_ ? 0 : POLLIN) | (up_ || !senders_.empty() ? POLLOUT : 0));
}

void DatagramSocket::on_stack(short revents) {
  if ((revents & POLLOUT) != 0) {
    if (up_ && send_up(up_->bytes)) up_.reset();
    if (!up_) move_up();
    senders_.serve([this](Call& call) { return send_all(call); });
  }
  if ((revents & (POLLIN | POLLERR)) != 0) move_down();
  update();
}

void DatagramSocket::on_kernel(short revents) {
  gone_ = gone_ || (revents & (POLLHUP | POLLERR)) != 0;
  if (!up_) move_up();
  if (down_ && (revents & POLLOUT) != 0 && give_to_program(down_->bytes, down_->tag, down_->control)) {
    down_.reset();
    move_down();
  }
  update();
}

// --- from the program ------------------------------------------------------------------------------------------------

void DatagramSocket::move_up() {
  std::vector<std::uint8_t>& room = context_.scratch;
  for (int i = 0; !up_ended_ && (gone_ || i < kRounds); ++i) {
    const ssize_t n = ::recv(ours_.get(), room.data(), room.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 || (n == 0 && ended(ours_.get()))) {
      up_ended_ = true;
      return;
    }
    const Bytes bytes(room.data(), static_cast<std::size_t>(n));
    if (!send_up(bytes)) {
      up_ = Parked{{bytes.begin(), bytes.end()}, kNoTag, {}};
      return;
    }
  }
}

// False when the stack has no room now. Other errors were not asked for: the datagram is lost, as one on the wire.
bool DatagramSocket::send_up(Bytes bytes) {
  if (sl_send(stack_.fd(), bytes.data(), bytes.size(), 0) >= 0) return true;
  if (errno == EAGAIN) return false;
  note_error(errno);
  return true;
}

// What was written before goes first.
void DatagramSocket::send_message(Call call, KernelFd theirs) {
  if (!stack_) return call.let_through();
  if (!up_) move_up();
  if (!send_all(call)) {
    if (is_nonblocking(theirs) || (flags_of_messages(call) & MSG_DONTWAIT) != 0) {
      call.fail(EAGAIN);
    } else {
      senders_.add(std::move(call), time_limit(theirs, SO_SNDTIMEO), EAGAIN);
    }
  }
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
int DatagramSocket::receive_from_stack(Datagram& datagram, int flags) {
  datagram.bytes = context_.scratch;
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
  for (int i = 0; !down_ && !gone_ && i < kRounds; ++i) {
    Datagram datagram;
    const int error = receive_from_stack(datagram, 0);
    if (error == EAGAIN) break;
    if (error != 0) {
      note_error(error);
      datagram = {};
    }
    const std::uint64_t tag = error != 0 ? error_tag(error) : source_tag(datagram.name);
    const Bytes control = Bytes(datagram.control).first(datagram.control_size);
    if (!give_to_program(datagram.bytes, tag, control))
      down_ = Parked{{datagram.bytes.begin(), datagram.bytes.end()}, tag, {control.begin(), control.end()}};
  }
  receivers_.serve([this](Call& call) { return receive_later(call); });
}

bool DatagramSocket::give_to_program(Bytes bytes, std::uint64_t tag, Bytes ancillary) {
  iovec piece{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const int descriptor = context_.tags.descriptor_for(tag, ancillary);
  if (descriptor >= 0) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  return ::sendmsg(ours_.get(), &message, MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

void DatagramSocket::receive_message(Call call, KernelFd theirs) {
  if (!stack_) return call.let_through();
  if ((flags_of_messages(call) & MSG_ERRQUEUE) != 0) {
    const int n = receive_error(call);
    (void)(n < 0 ? call.fail(-n) : call.answer(n));
    return;
  }
  if (receivers_.empty()) move_down();
  if (receivers_.empty() && receive_all(call, theirs)) return update();
  if (is_nonblocking(theirs) || (flags_of_messages(call) & MSG_DONTWAIT) != 0) {
    call.fail(EAGAIN);
  } else {
    receivers_.add(std::move(call), time_limit(theirs, SO_RCVTIMEO), EAGAIN);
  }
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

// The same of the stack's queue of errors.
int DatagramSocket::receive_error(const Call& call) {
  ProgramMessage message;
  Datagram datagram;
  if (const int error = message.find(call, 0); error != 0) return -error;
  if (const int error = receive_from_stack(datagram, MSG_ERRQUEUE); error != 0) return -error;
  if (const int error = message.store(call, datagram, MSG_ERRQUEUE); error != 0) return -error;
  return static_cast<int>(std::min(datagram.bytes.size(), message.room()));
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
