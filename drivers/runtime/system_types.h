// Between the system's types and those of the stack's sockets: addresses, message pieces, options, errno. Whoever
// offers BSD calls uses it. Numbers and structs are those of Linux.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "stack/base/on_demand.h"
#include "stack/socket/sockets.h"

namespace sluice {

// What a descriptor has beside the socket behind it.
struct SocketSettings {
  struct Kept {
    int name;  // of SOL_SOCKET
    int value;
  };

  // What few programs set.
  struct Seldom {
    std::uint32_t timestamping = 0;    // SO_TIMESTAMPING: its flags,
    std::uint32_t timestamp_base = 0;  // and from where bytes are counted
    Duration receive_timeout;          // 0: none
    Duration send_timeout;
    std::vector<Kept> kept;  // options that are only remembered
  };

  OnDemand<Seldom> seldom;
  bool nonblocking = false;
  bool close_on_exec = false;  // kept for who asks; no descriptor outlives an exec
  bool report_inq = false;     // TCP_INQ
  std::uint8_t told = 0;       // of each datagram: bits of Told (ancillary.h)
};

// A listener's go to those it accepts; `flags` are of accept4(2).
SocketSettings settings_of_accepted(const SocketSettings& listener, int flags);

// A descriptor's socket, with the lock of its stack held.
struct SocketRef {
  socket::Sockets& sockets;
  socket::Handle handle;
  SocketSettings& settings;
};

// The calls of the same names. -1 and errno as on Linux.
int set_socket_option(const SocketRef& socket, int level, int name, const void* value, socklen_t length);
int get_socket_option(const SocketRef& socket, int level, int name, void* value, socklen_t* length);
int control_descriptor(SocketSettings& settings, int command, long argument);        // fcntl
int control_device(const SocketRef& socket, unsigned long request, void* argument);  // ioctl
Result<socket::Type> socket_type_of(int domain, int type, int protocol);             // socket
bool is_packet(const SocketRef& socket);                                             // of AF_PACKET

// packet(7): sockaddr_ll. kInvalid: too short; kNoDevice: no interface has such a number.
Result<ip::LinkName> to_link_name(const sockaddr* address, socklen_t length);
// Cut to the room there is. Returns how long it is, up to the end of the address.
socklen_t store_link_name(const ip::LinkName& name, sockaddr* address, socklen_t room);

Result<ip::Endpoint> to_endpoint(const sockaddr* address, socklen_t length);
// Cut to the room there is; *length becomes the whole size, as the kernel does.
void store_endpoint(const ip::Endpoint& endpoint, sockaddr* address, socklen_t* length);

// The memory of a message, empty pieces left out.
class Pieces {
 public:
  static constexpr std::size_t kMost = 1024;  // of a message, empty ones too: UIO_MAXIOV

  void add(std::uint8_t* data, std::size_t size);
  // The bytes from `skip` on, which does not go back.
  [[nodiscard]] std::span<const Bytes> from(std::size_t skip);
  [[nodiscard]] std::span<const MutableBytes> writable(std::size_t skip);
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  template <typename Piece>
  std::span<const Piece> left_of(std::span<Piece> all, std::size_t skip);

  static constexpr std::size_t kFew = 16;  // without memory of their own
  std::array<Bytes, kFew> few_;
  std::array<MutableBytes, kFew> few_writable_;
  std::vector<Bytes> many_;  // all of them, when they are more
  std::vector<MutableBytes> many_writable_;
  std::size_t count_ = 0;
  std::size_t size_ = 0;
  std::size_t first_ = 0;    // of what is left
  std::size_t skipped_ = 0;  // bytes
};
// Of a message; none: it names none. kNotSupported: MSG_FASTOPEN to nowhere.
Result<std::optional<ip::Endpoint>> destination_of(const msghdr& message, int flags);
socket::SendFlags send_flags_of(int flags);  // MSG_MORE ...

Result<Pieces> pieces_of(const iovec* vector, std::size_t count);  // kFault: a null pointer; kMessageSize: too many

short poll_events_of(socket::Ready ready);

// Sets errno and returns what a failed call returns.
int set_errno(Errno e);
int answer(const Status& status);

}  // namespace sluice
