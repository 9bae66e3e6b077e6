// Buffers lent by the stack: blocking and non-blocking calls, misuse, and what outlives what.
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "sluice/socket.hpp"
#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

std::string_view text(const sl_buffer& buffer) {
  return {static_cast<const char*>(buffer.data), buffer.size};
}

class ZeroCopy : public TwoRuntimes {
 protected:
  static sl_buffer lent(int fd) {
    sl_buffer buffer{};
    EXPECT_GT(sl_recv_lend(fd, &buffer, 0), 0) << strerrorname_np(errno);
    return buffer;
  }
  static sl_buffer borrowed(int fd) {
    sl_buffer buffer{};
    EXPECT_EQ(sl_send_borrow(fd, &buffer), 0) << strerrorname_np(errno);
    EXPECT_EQ(buffer.size, std::size_t{SL_SEND_BUFFER_SIZE});
    return buffer;
  }
  // Commits until no more goes, and stays so: what has been sent makes room again, until the peer's window is full too.
  // The buffer that did not go.
  static sl_buffer filled(const Pair& pair) {
    set_int(pair.client, SOL_SOCKET, SO_SNDBUF, 256 << 10);  // buffers that do not grow
    set_int(pair.server, SOL_SOCKET, SO_RCVBUF, 256 << 10);
    sl_buffer buffer = borrowed(pair.client);
    for (bool more = true; more;) {
      more = false;
      for (; sl_send_commit(pair.client, &buffer, buffer.size, MSG_DONTWAIT) > 0; more = true) {
        buffer = borrowed(pair.client);
      }
      EXPECT_EQ(errno, EAGAIN);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return buffer;
  }
  static std::uint64_t copied(Runtime& runtime) {
    std::uint64_t bytes = 0;
    runtime.with_stack([&](Stack& stack) { bytes = stack.counters().get(Counter::kTcpBytesCopied); });
    return bytes;
  }
  static std::size_t blocks(Runtime& runtime) {
    std::size_t count = 0;
    runtime.with_stack([&](Stack& stack) { count = stack.pool().in_use(); });
    return count;
  }
};

TEST_F(ZeroCopy, BytesArriveAndNoneIsCopied) {
  const Pair pair = connected();
  constexpr std::size_t kSize = 4 << 20;
  Background sending([&] {
    for (std::size_t done = 0; done < kSize; done += SL_SEND_BUFFER_SIZE) {
      const sl_buffer buffer = borrowed(pair.client);
      auto* bytes = static_cast<std::uint8_t*>(buffer.data);
      for (std::size_t i = 0; i < buffer.size; ++i) bytes[i] = static_cast<std::uint8_t>((done + i) * 7 / 251);
      if (sl_send_commit(pair.client, &buffer, buffer.size, 0) != SL_SEND_BUFFER_SIZE) return -1;
    }
    return sl_shutdown(pair.client, SHUT_WR);
  });
  wait_for_blocked(*client_, 1);  // the peer does not read: the queues fill
  std::size_t got = 0;
  std::size_t wrong = 0;
  for (sl_buffer buffer{}; sl_recv_lend(pair.server, &buffer, 0) > 0; got += buffer.size) {
    const auto* bytes = static_cast<const std::uint8_t*>(buffer.data);
    for (std::size_t i = 0; i < buffer.size; ++i) {
      if (bytes[i] != static_cast<std::uint8_t>((got + i) * 7 / 251)) ++wrong;
    }
    ASSERT_EQ(sl_buffer_return(&buffer), 0);
  }
  EXPECT_EQ(sending.get(), (Outcome{0}));
  EXPECT_EQ(got, kSize);
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(copied(*server_), 0u);
  EXPECT_EQ(copied(*client_), 0u);
}

TEST_F(ZeroCopy, LendBlocksUntilBytesTheEndOrClose) {
  const Pair pair = connected(), closed = connected();
  sl_buffer buffer{};
  Background receiving([&] { return sl_recv_lend(pair.server, &buffer, 0); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_send(pair.client, "hello", 5, 0), 5);
  EXPECT_EQ(receiving.get(), (Outcome{5}));
  EXPECT_EQ(text(buffer), "hello");
  EXPECT_EQ(sl_buffer_return(&buffer), 0);
  Background end([&] { return sl_recv_lend(pair.server, &buffer, 0); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  EXPECT_EQ(end.get(), (Outcome{0}));
  EXPECT_EQ(buffer.loan, 0u);
  EXPECT_EQ(sl_buffer_return(&buffer), 0);
  Background interrupted([&] { return sl_recv_lend(closed.server, &buffer, 0); });
  wait_for_blocked(*server_, 1);
  ASSERT_EQ(sl_close(closed.server), 0);
  EXPECT_EQ(interrupted.get(), failed(EBADF));
}

TEST_F(ZeroCopy, WithoutBlocking) {
  const Pair pair = connected();
  sl_buffer buffer{};
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(pair.server, &buffer, MSG_DONTWAIT); }), failed(EAGAIN));
  ASSERT_EQ(sl_fcntl(pair.server, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(pair.server, &buffer, 0); }), failed(EAGAIN));
  set_timeout(pair.client, SO_RCVTIMEO, std::chrono::milliseconds(1));
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(pair.client, &buffer, 0); }), failed(EAGAIN));

  buffer = filled(pair);
  memcpy(buffer.data, "still ours", 10);
  Background waiting([&] { return sl_send_commit(pair.client, &buffer, 10, 0); });  // the same buffer again
  wait_for_blocked(*client_, 1);
  std::string last;
  ASSERT_EQ(sl_fcntl(pair.server, F_SETFL, 0), 0);
  while (!last.ends_with("still ours")) {
    const sl_buffer got = lent(pair.server);
    last.append(text(got));  // the ten bytes may come in two buffers
    last.erase(0, last.size() - std::min<std::size_t>(last.size(), 10));
    ASSERT_EQ(sl_buffer_return(&got), 0);
  }
  EXPECT_EQ(waiting.get(), (Outcome{10}));
}

TEST_F(ZeroCopy, Misuse) {
  const Pair pair = connected();
  const int datagrams = socket_of(*client_, SOCK_DGRAM), fresh = socket_of(*server_, SOCK_STREAM);
  ASSERT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  const sl_buffer received = lent(pair.server), room = borrowed(pair.client), other = borrowed(pair.client);
  const sl_buffer strange{nullptr, 0, 12345};
  sl_buffer out{};
  const auto commit = [](int fd, const sl_buffer& buffer, std::size_t size, int flags = 0) {
    return outcome_of([&] { return sl_send_commit(fd, &buffer, size, flags); });
  };
  const auto give_back = [](const sl_buffer* buffer) { return outcome_of([&] { return sl_buffer_return(buffer); }); };

  EXPECT_EQ(commit(pair.client, room, room.size + 1), failed(EINVAL));
  EXPECT_EQ(commit(pair.client, room, 0), failed(EINVAL));
  EXPECT_EQ(commit(pair.client, room, 1, MSG_OOB), failed(EINVAL));
  EXPECT_EQ(commit(pair.server, received, 3), failed(EINVAL));  // lent, not borrowed
  EXPECT_EQ(commit(pair.server, room, 1), failed(EINVAL));      // of another runtime
  EXPECT_EQ(commit(pair.client, strange, 1), failed(EINVAL));
  EXPECT_EQ(commit(17, room, 1), failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(17, &out, 0); }), failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(fresh, &out, 0); }), failed(ENOTCONN));
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(pair.server, &out, MSG_PEEK); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(pair.server, nullptr, 0); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_send_borrow(17, &out); }), failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_send_borrow(pair.client, nullptr); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_send_borrow(datagrams, &out); }), failed(EOPNOTSUPP));
  EXPECT_EQ(give_back(&strange), failed(EINVAL));
  EXPECT_EQ(give_back(nullptr), failed(EINVAL));

  EXPECT_EQ(commit(pair.client, room, 3), (Outcome{3}));  // after all those refusals
  EXPECT_EQ(commit(pair.client, room, 3), failed(EINVAL));
  EXPECT_EQ(give_back(&room), failed(EINVAL));
  EXPECT_EQ(give_back(&other), (Outcome{0}));
  EXPECT_EQ(give_back(&other), failed(EINVAL));
  EXPECT_EQ(give_back(&received), (Outcome{0}));
  EXPECT_EQ(give_back(&received), failed(EINVAL));
  const sl_buffer next = borrowed(pair.client);  // may have the place of one that is over, but not its name
  for (const sl_buffer* over : {&room, &other, &received}) EXPECT_EQ(give_back(over), failed(EINVAL));
  EXPECT_EQ(give_back(&next), (Outcome{0}));
}

TEST_F(ZeroCopy, BufferOutlivesItsDescriptor) {
  const std::size_t before = blocks(*server_);
  const Pair pair = connected();
  ASSERT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  const sl_buffer received = lent(pair.server), room = borrowed(pair.server);
  ASSERT_EQ(sl_close(pair.server), 0);
  EXPECT_EQ(text(received), "abc");
  memset(room.data, 'x', room.size);
  EXPECT_EQ(outcome_of([&] { return sl_send_commit(pair.server, &room, 1, 0); }), failed(EBADF));
  const int again = socket_with_number(pair.server, *server_, SOCK_STREAM);  // not what was lent the bytes
  EXPECT_EQ(sl_buffer_return(&received), 0);
  EXPECT_EQ(outcome_of([&] { return sl_send_commit(again, &room, 1, 0); }), failed(EPIPE));
  EXPECT_EQ(sl_buffer_return(&room), 0);
  EXPECT_EQ(blocks(*server_), before);
}

TEST_F(ZeroCopy, BufferOutlivesItsRuntime) {
  const Pair pair = connected();
  ASSERT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  const sl_buffer received = lent(pair.server), room = borrowed(pair.server);
  server_.reset();
  EXPECT_EQ(text(received), "abc");
  memset(room.data, 'x', room.size);
  EXPECT_EQ(outcome_of([&] { return sl_send_commit(pair.client, &room, 1, 0); }), failed(EINVAL));
  EXPECT_EQ(sl_buffer_return(&received), 0);
  EXPECT_EQ(sl_buffer_return(&room), 0);
  EXPECT_EQ(outcome_of([&] { return sl_buffer_return(&room); }), failed(EINVAL));
}

// While one call has the buffer no other can: neither a second commit, nor a return under its hands.
TEST_F(ZeroCopy, OneCallHasTheBufferAtATime) {
  const Pair pair = connected();
  sl_buffer buffer = filled(pair);
  Background waiting([&] { return sl_send_commit(pair.client, &buffer, buffer.size, 0); });
  wait_for_blocked(*client_, 1);
  EXPECT_EQ(outcome_of([&] { return sl_buffer_return(&buffer); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_send_commit(pair.client, &buffer, 1, MSG_DONTWAIT); }), failed(EINVAL));
  ASSERT_EQ(sl_close(pair.client), 0);
  EXPECT_EQ(waiting.get(), failed(EBADF));
  EXPECT_EQ(sl_buffer_return(&buffer), 0);
}

TEST_F(ZeroCopy, EndOfTheRuntimeEndsABlockedCommit) {
  const Pair pair = connected();
  sl_buffer buffer = filled(pair);
  Background waiting([&] { return sl_send_commit(pair.client, &buffer, buffer.size, 0); });
  wait_for_blocked(*client_, 1);
  client_.reset();
  EXPECT_EQ(waiting.get(), failed(EBADF));
  memset(buffer.data, 'x', buffer.size);
  EXPECT_EQ(sl_buffer_return(&buffer), 0);
}

TEST_F(ZeroCopy, Datagrams) {
  const int receiver = socket_of(*server_, SOCK_DGRAM);
  const sockaddr_in a = address(kServerHost, kPort);
  ASSERT_EQ(sl_bind(receiver, generic(a), sizeof a), 0);
  const int sender = socket_of(*client_, SOCK_DGRAM);
  ASSERT_EQ(sl_sendto(sender, "one", 3, 0, generic(a), sizeof a), 3);
  ASSERT_EQ(sl_sendto(sender, "", 0, 0, generic(a), sizeof a), 0);
  ASSERT_EQ(sl_sendto(sender, "three", 5, 0, generic(a), sizeof a), 5);
  sl_buffer one{}, two{}, three{};
  sockaddr_in from{};
  socklen_t length = sizeof from;
  EXPECT_EQ(sl_recvfrom_lend(receiver, &one, 0, reinterpret_cast<sockaddr*>(&from), &length), 3);
  EXPECT_EQ(from.sin_addr.s_addr, address(kClientHost, 0).sin_addr.s_addr);
  EXPECT_EQ(sl_recv_lend(receiver, &two, 0), 0);
  EXPECT_EQ(two.loan, 0u);
  EXPECT_EQ(sl_recv_lend(receiver, &three, 0), 5);
  EXPECT_EQ(text(one), "one");
  EXPECT_EQ(text(three), "three");
  EXPECT_EQ(outcome_of([&] { return sl_recv_lend(receiver, &two, MSG_DONTWAIT); }), failed(EAGAIN));
  EXPECT_EQ(sl_buffer_return(&one), 0);
  EXPECT_EQ(sl_close(receiver), 0);
  EXPECT_EQ(text(three), "three");
  EXPECT_EQ(sl_buffer_return(&three), 0);
}

TEST_F(ZeroCopy, LoansReturnThemselves) {
  const std::size_t before = blocks(*client_);
  {
    const Pair pair = connected();
    net::TcpStream server{net::Socket(pair.server)}, client{net::Socket(pair.client)};
    auto room = client.borrow();
    ASSERT_TRUE(room);
    EXPECT_EQ(room->bytes().size(), std::size_t{SL_SEND_BUFFER_SIZE});
    memcpy(room->bytes().data(), "hello", 5);
    EXPECT_TRUE(client.commit(*room, 5));
    EXPECT_FALSE(*room);
    EXPECT_EQ(client.commit(*room, 5).error(), Errno::kInvalid);
    {
      const auto got = server.lend();
      ASSERT_TRUE(got);
      EXPECT_EQ(std::string(got->bytes().begin(), got->bytes().end()), "hello");
      const auto unused = server.borrow();
      EXPECT_TRUE(unused && *unused);
    }
    ASSERT_TRUE(client.finish());
    const auto end = server.lend();
    EXPECT_TRUE(end && !*end);
    ASSERT_TRUE(server.finish());
    EXPECT_TRUE(client.lend());
  }
  EXPECT_EQ(blocks(*client_), before);
}

}  // namespace
}  // namespace sluice::runtime_test
