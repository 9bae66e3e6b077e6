#include "apps/run/stream_socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "apps/run/messages.h"

namespace sluice::apps::run {

namespace {

constexpr int kMostArrivals = 1024;  // whatever the program's backlog; the stack's own comes on top

bool has_unread(int socket) {
  int n = 0;
  return ::ioctl(socket, FIONREAD, &n) == 0 && n > 0;
}

void reset_on_close(const net::Socket& socket) {
  const linger now{1, 0};
  (void)sl_setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

StreamSocket::StreamSocket(Context& context, Ends& ends, net::Socket stack)
    : ProgramSocket(context, {SOCK_STREAM, IPPROTO_TCP}, std::move(ends.ours), ends.identity, std::move(stack)),
      waiting_(context.loop) {}

void StreamSocket::begin_to_wait() {
  watch_kernel(0);
}

void StreamSocket::begin_to_carry(pid_t thread, int number) {
  owner_ = thread;
  number_ = number;
  pump_.emplace(ours_.get(), stack_.fd(), context_.spare);
  settle();
}

// --- readiness -------------------------------------------------------------------------------------------------------

void StreamSocket::on_stack(short revents) {
  if (pump_) {
    pump_->on_stack(revents);
    settle();
  } else if (connecting_) {
    connection_decided();
  } else if (backlog_ > 0) {
    take_arrivals();
  }
}

// Before there is a connection nothing but its end is heard of the program's end.
void StreamSocket::on_kernel(short revents) {
  if (pump_) {
    pump_->on_kernel(revents);
    return settle();
  }
  if ((revents & (POLLHUP | POLLERR)) == 0) return;
  waiting_.fail_all(EINVAL);  // shut down under those that accept
  for (Arrival& arrival : arrivals_) reset_on_close(arrival.socket);
  arrivals_.clear();
  end();
}

void StreamSocket::settle() {
  const Pump::Outcome outcome = pump_->outcome();
  if (outcome == Pump::Outcome::kGoing) {
    if (const auto events = pump_->kernel_events()) {
      watch_kernel(*events);
    } else {
      unwatch_kernel();
    }
    if (const auto events = pump_->stack_events()) {
      watch_stack(*events);
    } else {
      unwatch_stack();
    }
    return;
  }
  if (outcome == Pump::Outcome::kAborted) reset_on_close(stack_);
  if (outcome == Pump::Outcome::kFailed) {
    note_error(pump_->error());
    make_reset_visible();
  }
  pump_.reset();
  end();
}

// Closing our end with something unread in it tells the program. If it has left nothing there, a copy of its own end
// serves to put a byte in.
void StreamSocket::make_reset_visible() {
  if (has_unread(ours_.get())) return;
  KernelFd theirs = context_.processes.take(owner_, number_);
  if (!theirs || identity_of(theirs.get()) != identity()) theirs = context_.processes.search(identity(), number_);
  if (theirs) (void)::send(theirs.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// --- connect ---------------------------------------------------------------------------------------------------------

void StreamSocket::connect(Call call, KernelFd theirs) {
  if (!stack_) {
    const int error = take_error();
    call.fail(error != 0 ? error : EISCONN);
    return;
  }
  SocketAddress peer;
  if (const int error = peer.read_from(call, call.argument(1), call.argument(2)); error != 0) {
    call.fail(error);
    return;
  }
  begin_connection(std::move(call), std::move(theirs), peer);
}

void StreamSocket::begin_connection(Call call, KernelFd theirs, SocketAddress& peer) {
  int error = sl_connect(stack_.fd(), peer.get(), peer.length) == 0 ? 0 : errno;
  if (error == 0 && !pump_) {  // it waits for data that can go with its SYN (RFC 7413)
    begin_to_carry(call.thread(), call.descriptor());
    return begun(call, theirs);
  }
  const bool blocking = !is_nonblocking(theirs);
  const bool first = error == EINPROGRESS && !connecting_;
  if (error == EALREADY && std::exchange(untold_, false)) error = EINPROGRESS;
  if (first) {
    connecting_ = true;
    peer_ = peer;
    owner_ = call.thread();
    number_ = call.descriptor();
    watch_stack(POLLOUT);
  }
  if (blocking && (error == EINPROGRESS || error == EALREADY)) {
    waiting_.add(std::move(call), time_limit(theirs, SO_SNDTIMEO), EINPROGRESS);
    return;
  }
  if (first) hold_back(std::move(theirs));
  const bool told = error == 0 ? call.answer(0) : call.fail(error);
  if (first) untold_ = !told;
}

// The answer to the call that has begun a connection. What MSG_FASTOPEN brings along is put into the program's end, as
// if it had been written after connect: the pump takes it from there.
void StreamSocket::begun(Call& call, const KernelFd& theirs) {
  if (call.number() == SYS_connect) {
    (void)call.answer(0);
    return;
  }
  ProgramMessage message;
  Datagram data;
  int error = message.find(call, 0);
  if (error == 0) error = message.read_front(call, context_.scratch, data);
  if (error == 0) {
    const ssize_t n = ::send(theirs.get(), data.bytes.data(), data.bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return (void)call.answer(n);
    error = errno;
  }
  call.fail(error);
}

bool StreamSocket::begun_later(Call& call) {
  const KernelFd theirs = context_.processes.take(call.thread(), call.descriptor());
  if (theirs && identity_of(theirs.get()) == identity()) return begun(call, theirs), true;
  call.fail(EBADF);
  return true;
}

// While we hold a copy of the program's end we do not hear of its closing; that is until the connection is decided.
void StreamSocket::hold_back(KernelFd theirs) {
  socklen_t length = sizeof held_back_.room;
  (void)::getsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &held_back_.room, &length);
  const int least = 0;
  (void)::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
  constexpr std::array<char, 1024> kFilling{};
  for (ssize_t n = 0; n >= 0; n = ::send(theirs.get(), kFilling.data(), kFilling.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) {
    held_back_.filling += static_cast<std::size_t>(n);
  }
  held_back_.theirs = std::move(theirs);
}

void StreamSocket::let_go() {
  if (!held_back_.theirs) return;
  const int room = held_back_.room / 2;  // the kernel tells twice what it was given
  (void)::setsockopt(held_back_.theirs.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  while (held_back_.filling > 0) {
    const ssize_t n =
        ::recv(ours_.get(), context_.scratch.data(), std::min(held_back_.filling, context_.scratch.size()), 0);
    if (n <= 0) break;
    held_back_.filling -= static_cast<std::size_t>(n);
  }
  held_back_.theirs.reset();
}

void StreamSocket::connection_decided() {
  // For a call that blocks connecting again tells the end and takes note of it; others ask for it themselves.
  int error = 0;
  if (waiting_.empty()) {
    error = take_error();
  } else if (sl_connect(stack_.fd(), peer_.get(), peer_.length) < 0 && errno != EISCONN) {
    error = errno;
  }
  connecting_ = false;
  untold_ = false;
  if (error == 0) {
    let_go();
    waiting_.serve([this](Call& call) { return begun_later(call); });
    return begin_to_carry(owner_, number_);
  }
  const bool told = !waiting_.empty();
  waiting_.fail_all(error);
  if (!held_back_.theirs) return unwatch_stack();  // it may try again
  if (!told) note_error(error);
  held_back_.theirs.reset();
  end();  // what it was filled with is unread
}

// --- listen, accept --------------------------------------------------------------------------------------------------

void StreamSocket::listen(Call call, KernelFd) {
  const int backlog = call.int_argument(1);
  if (!stack_ || sl_listen(stack_.fd(), backlog) < 0) {
    call.fail(stack_ ? errno : EINVAL);
    return;
  }
  backlog_ = std::clamp(backlog, 1, kMostArrivals);
  watch_stack(POLLIN);
  call.answer(0);
}

void StreamSocket::take_arrivals() {
  while (arrivals_.size() < static_cast<std::size_t>(backlog_)) {
    Arrival arrival;
    arrival.peer.length = sizeof arrival.peer.storage;
    arrival.socket = net::Socket(sl_accept4(stack_.fd(), arrival.peer.get(), &arrival.peer.length, SOCK_NONBLOCK));
    if (!arrival.socket) break;
    arrivals_.push_back(std::move(arrival));
  }
  announce_arrivals();
  waiting_.serve([this](Call& call) { return hand_out_later(call); });
  watch_stack(arrivals_.size() < static_cast<std::size_t>(backlog_) ? POLLIN : 0);
}

void StreamSocket::announce_arrivals() {
  while (announced_ < arrivals_.size() && ::send(ours_.get(), "", 1, MSG_NOSIGNAL) == 1) ++announced_;
}

void StreamSocket::accept(Call call, KernelFd theirs) {
  if (backlog_ == 0 || !stack_) {
    call.fail(EINVAL);
  } else if (!arrivals_.empty() && waiting_.empty()) {
    (void)hand_out(call, theirs);
    take_arrivals();
  } else if (is_nonblocking(theirs)) {
    call.fail(EAGAIN);
  } else {
    waiting_.add(std::move(call), time_limit(theirs, SO_RCVTIMEO), EAGAIN);
  }
}

// Whether the call has had its answer. A connection whose caller has gone waits for the next.
bool StreamSocket::hand_out_later(Call& call) {
  if (arrivals_.empty()) return false;
  const KernelFd listener = context_.processes.take(call.thread(), call.descriptor());
  if (listener && identity_of(listener.get()) == identity()) return hand_out(call, listener);
  call.fail(EBADF);
  return true;
}

bool StreamSocket::hand_out(Call& call, const KernelFd& listener) {
  char token = 0;
  if (::recv(listener.get(), &token, 1, MSG_DONTWAIT) != 1) {
    call.fail(EBADF);
    return true;
  }
  --announced_;
  const int flags = call.number() == SYS_accept4 ? call.int_argument(3) : 0;
  Result<Ends> ends = make_ends(SOCK_STREAM, flags);
  int number = -1;
  if (!ends) {
    call.fail(static_cast<int>(ends.error()));
  } else if (const int error = arrivals_.front().peer.write_to(call, call.argument(1), call.argument(2)); error != 0) {
    call.fail(error);
  } else {
    number = call.give(ends->theirs, flags);
  }
  if (number < 0) {
    announce_arrivals();
    return true;
  }
  ends->theirs.reset();
  auto accepted = std::make_unique<StreamSocket>(context_, *ends, std::move(arrivals_.front().socket));
  arrivals_.pop_front();
  StreamSocket& carrier = *accepted;
  context_.sockets.add(std::move(accepted));
  carrier.begin_to_carry(call.thread(), number);
  return true;
}

// --- messages --------------------------------------------------------------------------------------------------------

// A name says nothing on a connection; the pair knows what to do. Without one it may be where to connect to.
void StreamSocket::send_message(Call call, KernelFd theirs) {
  const bool begins = (flags_of_messages(call) & MSG_FASTOPEN) != 0 && !takes_several(call);
  if (!begins || !stack_ || pump_ || connecting_ || backlog_ > 0) return call.let_through();
  ProgramMessage message;
  SocketAddress peer;
  int error = message.find(call, 0);
  if (error == 0) error = message.read_name(call, peer);
  const int on = 1;
  const auto ask = [&] { return sl_setsockopt(stack_.fd(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on); };
  if (error == 0 && ask() < 0) error = errno;
  if (error != 0) {
    call.fail(error);
  } else {
    begin_connection(std::move(call), std::move(theirs), peer);
  }
}

// There is no queue of errors, and reading it must not take data instead.
void StreamSocket::receive_message(Call call, KernelFd) {
  const int flags = call.number() == SYS_recvmsg ? call.int_argument(2) : call.int_argument(3);
  if ((flags & MSG_ERRQUEUE) != 0) {
    call.fail(EAGAIN);
  } else {
    call.let_through();
  }
}

}  // namespace sluice::apps::run
