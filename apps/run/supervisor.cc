#include "apps/run/supervisor.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "apps/app.h"
#include "apps/run/datagram_socket.h"
#include "apps/run/stream_socket.h"

namespace sluice::apps::run {

namespace {

constexpr int kCallsInARow = 32;
constexpr Duration kLinger = 30_s;  // for what was sent to be acknowledged, once the program has ended

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0;
}

}  // namespace

Supervisor::Supervisor(Runtime& runtime, EventLoop& loop, const Child& child, KernelFd listener, int signals)
    : runtime_(runtime), context_(loop), child_(child.pid()), listener_(std::move(listener)), signals_(signals) {
  loop.watch(listener_.get(), POLLIN, [this](short revents) { on_calls(revents); });
  loop.watch(signals_, POLLIN, [this](short) { on_signal(); });
}

Supervisor::~Supervisor() {
  context_.loop.unwatch(signals_);
  if (listening_) context_.loop.unwatch(listener_.get());
}

int Supervisor::run() {
  context_.loop.run();
  return exit_code_;
}

// --- calls -----------------------------------------------------------------------------------------------------------

void Supervisor::on_calls(short revents) {
  for (int i = 0; i < kCallsInARow && (i > 0 ? readable(listener_.get()) : (revents & POLLIN) != 0); ++i) {
    seccomp_notif notification{};
    if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &notification) == 0)
      dispatch(Call(listener_.get(), notification));
  }
  if ((revents & POLLHUP) == 0) return;
  listening_ = false;
  context_.loop.unwatch(listener_.get());
  stop_when_all_is_sent(runtime_.now() + kLinger);
}

void Supervisor::dispatch(Call call) {
  if (call.number() == SYS_socket) return open_socket(std::move(call));
  KernelFd theirs = context_.processes.take(call.thread(), call.descriptor());
  ProgramSocket* socket = theirs ? context_.sockets.find(identity_of(theirs.get())) : nullptr;
  if (socket == nullptr || !call.waits()) return call.let_through();
  switch (call.number()) {
    case SYS_connect:
      return socket->connect(std::move(call), std::move(theirs));
    case SYS_bind:
      return socket->bind(std::move(call));
    case SYS_listen:
      return socket->listen(std::move(call), std::move(theirs));
    case SYS_accept:
    case SYS_accept4:
      return socket->accept(std::move(call), std::move(theirs));
    case SYS_getsockname:
      return socket->tell_local_name(std::move(call));
    case SYS_getpeername:
      return socket->tell_peer_name(std::move(call));
    case SYS_getsockopt:
      return socket->get_option(std::move(call));
    case SYS_setsockopt:
      return socket->set_option(std::move(call));
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
      return socket->send_message(std::move(call), std::move(theirs));
    default:
      return socket->receive_message(std::move(call), std::move(theirs));
  }
}

void Supervisor::open_socket(Call call) {
  const int domain = call.int_argument(0);
  const int type = call.int_argument(1);
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  const int protocol = call.int_argument(2);
  net::Socket stack(sl_socket(domain, kind | SOCK_NONBLOCK, protocol));
  if (!stack) {
    call.fail(errno);
    return;
  }
  const bool stream = kind == SOCK_STREAM;
  Result<Ends> ends = make_ends(stream ? SOCK_STREAM : SOCK_SEQPACKET, type);
  if (!ends) {
    call.fail(static_cast<int>(ends.error()));
    return;
  }
  if (call.give(ends->theirs, type) < 0) return;
  ends->theirs.reset();
  if (stream) {
    auto socket = std::make_unique<StreamSocket>(context_, *ends, std::move(stack));
    socket->begin_to_wait();
    context_.sockets.add(std::move(socket));
  } else {
    const ProgramSocket::Kind known{kind, protocol != 0 ? protocol : static_cast<int>(IPPROTO_UDP)};
    auto socket = std::make_unique<DatagramSocket>(context_, known, *ends, std::move(stack));
    socket->begin();
    context_.sockets.add(std::move(socket));
  }
}

// --- processes -------------------------------------------------------------------------------------------------------

// What a terminal sends it sends to the program as well; what was sent to us alone is passed on.
void Supervisor::on_signal() {
  signalfd_siginfo info{};
  if (::read(signals_, &info, sizeof info) != sizeof info) return;
  if (info.ssi_signo == SIGCHLD) return reap();
  if (info.ssi_code == SI_KERNEL) return;
  if (child_ended_) return context_.loop.stop();
  (void)::kill(child_, static_cast<int>(info.ssi_signo));
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended != child_) continue;
    child_ended_ = true;
    exit_code_ = exit_code_of(status);
  }
}

void Supervisor::stop_when_all_is_sent(Instant latest) {
  reap();  // the filter goes before the process does
  const bool over = child_ended_ && context_.sockets.open() == 0 && !connections_busy(runtime_);
  if (over || runtime_.now() >= latest) return context_.loop.stop();
  context_.loop.after(5_ms, [this, latest] { stop_when_all_is_sent(latest); });
}

}  // namespace sluice::apps::run
