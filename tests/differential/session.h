// A small program over the BSD calls, run once on the kernel and once on sluice, and what it saw: each call with its
// result, errno by name, addresses with ports by the order in which they appeared.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::differential {

// The calls of one implementation. `settle` returns when what was sent has arrived: both sides use their own loopback,
// where nothing takes time but the work itself.
struct Calls {
  int (*socket)(int, int, int);
  int (*bind)(int, const sockaddr*, socklen_t);
  int (*listen)(int, int);
  int (*accept4)(int, sockaddr*, socklen_t*, int);
  int (*connect)(int, const sockaddr*, socklen_t);
  ssize_t (*sendto)(int, const void*, size_t, int, const sockaddr*, socklen_t);
  ssize_t (*recvfrom)(int, void*, size_t, int, sockaddr*, socklen_t*);
  ssize_t (*sendmsg)(int, const msghdr*, int);
  ssize_t (*recvmsg)(int, msghdr*, int);
  ssize_t (*readv)(int, const iovec*, int);
  int (*shutdown)(int, int);
  int (*close)(int);
  int (*getsockname)(int, sockaddr*, socklen_t*);
  int (*getpeername)(int, sockaddr*, socklen_t*);
  int (*setsockopt)(int, int, int, const void*, socklen_t);
  int (*getsockopt)(int, int, int, void*, socklen_t*);
  int (*poll)(pollfd*, nfds_t, int);
  int (*fcntl)(int, int, long);
  int (*ioctl)(int, unsigned long, void*);
  void (*settle)();
  int loopback_index;
  std::array<int, 2> links;  // two Ethernet interfaces that are joined to each other; 0: there are none
};
constexpr std::array<std::array<unsigned char, 6>, 2> kLinkMacs{{{2, 0, 0, 0, 10, 1}, {2, 0, 0, 0, 10, 2}}};
const Calls& kernel_calls();
const Calls& sluice_calls();  // on a runtime of its own, opened at the first call

constexpr const char* kLoopback = "127.0.0.1";
constexpr short kAllEvents = POLLIN | POLLPRI | POLLOUT | POLLRDHUP;

std::string errno_name(int error);
std::string events_name(short events);

class Session {
 public:
  explicit Session(const Calls& calls) : calls_(calls) {}
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Sockets; closed at the end where the program does not.
  int socket(int domain, int type, int protocol = 0);
  int stream(int flags = 0) { return socket(AF_INET, SOCK_STREAM | flags); }
  int datagram(int flags = 0) { return socket(AF_INET, SOCK_DGRAM | flags); }
  int accept(int fd, int flags = 0);
  long close(int fd);

  long bind(int fd, std::uint16_t port = 0, const char* host = kLoopback);
  long listen(int fd, int backlog = 8);
  long connect(int fd, std::uint16_t port, const char* host = kLoopback);
  long disconnect(int fd);  // AF_UNSPEC
  long shutdown(int fd, int how);
  long send(int fd, std::string_view data, int flags = 0);
  long send_to(int fd, std::uint16_t port, std::string_view data, int flags = 0, const char* host = kLoopback);
  long send_size(int fd, std::size_t size, int flags = 0);  // so many bytes, whatever they are
  long send_pieces(int fd, std::size_t count, std::size_t each, std::uint16_t port = 0);
  long receive(int fd, std::size_t room, int flags = MSG_DONTWAIT);
  long receive_from(int fd, std::size_t room, int flags = MSG_DONTWAIT);
  long receive_message(int fd, std::span<const std::size_t> pieces, int flags = MSG_DONTWAIT);  // msg_flags also
  // Ancillary data, into so much room.
  long receive_told(int fd, std::size_t room = 512, int flags = MSG_DONTWAIT);
  long receive_error(int fd, std::size_t room = 64);                        // MSG_ERRQUEUE, with all that it tells
  long receive_packet(int fd, std::size_t room, int flags = MSG_DONTWAIT);  // of a raw socket
  struct Item {
    int level;
    int type;
    std::string_view bytes;
  };
  long send_told(int fd, std::uint16_t port, const Item& item, const char* host = kLoopback);
  void local_name(int fd);
  void peer_name(int fd);
  void poll(int fd, short events = kAllEvents);
  void error(int fd);  // SO_ERROR
  long set(int fd, int level, int name, int value);
  long get(int fd, int level, int name);  // recorded with its length
  long set_bytes(int fd, int level, int name, const void* value, socklen_t length);
  long get_bytes(int fd, int level, int name, socklen_t room);
  void descriptor_flags(int fd);
  long readable(int fd);  // FIONREAD
  long control(int fd, unsigned long request, int value);
  // Any other call.
  long note(const char* call, const std::function<long(const Calls&)>& f);

  // What a program needs, and the transcript does not show.
  std::uint16_t port_of(int fd);
  std::uint16_t deaf_port(int type = SOCK_STREAM);  // bound, and nobody listens
  struct Pair {
    int listener, client, server;
  };
  Pair connected();      // over TCP
  int listening();       // bound to loopback
  Pair datagram_pair();  // each connected to the other; no listener
  void reset(int fd);    // closes with a RST
  void say(std::string line) { lines_.push_back(std::move(line)); }

  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

 private:
  long record(const char* call, long value, std::string_view more = {});
  std::string name_of(const sockaddr_storage& address, socklen_t length);
  std::string item_of(int level, int type, std::string_view bytes);

  const Calls& calls_;
  std::vector<std::string> lines_;
  std::vector<int> open_;
  std::map<std::uint16_t, int> ports_;
  bool silent_ = false;
};

struct Row {
  std::string name;
  std::function<void(Session&)> program;
};
inline void PrintTo(const Row& row, std::ostream* out) {  // for GoogleTest
  *out << row.name;
}
void add_stream_rows(std::vector<Row>& rows);
void add_state_rows(std::vector<Row>& rows);
void add_datagram_rows(std::vector<Row>& rows);
void add_ancillary_rows(std::vector<Row>& rows);
void add_raw_rows(std::vector<Row>& rows);
void add_packet_rows(std::vector<Row>& rows);
void add_reading_rows(std::vector<Row>& rows);
void add_option_rows(std::vector<Row>& rows);

}  // namespace sluice::differential
