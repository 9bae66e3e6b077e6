// A thin C++ layer over sluice/socket.h: sockets that close themselves, and Result instead of -1.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sluice/socket.h"
#include "stack/base/result.h"
#include "stack/wire/address.h"

namespace sluice::net {

inline Unexpected<Errno> last_error() {
  return fail(static_cast<Errno>(errno));
}

inline sockaddr_in to_sockaddr(const wire::Endpoint& endpoint) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(endpoint.port);
  a.sin_addr.s_addr = htonl(endpoint.address.v4().value);
  return a;
}
inline wire::Endpoint to_endpoint(const sockaddr_in& a) {
  return {wire::Ipv4Address{ntohl(a.sin_addr.s_addr)}, ntohs(a.sin_port)};
}
inline const sockaddr* generic(const sockaddr_in& a) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&a));
}
inline sockaddr* generic(sockaddr_in& a) {
  return static_cast<sockaddr*>(static_cast<void*>(&a));
}

// Owns a descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() { reset(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  [[nodiscard]] int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) (void)sl_close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// A buffer of the stack's in our hands; returned when it goes out of scope.
class Loan {
 public:
  Loan() = default;
  explicit Loan(const sl_buffer& buffer) : buffer_(buffer) {}
  ~Loan() { reset(); }
  Loan(Loan&& other) noexcept : buffer_(std::exchange(other.buffer_, {})) {}
  Loan& operator=(Loan&& other) noexcept {
    if (this != &other) {
      reset();
      buffer_ = std::exchange(other.buffer_, {});
    }
    return *this;
  }
  [[nodiscard]] MutableBytes bytes() const { return {static_cast<std::uint8_t*>(buffer_.data), buffer_.size}; }
  [[nodiscard]] const sl_buffer& buffer() const { return buffer_; }
  explicit operator bool() const { return buffer_.loan != 0; }
  sl_buffer release() { return std::exchange(buffer_, {}); }  // committed, or for the caller to return
  void reset() {
    if (buffer_.loan != 0) (void)sl_buffer_return(&buffer_);
    buffer_ = {};
  }

 private:
  sl_buffer buffer_{};
};

class TcpStream {
 public:
  explicit TcpStream(Socket socket) : socket_(std::move(socket)) {}

  static Result<TcpStream> connect(const wire::Endpoint& peer) {
    Socket s(sl_socket(AF_INET, SOCK_STREAM, 0));
    if (!s) return last_error();
    const sockaddr_in a = to_sockaddr(peer);
    if (sl_connect(s.fd(), generic(a), sizeof a) < 0) return last_error();
    return TcpStream(std::move(s));
  }

  // Some bytes, or 0 at the end of the stream.
  Result<std::size_t> read(MutableBytes out) {
    const ssize_t n = sl_recv(socket_.fd(), out.data(), out.size(), 0);
    if (n < 0) return last_error();
    return static_cast<std::size_t>(n);
  }
  // All of them.
  Status write(Bytes bytes) {
    if (sl_send(socket_.fd(), bytes.data(), bytes.size(), 0) < 0) return last_error();
    return {};
  }
  // Some bytes where they were received; empty at the end of the stream.
  Result<Loan> lend() {
    sl_buffer buffer{};
    if (sl_recv_lend(socket_.fd(), &buffer, 0) < 0) return last_error();
    return Loan(buffer);
  }
  // Room to write bytes into that commit() sends.
  Result<Loan> borrow() {
    sl_buffer buffer{};
    if (sl_send_borrow(socket_.fd(), &buffer) < 0) return last_error();
    return Loan(buffer);
  }
  // The first `size` bytes of what was borrowed; it is ours no more unless this fails.
  Status commit(Loan& loan, std::size_t size) {
    if (sl_send_commit(socket_.fd(), &loan.buffer(), size, 0) < 0) return last_error();
    (void)loan.release();
    return {};
  }
  Status finish() {  // nothing more will be written
    if (sl_shutdown(socket_.fd(), SHUT_WR) < 0) return last_error();
    return {};
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  Socket socket_;
};

class TcpListener {
 public:
  static Result<TcpListener> bind(const wire::Endpoint& local, int backlog = 128) {
    Socket s(sl_socket(AF_INET, SOCK_STREAM, 0));
    if (!s) return last_error();
    const int on = 1;
    (void)sl_setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in a = to_sockaddr(local);
    if (sl_bind(s.fd(), generic(a), sizeof a) < 0 || sl_listen(s.fd(), backlog) < 0) return last_error();
    return TcpListener(std::move(s));
  }
  Result<TcpStream> accept() {
    Socket s(sl_accept(socket_.fd(), nullptr, nullptr));
    if (!s) return last_error();
    return TcpStream(std::move(s));
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  explicit TcpListener(Socket socket) : socket_(std::move(socket)) {}
  Socket socket_;
};

class UdpSocket {
 public:
  static Result<UdpSocket> bind(const wire::Endpoint& local) {
    Socket s(sl_socket(AF_INET, SOCK_DGRAM, 0));
    if (!s) return last_error();
    const sockaddr_in a = to_sockaddr(local);
    if (sl_bind(s.fd(), generic(a), sizeof a) < 0) return last_error();
    return UdpSocket(std::move(s));
  }
  Result<std::size_t> receive_from(MutableBytes out, wire::Endpoint& from) {
    sockaddr_in a{};
    socklen_t length = sizeof a;
    const ssize_t n = sl_recvfrom(socket_.fd(), out.data(), out.size(), 0, generic(a), &length);
    if (n < 0) return last_error();
    from = to_endpoint(a);
    return static_cast<std::size_t>(n);
  }
  // The next datagram where it was received.
  Result<Loan> lend_from(wire::Endpoint& from) {
    sockaddr_in a{};
    socklen_t length = sizeof a;
    sl_buffer buffer{};
    if (sl_recvfrom_lend(socket_.fd(), &buffer, 0, generic(a), &length) < 0) return last_error();
    from = to_endpoint(a);
    return Loan(buffer);
  }
  Status send_to(Bytes bytes, const wire::Endpoint& to) {
    const sockaddr_in a = to_sockaddr(to);
    if (sl_sendto(socket_.fd(), bytes.data(), bytes.size(), 0, generic(a), sizeof a) < 0) return last_error();
    return {};
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  explicit UdpSocket(Socket socket) : socket_(std::move(socket)) {}
  Socket socket_;
};

}  // namespace sluice::net
