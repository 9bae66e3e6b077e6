// Blocking calls, their timeouts and the signals that end them, and the same calls on non-blocking descriptors.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <array>
#include <numeric>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using Blocking = TwoRuntimes;
using std::chrono::milliseconds;

TEST_F(Blocking, AcceptConnectSendReceive) {
  const int listening = listener();
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  Background accepting([&] { return sl_accept(listening, reinterpret_cast<sockaddr*>(&peer), &length); });
  wait_for_blocked(*server_, 1);
  const int client = connect_to_server();
  const int server = static_cast<int>(accepting.get().value);
  ASSERT_GE(server, SL_FD_BASE);
  EXPECT_EQ(peer.sin_addr.s_addr, address(kClientHost, 0).sin_addr.s_addr);
  EXPECT_EQ(length, sizeof peer);

  std::vector<char> got(100);
  Background receiving([&] { return sl_recv(server, got.data(), got.size(), 0); });
  wait_for_blocked(*server_, 1);
  EXPECT_EQ(sl_send(client, "hello", 5, 0), 5);
  EXPECT_EQ(receiving.get(), (Outcome{5}));
  EXPECT_EQ(std::string(got.data(), 5), "hello");

  Background end([&] { return sl_recv(server, got.data(), got.size(), 0); });
  wait_for_blocked(*server_, 1);
  EXPECT_EQ(sl_shutdown(client, SHUT_WR), 0);
  EXPECT_EQ(end.get(), (Outcome{0}));
}

TEST_F(Blocking, SendWaitsUntilAllIsTaken) {
  const Pair pair = connected();
  constexpr std::size_t kSize = 8 << 20;
  std::vector<std::uint8_t> sent(kSize);
  for (std::size_t i = 0; i < kSize; ++i) sent[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  Background sending([&] { return sl_send(pair.client, sent.data(), kSize, 0); });
  wait_for_blocked(*client_, 1);  // the peer does not read: the queues fill
  std::vector<std::uint8_t> got(kSize);
  EXPECT_EQ(sl_recv(pair.server, got.data(), kSize, MSG_WAITALL), static_cast<ssize_t>(kSize));
  EXPECT_EQ(sending.get(), (Outcome{kSize}));
  EXPECT_EQ(got, sent);
}

TEST_F(Blocking, WaitallGivesWhatCameBeforeTheEnd) {
  const Pair pair = connected();
  EXPECT_EQ(sl_send(pair.client, "abc", 3, 0), 3);
  EXPECT_EQ(sl_shutdown(pair.client, SHUT_WR), 0);
  char got[10];
  EXPECT_EQ(sl_recv(pair.server, got, sizeof got, MSG_WAITALL), 3);
}

TEST_F(Blocking, WaitallOfADatagramIsOneDatagram) {
  const int receiver = socket_of(*server_, SOCK_DGRAM);
  const sockaddr_in a = address(kServerHost, kPort);
  ASSERT_EQ(sl_bind(receiver, generic(a), sizeof a), 0);
  const int sender = socket_of(*client_, SOCK_DGRAM);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(sl_sendto(sender, "abc", 3, 0, generic(a), sizeof a), 3);
  char got[10];
  EXPECT_EQ(sl_recv(receiver, got, sizeof got, MSG_WAITALL), 3);
  EXPECT_EQ(sl_recv(receiver, got, sizeof got, MSG_WAITALL), 3);
}

using Room = std::array<char, 20>;
// Each call that reads, into two pieces of ten bytes where it can.
struct Reader {
  const char* name;
  ssize_t (*read)(int fd, Room& room, int flags);
  bool has_flags = true;
};
msghdr message_of(std::array<iovec, 2>& pieces, Room& room) {
  pieces = {iovec{room.data(), 10}, iovec{room.data() + 10, 10}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return message;
}
constexpr Reader kReaders[] = {
    {"recv", [](int fd, Room& room, int flags) { return sl_recv(fd, room.data(), room.size(), flags); }},
    {"recvfrom",
     [](int fd, Room& room, int flags) { return sl_recvfrom(fd, room.data(), room.size(), flags, nullptr, nullptr); }},
    {"recvmsg",
     [](int fd, Room& room, int flags) {
       std::array<iovec, 2> pieces{};
       msghdr message = message_of(pieces, room);
       return sl_recvmsg(fd, &message, flags);
     }},
    {"recvmmsg",
     [](int fd, Room& room, int flags) {
       std::array<iovec, 2> pieces{};
       mmsghdr message{message_of(pieces, room), 0};
       const int got = sl_recvmmsg(fd, &message, 1, flags, nullptr);
       return got == 1 ? static_cast<ssize_t>(message.msg_len) : ssize_t{-1};
     }},
    {"read", [](int fd, Room& room, int) { return sl_read(fd, room.data(), room.size()); }, false},
    {"readv",
     [](int fd, Room& room, int) {
       std::array<iovec, 2> pieces{};
       const msghdr message = message_of(pieces, room);
       return sl_readv(fd, message.msg_iov, 2);
     },
     false},
};

class ReadsOf : public Blocking {
 protected:
  void send(std::string_view bytes) {
    EXPECT_EQ(sl_send(pair_.client, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  // What the call gives when the bytes come in parts, each but the first while it waits.
  template <typename Read>
  std::string result(const std::vector<std::string>& parts, Read&& read) {
    send(parts[0]);
    wait_until([&] { return queued() == static_cast<int>(parts[0].size()); });
    Room room{};
    Background reading([&] { return read(pair_.server, room); });
    for (std::size_t i = 1; i < parts.size() && !reading.done(); ++i) {
      wait_until([&] { return reading.done() || blocked(*server_) == 1; });
      send(parts[i]);
    }
    return {room.data(), static_cast<std::size_t>(std::max(reading.get().value, 0L))};
  }
  int queued() const {
    int bytes = 0;
    EXPECT_EQ(sl_ioctl(pair_.server, FIONREAD, &bytes), 0);
    return bytes;
  }
  Pair pair_ = connected();
};

// SO_RCVLOWAT holds for each of them, and what has been taken counts: three bytes, and then two, are five.
TEST_F(ReadsOf, LowWaterMark) {
  set_int(pair_.server, SOL_SOCKET, SO_RCVLOWAT, 5);
  for (const Reader& reader : kReaders) {
    SCOPED_TRACE(reader.name);
    EXPECT_EQ(result({"abc", "de"}, [&](int fd, Room& room) { return reader.read(fd, room, 0); }), "abcde");
    if (!reader.has_flags) continue;
    EXPECT_EQ(result({"abc", "de"}, [&](int fd, Room& room) { return reader.read(fd, room, MSG_PEEK); }), "abcde");
    Room room{};
    EXPECT_EQ(reader.read(pair_.server, room, MSG_DONTWAIT), 5);
    send("abc");
    wait_until([&] { return queued() == 3; });
    EXPECT_EQ(reader.read(pair_.server, room, MSG_DONTWAIT), 3);  // what may not wait takes what there is
  }
}

// A read with room for less asks for no more; one that stops at the urgent mark has all that it can get.
TEST_F(ReadsOf, LessThanTheLowWaterMark) {
  set_int(pair_.server, SOL_SOCKET, SO_RCVLOWAT, 5);
  Room room{};
  send("abc");
  wait_until([&] { return queued() == 3; });
  EXPECT_EQ(sl_recv(pair_.server, room.data(), 2, 0), 2);
  EXPECT_EQ(sl_send(pair_.client, "u", 1, MSG_OOB), 1);
  wait_for_events(pair_.server, POLLPRI);
  EXPECT_EQ(sl_recv(pair_.server, room.data(), room.size(), MSG_PEEK), 1);
}

TEST_F(ReadsOf, ABlockIsLentWhenEnoughIsThere) {
  set_int(pair_.server, SOL_SOCKET, SO_RCVLOWAT, 5);
  int queued_when_lent = 0;
  (void)result({"abc", "de"}, [&](int fd, Room&) {
    sl_buffer buffer{};
    const ssize_t got = sl_recv_lend(fd, &buffer, 0);
    queued_when_lent = queued() + static_cast<int>(got);
    EXPECT_EQ(sl_buffer_return(&buffer), 0);
    return ssize_t{0};
  });
  EXPECT_EQ(queued_when_lent, 5);
}

TEST_F(ReadsOf, AllThatWasAskedFor) {
  const std::vector<std::string> parts{"0123456", "78901234", "56789"};
  const std::string all = parts[0] + parts[1] + parts[2];
  for (const Reader& reader : kReaders) {
    if (!reader.has_flags) continue;
    SCOPED_TRACE(reader.name);
    EXPECT_EQ(result(parts, [&](int fd, Room& room) { return reader.read(fd, room, MSG_WAITALL); }), all);
    EXPECT_EQ(result(parts, [&](int fd, Room& room) { return reader.read(fd, room, MSG_WAITALL | MSG_PEEK); }), all);
    Room room{};
    EXPECT_EQ(reader.read(pair_.server, room, 0), static_cast<ssize_t>(all.size()));
  }
}

// What came before it is returned, and the error is told by the next call.
TEST_F(ReadsOf, AnErrorBehindTheBytes) {
  Room room{};
  send("abc");
  Background reading([&] { return sl_recv(pair_.server, room.data(), room.size(), MSG_WAITALL); });
  wait_until([&] { return reading.done() || (queued() == 0 && blocked(*server_) == 1); });
  const linger now{1, 0};
  ASSERT_EQ(sl_setsockopt(pair_.client, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
  ASSERT_EQ(sl_close(pair_.client), 0);
  EXPECT_EQ(reading.get(), (Outcome{3}));
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair_.server, room.data(), 1, 0); }), failed(ECONNRESET));
}

// --- timeouts --------------------------------------------------------------------------------------------------------

TEST_F(Blocking, ReceiveTimeoutIsEagain) {
  const Pair pair = connected();
  set_timeout(pair.server, SO_RCVTIMEO, milliseconds(20));
  char byte = 0;
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair.server, &byte, 1, 0); }), failed(EAGAIN));
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(20));
  const int listening = listener();
  set_timeout(listening, SO_RCVTIMEO, milliseconds(20));
  EXPECT_EQ(outcome_of([&] { return sl_accept(listening, nullptr, nullptr); }), failed(EAGAIN));
}

TEST_F(Blocking, ReceiveTimeoutHoldsForOneWhoDoesNotRunTheStack) {
  const Pair pair = connected();
  const Pair other = connected();
  char byte = 0, another = 0;
  Background worker([&] { return sl_recv(other.server, &another, 1, 0); });
  wait_for_blocked(*server_, 1);
  set_timeout(pair.server, SO_RCVTIMEO, milliseconds(20));
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair.server, &byte, 1, 0); }), failed(EAGAIN));
  EXPECT_FALSE(worker.done());
  EXPECT_EQ(sl_send(other.client, "x", 1, 0), 1);
  EXPECT_EQ(worker.get(), (Outcome{1}));
}

// The timeout is that of the call: a peer that reads a little now and then does not renew it.
TEST_F(Blocking, SendTimeoutGivesWhatWasTaken) {
  const Pair pair = connected();
  set_timeout(pair.client, SO_SNDTIMEO, milliseconds(50));
  std::vector<char> data(32 << 20);
  std::atomic<bool> over{false};
  Background reader([&] {
    std::vector<char> sink(16 << 10);
    while (!over) {
      (void)sl_recv(pair.server, sink.data(), sink.size(), MSG_DONTWAIT);
      std::this_thread::sleep_for(milliseconds(5));
    }
    return 0;
  });
  const ssize_t taken = sl_send(pair.client, data.data(), data.size(), 0);
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, static_cast<ssize_t>(data.size()));
  over = true;
  (void)reader.get();
  Outcome last{1};
  while (last.value > 0) last = outcome_of([&] { return sl_send(pair.client, data.data(), data.size(), 0); });
  EXPECT_EQ(last, failed(EAGAIN));
}

// As Linux: EINPROGRESS for the call that began the handshake, EALREADY for one that went on waiting.
TEST_F(Blocking, ConnectTimeoutLeavesTheHandshakeUnderWay) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  set_timeout(fd, SO_SNDTIMEO, milliseconds(20));
  const sockaddr_in a = address(kNobody, kPort);
  const auto connect = [&] { return sl_connect(fd, generic(a), sizeof a); };
  EXPECT_EQ(outcome_of(connect), failed(EINPROGRESS));
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(outcome_of(connect), failed(EALREADY));
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(20));
}

TEST_F(Blocking, TimeoutsReadBack) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  set_timeout(fd, SO_RCVTIMEO, milliseconds(1500));
  timeval t{};
  socklen_t length = sizeof t;
  ASSERT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &length), 0);
  EXPECT_EQ(t.tv_sec, 1);
  EXPECT_EQ(t.tv_usec, 500'000);
  t.tv_usec = 1'000'000;
  EXPECT_EQ(outcome_of([&] { return sl_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t); }), failed(EDOM));
}

// --- signals ---------------------------------------------------------------------------------------------------------

extern "C" void ignore_signal(int) {}

class Signals : public TwoRuntimes {
 protected:
  Signals() {
    struct sigaction action {};
    action.sa_handler = ignore_signal;
    action.sa_flags = SA_RESTART;  // makes no difference
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~Signals() override { ::sigaction(SIGUSR1, &before_, nullptr); }

  // One signal may come before the thread sleeps and is then lost, as with the system's calls.
  static void signal_until_done(Background& call) {
    while (!call.done()) {
      ::pthread_kill(call.native(), SIGUSR1);
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

 private:
  struct sigaction before_ {};
};

TEST_F(Signals, EndEveryBlockingCallWithEintr) {
  const Pair pair = connected();
  const int listening = listener();
  const int connecting = socket_of(*client_, SOCK_STREAM);
  std::vector<char> data(32 << 20);
  const struct {
    const char* name;
    std::function<long()> call;
    Runtime* side;
  } rows[] = {
      {"recv", [&] { return sl_recv(pair.server, data.data(), 1, 0); }, server_.get()},
      {"accept", [&] { return sl_accept(listening, nullptr, nullptr); }, server_.get()},
      {"poll",
       [&] {
         pollfd p{pair.server, POLLIN, 0};
         return sl_poll(&p, 1, -1);
       },
       server_.get()},
      {"connect",
       [&] {
         const sockaddr_in a = address(kNobody, kPort);
         return sl_connect(connecting, generic(a), sizeof a);
       },
       client_.get()},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Background call(row.call);
    wait_for_blocked(*row.side, 1);
    signal_until_done(call);
    EXPECT_EQ(call.get(), failed(EINTR));
  }
}

// Of several waiting threads one runs the stack, the others sleep until it has news: each hears its signals.
TEST_F(Signals, ReachTheThreadThatSleepsAndTheOneThatWorks) {
  const Pair one = connected(), two = connected();
  char byte = 0, another = 0;
  Background worker([&] { return sl_recv(one.server, &byte, 1, 0); });
  wait_for_blocked(*server_, 1);
  Background sleeper([&] { return sl_recv(two.server, &another, 1, 0); });
  wait_for_blocked(*server_, 2);
  signal_until_done(sleeper);
  EXPECT_EQ(sleeper.get(), failed(EINTR));
  EXPECT_FALSE(worker.done());
  signal_until_done(worker);
  EXPECT_EQ(worker.get(), failed(EINTR));
}

TEST_F(Signals, LeaveTheHandshakeUnderWay) {
  const int fd = socket_of(*client_, SOCK_STREAM);
  set_timeout(fd, SO_SNDTIMEO, milliseconds(20));
  const sockaddr_in a = address(kNobody, kPort);
  const auto connect = [&] { return sl_connect(fd, generic(a), sizeof a); };
  set_timeout(fd, SO_SNDTIMEO, milliseconds(0));
  Background call(connect);
  wait_for_blocked(*client_, 1);
  signal_until_done(call);
  EXPECT_EQ(call.get(), failed(EINTR));
  set_timeout(fd, SO_SNDTIMEO, milliseconds(1));
  EXPECT_EQ(outcome_of(connect), failed(EALREADY));
}

// A signal to the process must run in a thread of the application, not in one of the runtime.
TEST_F(Signals, ToTheProcessReachAThreadOfTheApplication) {
  const Pair pair = connected();
  char byte = 0;
  Background call([&] { return sl_recv(pair.server, &byte, 1, 0); });
  sigset_t set, before;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  wait_for_blocked(*server_, 1);
  while (!call.done()) {
    ::kill(::getpid(), SIGUSR1);
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(call.get(), failed(EINTR));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// --- non-blocking ----------------------------------------------------------------------------------------------------

TEST_F(Blocking, NonblockingCallsGiveEagain) {
  const Pair pair = connected();
  ASSERT_EQ(sl_fcntl(pair.server, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(sl_fcntl(pair.server, F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK);
  char byte = 0;
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair.server, &byte, 1, 0); }), failed(EAGAIN));
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair.client, &byte, 1, MSG_DONTWAIT); }), failed(EAGAIN));
  std::vector<char> data(1 << 20);
  while (sl_send(pair.server, data.data(), data.size(), 0) > 0) {
  }
  EXPECT_EQ(errno, EAGAIN);
  const int listening = listener(kPort, SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(outcome_of([&] { return sl_accept(listening, nullptr, nullptr); }), failed(EAGAIN));
  int off = 0;
  ASSERT_EQ(sl_ioctl(pair.server, FIONBIO, &off), 0);
  EXPECT_EQ(sl_fcntl(pair.server, F_GETFL, 0) & O_NONBLOCK, 0);
}

TEST_F(Blocking, NonblockingConnect) {
  const int listening = listener();
  const int fd = socket_of(*client_, SOCK_STREAM | SOCK_NONBLOCK);
  const sockaddr_in a = address(kServerHost, kPort);
  const auto connect = [&] { return sl_connect(fd, generic(a), sizeof a); };
  EXPECT_EQ(outcome_of(connect), failed(EINPROGRESS));
  EXPECT_EQ(wait_for_events(fd, POLLOUT), POLLOUT);
  int error = -1;
  socklen_t length = sizeof error;
  EXPECT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(outcome_of(connect), (Outcome{0}));  // tells that it has succeeded
  EXPECT_EQ(outcome_of(connect), failed(EISCONN));
  EXPECT_GE(sl_accept(listening, nullptr, nullptr), SL_FD_BASE);
}

TEST_F(Blocking, AcceptedDescriptorsAreNonblockingOnRequest) {
  const int listening = listener();
  (void)connect_to_server();
  (void)connect_to_server();
  const int blocking = sl_accept4(listening, nullptr, nullptr, 0);
  const int nonblocking = sl_accept4(listening, nullptr, nullptr, SOCK_NONBLOCK);
  EXPECT_EQ(sl_fcntl(blocking, F_GETFL, 0) & O_NONBLOCK, 0);
  EXPECT_EQ(sl_fcntl(nonblocking, F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK);
}

// A program that never blocks and only looks still gets its data.
TEST_F(Blocking, LoopOfLooksMakesProgress) {
  const Pair pair = connected();
  Background sending([&] { return sl_send(pair.client, "x", 1, 0); });
  pollfd p{pair.server, POLLIN, 0};
  while (sl_poll(&p, 1, 0) == 0) {
  }
  EXPECT_EQ(p.revents, POLLIN);
  char byte = 0;
  EXPECT_EQ(sl_recv(pair.server, &byte, 1, MSG_DONTWAIT), 1);
}

}  // namespace
}  // namespace sluice::runtime_test
