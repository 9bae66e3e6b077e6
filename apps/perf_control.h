// The control connection of a throughput test, at either end (what goes over it: apps/perf_messages.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "apps/perf_messages.h"
#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::apps::perf {

class Control {
 public:
  using Taker = std::function<void(std::string_view bytes)>;
  using OnEnd = std::function<void(const std::string& why)>;
  // A connected socket that does not block. `on_end` is called once, when the peer has closed or the connection has
  // failed; it may destroy this object, as any of the callbacks may.
  Control(EventLoop& loop, net::Socket socket, OnEnd on_end);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // What shall be done with the next `size` bytes (> 0), or with the next message. One expectation at a time; until
  // there is one, nothing is read.
  void expect(std::size_t size, Taker taker);
  void expect_message(Taker taker);

  void send(std::string_view bytes);
  void send(State state);
  void send_message(const std::string& json);

  [[nodiscard]] int fd() const { return socket_.fd(); }
  [[nodiscard]] wire::Endpoint peer() const;
  net::Socket take_socket();  // this object is of no use afterwards

 private:
  void on_ready(short revents);
  void receive();
  void flush();
  void update_events();
  void end(const std::string& why);

  EventLoop& loop_;
  net::Socket socket_;
  OnEnd on_end_;
  std::string in_, out_;
  std::size_t wanted_ = 0;  // bytes of in_; 0: nothing is expected
  Taker taker_;
};

wire::Endpoint peer_of(int fd);
wire::Endpoint local_of(int fd);

}  // namespace sluice::apps::perf
