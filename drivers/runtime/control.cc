#include "drivers/runtime/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "drivers/runtime/control_answers.h"
#include "drivers/runtime/impl.h"

namespace sluice {

namespace {

constexpr std::size_t kMostClients = 4;       // at once; others wait in the listener's queue
constexpr std::size_t kLongestRequest = 256;  // bytes
constexpr Duration kPatience = 10_s;          // with a client that neither asks nor takes its answer
constexpr Duration kLoopPatience = 2_s;       // with an event loop that does not run

bool address_of(const std::string& path, sockaddr_un& out) {
  out = {};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof out.sun_path) return false;
  memcpy(out.sun_path, path.data(), path.size());
  return true;
}

const sockaddr* generic(const sockaddr_un& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

// A socket at this path that nobody answers any more.
bool abandoned(const std::string& path, const sockaddr_un& address) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) < 0 || !S_ISSOCK(s.st_mode)) return false;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool refused = ::connect(fd, generic(address), sizeof address) < 0 && errno == ECONNREFUSED;
  ::close(fd);
  return refused;
}

// The descriptor, or -1 and errno. Only this user may connect.
int listen_at(const std::string& path, const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (abandoned(path, address)) ::unlink(path.c_str());
  const bool ready = ::fchmod(fd, S_IRUSR | S_IWUSR) == 0 && ::bind(fd, generic(address), sizeof address) == 0 &&
                     ::listen(fd, static_cast<int>(kMostClients)) == 0;
  if (ready) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

}  // namespace

Result<std::unique_ptr<ControlServer>, Failure> ControlServer::open(const std::string& path, Runtime::Impl& runtime) {
  sockaddr_un address;
  if (!address_of(path, address)) {
    return fail(Failure{"--control '" + path + "': a path of 1 to " + std::to_string(sizeof address.sun_path - 1) +
                        " bytes is needed"});
  }
  const int listener = listen_at(path, address);
  if (listener < 0) return fail(Failure{"--control " + path + ": " + strerror(errno)});
  const int stop = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return std::unique_ptr<ControlServer>(new ControlServer(path, listener, stop, runtime));
}

ControlServer::ControlServer(std::string path, int listener, int stop, Runtime::Impl& runtime)
    : path_(std::move(path)), listener_(listener), stop_(stop), runtime_(runtime) {
  struct stat s {};
  if (::lstat(path_.c_str(), &s) == 0) inode_ = s.st_ino;
  // Signals are for the application's threads, which shall see EINTR.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { serve(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ControlServer::~ControlServer() {
  stopping_ = true;
  const std::uint64_t one = 1;
  (void)!::write(stop_, &one, sizeof one);
  thread_.join();
  for (const Client& c : clients_) ::close(c.fd);
  ::close(listener_);
  ::close(stop_);
  struct stat s {};
  if (::lstat(path_.c_str(), &s) == 0 && s.st_ino == inode_) ::unlink(path_.c_str());
}

void ControlServer::serve() {
  std::vector<pollfd> waiting;
  while (!stopping_) {
    waiting.assign({{stop_, POLLIN, 0}, {clients_.size() < kMostClients ? listener_ : -1, POLLIN, 0}});
    Instant first = Instant::never();
    for (const Client& c : clients_) {
      waiting.push_back({c.fd, static_cast<short>(c.output.empty() ? POLLIN : POLLOUT), 0});
      first = std::min(first, c.deadline);
    }
    const Duration longest = std::clamp(first - monotonic_now(), Duration(), kPatience);
    const int limit = clients_.empty() ? -1 : static_cast<int>(longest.to_millis()) + 1;
    if (::poll(waiting.data(), waiting.size(), limit) < 0) continue;
    for (std::size_t i = clients_.size(); i-- > 0;) {
      if (progress(clients_[i], waiting[i + 2].revents)) continue;
      ::close(clients_[i].fd);
      clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (waiting[1].revents != 0) accept_client();
  }
}

void ControlServer::accept_client() {
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  clients_.emplace_back();
  clients_.back().fd = fd;
  clients_.back().deadline = monotonic_now() + kPatience;
}

bool ControlServer::progress(Client& client, short events) {
  if (events == 0) return monotonic_now() < client.deadline;
  client.deadline = monotonic_now() + kPatience;
  if (client.output.empty() && !read_request(client)) return false;
  return answer_requests(client);
}

bool ControlServer::read_request(Client& client) {
  std::array<char, kLongestRequest> chunk;
  const ssize_t n = ::recv(client.fd, chunk.data(), chunk.size(), 0);
  if (n > 0) client.input.append(chunk.data(), static_cast<std::size_t>(n));
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

// One after the other: the next one is not looked at before the answer to this one is gone.
bool ControlServer::answer_requests(Client& client) {
  while (write_answer(client)) {
    if (!client.output.empty()) return true;
    if (client.last) return false;
    const std::size_t end = client.input.find('\n');
    client.last = (end == std::string::npos ? client.input.size() : end) > kLongestRequest;
    if (client.last) {
      client.output = control_error("the request is too long");
    } else if (end == std::string::npos) {
      return true;
    } else {
      const Visit visit = [this](const auto& look) { return runtime_.visit(look, kLoopPatience); };
      client.output = control_answer(client.input.substr(0, end), visit, runtime_.options);
      client.input.erase(0, end + 1);
    }
  }
  return false;
}

// False when the client has gone.
bool ControlServer::write_answer(Client& client) {
  while (client.written < client.output.size()) {
    const ssize_t n =
        ::send(client.fd, client.output.data() + client.written, client.output.size() - client.written, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.written += static_cast<std::size_t>(n);
  }
  client.output = {};
  client.written = 0;
  return true;
}

}  // namespace sluice
