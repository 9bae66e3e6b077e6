// The POSIX calls of the interface over the sockets of one host in virtual time: descriptors, blocking, poll, epoll,
// pipes.
#pragma once

#include <map>
#include <memory>

#include "drivers/packetdrill/host.h"
#include "drivers/packetdrill/interface.h"
#include "drivers/runtime/system_types.h"

namespace sluice::packetdrill {

// Numbers below are the system's own descriptors.
inline constexpr int kFirstDescriptor = 1000;

// A socket's readiness has changed so often; for edge-triggered epoll.
struct Descriptor : socket::ReadyObserver {
  enum class Kind : std::uint8_t { kSocket, kEpoll, kPipeRead, kPipeWrite };
  struct Interest {
    int fd;
    epoll_event event;
    std::uint64_t seen = 0;  // the news that was reported
  };
  struct Pipe {
    static constexpr std::size_t kRoom = 65536;
    std::vector<std::uint8_t> bytes;
  };

  explicit Descriptor(Kind k) : kind(k) {}
  void on_ready(socket::Handle) override { ++news; }

  Kind kind;
  socket::Handle handle = -1;
  SocketSettings settings{};
  std::uint64_t news = 1;
  std::vector<Interest> interests{};  // of an epoll, in the order of epoll_ctl
  std::shared_ptr<Pipe> pipe{};
};

class Session {
 public:
  explicit Session(Profile profile);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int socket(int domain, int type, int protocol);
  int bind(int fd, const sockaddr* address, socklen_t length);
  int listen(int fd, int backlog);
  int accept(int fd, sockaddr* address, socklen_t* length);
  int connect(int fd, const sockaddr* address, socklen_t length);
  ssize_t receive(int fd, msghdr& message, int flags);
  ssize_t send(int fd, const msghdr& message, int flags);
  int fcntl(int fd, int command, long argument);
  int ioctl(int fd, unsigned long request, void* argument);
  int close(int fd);
  int shutdown(int fd, int how);
  int getsockopt(int fd, int level, int name, void* value, socklen_t* length);
  int setsockopt(int fd, int level, int name, const void* value, socklen_t length);
  int poll(pollfd* fds, nfds_t count, int timeout_ms);
  int epoll_create(int size);
  int epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
  int epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms);
  int pipe(int ends[2]);
  ssize_t splice(int from, int to, std::size_t size, unsigned flags);

  void inject(Bytes packet);
  bool next_packet(IpDevice::Packet& packet);
  void sleep(Duration time);
  Instant look_at_clock();

  // One sysctl, as "net.ipv4.tcp_timestamps". False: not one of ours.
  bool apply_sysctl(std::string_view name, std::string_view value);
  void reset_sysctls();
  void forget_fast_open();  // cookies of servers
  void set_route(const wire::Prefix& destination, std::uint32_t mtu);
  [[nodiscard]] const Profile& profile() const { return host_.profile(); }

 private:
  using Lock = Host::Lock;
  Descriptor* find(int fd, Descriptor::Kind kind);
  Descriptor* find_socket(int fd) { return find(fd, Descriptor::Kind::kSocket); }
  int add(std::unique_ptr<Descriptor> descriptor);
  int wrap(socket::Handle handle, int type);
  SocketRef reference(Descriptor& d) { return {host_.stack().sockets(), d.handle, d.settings}; }
  [[nodiscard]] socket::Ready ready_of(const Descriptor& d);
  [[nodiscard]] Instant deadline_of(const Descriptor& d, Duration timeout, int flags) const;
  // As blocking() of drivers/runtime: tries until it gives something else than kAgain.
  template <typename Attempt>
  auto blocking(Lock& lock, Descriptor& d, socket::Ready wanted, Instant deadline, Attempt&& attempt)
      -> decltype(attempt());
  int check(pollfd* fds, nfds_t count);
  int collect(Descriptor& epoll, epoll_event* events, int most);
  [[nodiscard]] std::uint32_t events_of(const Descriptor::Interest& interest);
  ssize_t splice_from_socket(Lock& lock, Descriptor& from, Descriptor::Pipe& pipe, std::size_t size, unsigned flags);
  ssize_t splice_to_socket(Lock& lock, Descriptor::Pipe& pipe, Descriptor& to, std::size_t size, unsigned flags);

  Host host_;
  std::map<int, std::unique_ptr<Descriptor>> descriptors_;
};

}  // namespace sluice::packetdrill
