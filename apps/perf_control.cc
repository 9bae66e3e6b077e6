#include "apps/perf_control.h"

#include <errno.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>

#include "apps/app.h"
#include "stack/base/byte_order.h"

namespace sluice::apps::perf {

Control::Control(EventLoop& loop, net::Socket socket, OnEnd on_end)
    : loop_(loop), socket_(std::move(socket)), on_end_(std::move(on_end)) {
  const int on = 1;  // states are single bytes that the peer waits for
  (void)sl_setsockopt(socket_.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Control::~Control() {
  loop_.unwatch(socket_.fd());
}

void Control::expect(std::size_t size, Taker taker) {
  in_.clear();
  wanted_ = size;
  taker_ = std::move(taker);
  update_events();
}

void Control::expect_message(Taker taker) {
  expect(4, [this, taker = std::move(taker)](std::string_view length) mutable {
    const std::uint32_t size = load_be32(reinterpret_cast<const std::uint8_t*>(length.data()));
    if (size == 0 || size > kMaxMessage) return end("a message of " + std::to_string(size) + " bytes is refused");
    expect(size, std::move(taker));
  });
}

void Control::send(std::string_view bytes) {
  out_ += bytes;
  flush();
}

void Control::send(State state) {
  const char byte = static_cast<char>(state);
  send(std::string_view(&byte, 1));
}

void Control::send_message(const std::string& json) {
  std::array<std::uint8_t, 4> length{};
  store_be32(length.data(), static_cast<std::uint32_t>(json.size()));
  send(std::string(length.begin(), length.end()) + json);
}

void Control::on_ready(short revents) {
  if ((revents & POLLOUT) != 0 && !out_.empty()) return flush();
  receive();
}

// Never more than is expected: the bytes that follow are for whoever takes the next ones, and may be another reader's.
void Control::receive() {
  std::array<char, 16384> buffer;
  const ssize_t n = sl_recv(socket_.fd(), buffer.data(), std::min(buffer.size(), wanted_ - in_.size()), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return end(n == 0 ? "the peer has closed the connection" : describe(static_cast<Errno>(errno)));
  in_.append(buffer.data(), static_cast<std::size_t>(n));
  if (in_.size() < wanted_) return;
  wanted_ = 0;
  const std::string bytes = std::exchange(in_, {});
  const Taker taker = std::exchange(taker_, nullptr);
  taker(bytes);
}

void Control::flush() {
  const ssize_t n = sl_send(socket_.fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
  if (n > 0) out_.erase(0, static_cast<std::size_t>(n));
  if (n < 0 && errno != EAGAIN) out_.clear();  // the failure shows itself to the reader
  update_events();
}

void Control::update_events() {
  if (wanted_ == 0 && out_.empty()) return loop_.unwatch(socket_.fd());
  const int events = (wanted_ > 0 ? POLLIN : 0) | (out_.empty() ? 0 : POLLOUT);
  loop_.watch(socket_.fd(), static_cast<short>(events), [this](short revents) { on_ready(revents); });
}

void Control::end(const std::string& why) {
  loop_.unwatch(socket_.fd());
  const OnEnd on_end = std::exchange(on_end_, nullptr);
  if (on_end) on_end(why);
}

net::Socket Control::take_socket() {
  loop_.unwatch(socket_.fd());
  return std::move(socket_);
}

wire::Endpoint Control::peer() const {
  return peer_of(socket_.fd());
}

wire::Endpoint peer_of(int fd) {
  sockaddr_in a{};
  socklen_t length = sizeof a;
  (void)sl_getpeername(fd, net::generic(a), &length);
  return net::to_endpoint(a);
}
wire::Endpoint local_of(int fd) {
  sockaddr_in a{};
  socklen_t length = sizeof a;
  (void)sl_getsockname(fd, net::generic(a), &length);
  return net::to_endpoint(a);
}

}  // namespace sluice::apps::perf
