// Between the system's types and those of the stack's sockets: addresses, message pieces, options, errno. Whoever
// offers BSD calls uses it. Numbers and structs are those of Linux.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <optional>

#include "stack/socket/sockets.h"

namespace sluice {

// What a descriptor has beside the socket behind it.
struct SocketSettings {
  bool nonblocking = false;
  bool receive_ttl = false;  // IP_RECVTTL
  Duration receive_timeout;  // 0: none
  Duration send_timeout;
};

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

Result<ip::Endpoint> to_endpoint(const sockaddr* address, socklen_t length);
// Cut to the room there is; *length becomes the whole size, as the kernel does.
void store_endpoint(const ip::Endpoint& endpoint, sockaddr* address, socklen_t* length);

// The memory of a message, empty pieces left out.
struct Pieces {
  static constexpr std::size_t kMost = 15;
  std::array<Bytes, kMost> bytes;
  std::array<MutableBytes, kMost> writable;
  std::size_t count = 0;
  std::size_t size = 0;
};
Result<Pieces> pieces_of(const iovec* vector, std::size_t count);  // kFault: a null pointer; kMessageSize: too many

short poll_events_of(socket::Ready ready);

// Sets errno and returns what a failed call returns.
int set_errno(Errno e);
int answer(const Status& status);

}  // namespace sluice
