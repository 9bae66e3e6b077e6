// Coroutines over the event loop: a connection is a function that reads from top to bottom and waits with co_await, and
// one thread has as many of them as it likes. For a runtime with Threads::kEventLoop.
//
//   async::Task<> echo(async::TcpStream stream) {
//     std::array<std::uint8_t, 4096> buffer;
//     for (auto n = co_await stream.read(buffer); n && *n > 0; n = co_await stream.read(buffer)) {
//       if (!co_await stream.write({buffer.data(), *n})) break;
//     }
//   }
#pragma once

#include <poll.h>

#include <coroutine>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::async {

template <typename T>
class Task;

namespace detail {

// When a coroutine ends, whoever awaits it goes on.
struct PromiseBase {
  struct Final {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      const std::coroutine_handle<> next = ended.promise().awaiting;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::abort(); }  // errors are values here
  std::coroutine_handle<> awaiting;
};

template <typename T>
struct Promise : PromiseBase {
  Task<T> get_return_object();
  template <typename U>
  void return_value(U&& value) {
    result.emplace(std::forward<U>(value));
  }
  T take() { return std::move(*result); }
  std::optional<T> result;
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};

}  // namespace detail

// A coroutine that has not begun: it runs when it is awaited, or when a Scope starts it. Destroying it ends it where it
// waits, and with it everything that it owns.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
  Task& operator=(Task&&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    coroutine_.promise().awaiting = awaiting;
    return coroutine_;
  }
  T await_resume() { return coroutine_.promise().take(); }

 private:
  std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
Task<T> detail::Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

// Owns coroutines that nobody awaits. They run until they end, or until the scope does.
class Scope {
 public:
  Scope() = default;
  ~Scope() {
    while (first_.next != &first_) first_.next->destroy();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Runs it at once, until it waits for the first time.
  void start(Task<> task) { (void)run(*this, std::move(task)); }
  [[nodiscard]] bool empty() const { return first_.next == &first_; }

 private:
  struct Node {  // of a ring through all that run
    Node* next = this;
    Node* previous = this;
    std::coroutine_handle<> coroutine;
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node() {
      next->previous = previous;
      previous->next = next;
    }
    void destroy() const { coroutine.destroy(); }
  };
  struct Running {
    struct promise_type {
      promise_type(Scope& scope, const Task<>&) {
        node.coroutine = std::coroutine_handle<promise_type>::from_promise(*this);
        node.next = scope.first_.next;
        node.previous = &scope.first_;
        node.next->previous = node.previous->next = &node;
      }
      Running get_return_object() { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }  // frees itself
      void return_void() {}
      [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
      Node node;
    };
  };
  static Running run(Scope&, Task<> task) { co_await task; }

  Node first_;
};

// A descriptor of sluice's or of the kernel's that coroutines wait for: at a time one to read and one to write. Must
// not outlive the loop.
class Readiness {
 public:
  Readiness(EventLoop& loop, int fd) : state_(std::make_unique<State>(loop, fd)) {}

  // Until the descriptor is ready so, or over.
  [[nodiscard]] auto readable() { return Wait{*state_, state_->reader}; }
  [[nodiscard]] auto writable() { return Wait{*state_, state_->writer}; }
  [[nodiscard]] EventLoop& loop() const { return state_->loop; }

 private:
  struct State {
    State(EventLoop& l, int f) : loop(l), fd(f) {}
    ~State() { unwatch(); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    void update() {
      const int events = (reader ? POLLIN : 0) | (writer ? POLLOUT : 0);
      if (watched) return loop.set_events(fd, static_cast<short>(events));
      watched = true;
      loop.watch(fd, static_cast<short>(events), [this](short revents) { on_ready(revents); });
    }
    void unwatch() {
      if (std::exchange(watched, false)) loop.unwatch(fd);
    }
    // One at a time, in turn: the first may end the other, and this.
    void on_ready(short revents) {
      const bool over = (revents & (POLLERR | POLLHUP)) != 0;
      const bool reads = reader && (over || (revents & POLLIN) != 0);
      const bool writes = writer && (over || (revents & POLLOUT) != 0);
      if (!reads && !writes) return unwatch();  // nobody waits any more
      writer_first = reads && !(writes && writer_first);
      std::coroutine_handle<> next = std::exchange(writer_first ? reader : writer, {});
      update();
      next.resume();
    }

    EventLoop& loop;
    int fd;
    std::coroutine_handle<> reader, writer;
    bool watched = false;
    bool writer_first = false;  // next time
  };
  struct Wait {
    State& state;
    std::coroutine_handle<>& place;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiting) {
      place = waiting;
      state.update();
    }
    void await_resume() const noexcept {}
  };

  std::unique_ptr<State> state_;
};

// So much later.
class Sleep {
 public:
  Sleep(EventLoop& loop, Duration time) : loop_(loop), time_(time) {}
  ~Sleep() { loop_.cancel(timer_); }
  Sleep(const Sleep&) = delete;
  Sleep& operator=(const Sleep&) = delete;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    timer_ = loop_.after(time_, [waiting] { waiting.resume(); });
  }
  void await_resume() const noexcept {}

 private:
  EventLoop& loop_;
  Duration time_;
  EventLoop::TimerId timer_ = 0;  // none
};
[[nodiscard]] inline Sleep sleep(EventLoop& loop, Duration time) {
  return {loop, time};
}

class TcpStream {
 public:
  TcpStream(EventLoop& loop, net::Socket socket) : socket_(std::move(socket)), ready_(loop, socket_.fd()) {}

  static Task<Result<TcpStream>> connect(EventLoop& loop, wire::Endpoint peer) {
    TcpStream stream(loop, net::Socket(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)));
    if (!stream.socket_) co_return net::last_error();
    const sockaddr_in a = net::to_sockaddr(peer);
    if (sl_connect(stream.fd(), net::generic(a), sizeof a) < 0) {
      if (errno != EINPROGRESS) co_return net::last_error();
      co_await stream.ready_.writable();
      int error = 0;
      socklen_t length = sizeof error;
      (void)sl_getsockopt(stream.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) co_return fail(static_cast<Errno>(error));
    }
    co_return std::move(stream);
  }

  // Some bytes, or 0 at the end of the stream.
  Task<Result<std::size_t>> read(MutableBytes out) {
    for (;;) {
      const ssize_t n = sl_recv(fd(), out.data(), out.size(), 0);
      if (n >= 0) co_return static_cast<std::size_t>(n);
      if (errno != EAGAIN) co_return net::last_error();
      co_await ready_.readable();
    }
  }
  // All of them.
  Task<Status> write(Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t n = sl_send(fd(), bytes.data(), bytes.size(), 0);
      if (n >= 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {
        co_await ready_.writable();
      } else {
        co_return net::last_error();
      }
    }
    co_return Status();
  }
  Status finish() {  // nothing more will be written
    if (sl_shutdown(fd(), SHUT_WR) < 0) return net::last_error();
    return {};
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  net::Socket socket_;
  Readiness ready_;  // ends before the socket does
};

class TcpListener {
 public:
  static Result<TcpListener> bind(EventLoop& loop, const wire::Endpoint& local, int backlog = 128) {
    net::Socket s(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (!s) return net::last_error();
    const int on = 1;
    (void)sl_setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in a = net::to_sockaddr(local);
    if (sl_bind(s.fd(), net::generic(a), sizeof a) < 0 || sl_listen(s.fd(), backlog) < 0) return net::last_error();
    return TcpListener(loop, std::move(s));
  }
  Task<Result<TcpStream>> accept() {
    for (;;) {
      net::Socket s(sl_accept4(fd(), nullptr, nullptr, SOCK_NONBLOCK));
      if (s) co_return TcpStream(ready_.loop(), std::move(s));
      if (errno != EAGAIN) co_return net::last_error();
      co_await ready_.readable();
    }
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  TcpListener(EventLoop& loop, net::Socket socket) : socket_(std::move(socket)), ready_(loop, socket_.fd()) {}
  net::Socket socket_;
  Readiness ready_;
};

class UdpSocket {
 public:
  static Result<UdpSocket> bind(EventLoop& loop, const wire::Endpoint& local) {
    net::Socket s(sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    if (!s) return net::last_error();
    const sockaddr_in a = net::to_sockaddr(local);
    if (sl_bind(s.fd(), net::generic(a), sizeof a) < 0) return net::last_error();
    return UdpSocket(loop, std::move(s));
  }
  struct Datagram {
    std::size_t size = 0;
    wire::Endpoint from{};
  };
  Task<Result<Datagram>> receive(MutableBytes out) {
    for (;;) {
      sockaddr_in a{};
      socklen_t length = sizeof a;
      const ssize_t n = sl_recvfrom(fd(), out.data(), out.size(), 0, net::generic(a), &length);
      if (n >= 0) co_return Datagram{static_cast<std::size_t>(n), net::to_endpoint(a)};
      if (errno != EAGAIN) co_return net::last_error();
      co_await ready_.readable();
    }
  }
  Task<Status> send(Bytes bytes, wire::Endpoint to) {
    const sockaddr_in a = net::to_sockaddr(to);
    while (sl_sendto(fd(), bytes.data(), bytes.size(), 0, net::generic(a), sizeof a) < 0) {
      if (errno != EAGAIN) co_return net::last_error();
      co_await ready_.writable();
    }
    co_return Status();
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  UdpSocket(EventLoop& loop, net::Socket socket) : socket_(std::move(socket)), ready_(loop, socket_.fd()) {}
  net::Socket socket_;
  Readiness ready_;
};

}  // namespace sluice::async
