// A descriptor that is closed or shut down while other threads use it, and the end of a runtime with connections open.
#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

using Closing = TwoRuntimes;

// On Linux such a thread would go on waiting; here it hears of it.
TEST_F(Closing, EndsEveryCallThatIsBlockedOnTheDescriptor) {
  const Pair reading = connected(), writing = connected(), polled = connected(), waitall = connected();
  const int listening = listener();
  const int connecting = socket_of(*client_, SOCK_STREAM);
  std::vector<char> data(32 << 20);
  char bytes[2];
  ASSERT_EQ(sl_send(waitall.client, "x", 1, 0), 1);
  pollfd arrived{waitall.server, POLLIN, 0};
  ASSERT_EQ(sl_poll(&arrived, 1, -1), 1);
  const sockaddr_in nobody = address(kNobody, kPort);
  pollfd p{polled.server, POLLIN, 0};
  const struct {
    const char* name;
    std::function<long()> call;
    Runtime* side;
    int fd;
    Outcome want;
  } rows[] = {
      {"recv", [&] { return sl_recv(reading.server, data.data(), 1, 0); }, server_.get(), reading.server,
       failed(EBADF)},
      {"recv with a byte",
       [&] { return sl_recv(waitall.server, bytes, 2, MSG_WAITALL); },
       server_.get(),
       waitall.server,
       {1}},
      {"accept", [&] { return sl_accept(listening, nullptr, nullptr); }, server_.get(), listening, failed(EBADF)},
      {"connect", [&] { return sl_connect(connecting, generic(nobody), sizeof nobody); }, client_.get(), connecting,
       failed(EBADF)},
      {"poll", [&] { return sl_poll(&p, 1, -1); }, server_.get(), polled.server, {1}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Background call(row.call);
    wait_for_blocked(*row.side, 1);
    EXPECT_EQ(sl_close(row.fd), 0);
    EXPECT_EQ(call.get(), row.want);
  }
  EXPECT_EQ(p.revents, POLLNVAL);

  Background sending([&] { return sl_send(writing.client, data.data(), data.size(), 0); });
  wait_for_blocked(*client_, 1);
  EXPECT_EQ(sl_close(writing.client), 0);
  const Outcome sent = sending.get();  // what the queues took
  EXPECT_GT(sent.value, 0);
  EXPECT_LT(sent.value, static_cast<long>(data.size()));
}

// No frame of a peer and no timer comes to help.
TEST_F(Closing, WakesTheWorkerOfAnIdleStack) {
  client_.reset();
  const int listening = listener();
  Background accepting([&] { return sl_accept(listening, nullptr, nullptr); });
  wait_for_blocked(*server_, 1);
  wait_until([&] {
    const Runtime::Impl::Guard guard(server_->impl());
    const Runtime::Impl& impl = server_->impl();
    return impl.worker_asleep && !impl.stand_in && impl.worker_until.is_never();
  });
  EXPECT_EQ(sl_shutdown(listening, SHUT_RDWR), 0);
  EXPECT_EQ(accepting.get(), failed(EINVAL));
}

TEST_F(Closing, ShutdownEndsEveryCallThatIsBlockedOnTheDescriptor) {
  const Pair reading = connected(), writing = connected();
  const int listening = listener();
  const int connecting = socket_of(*client_, SOCK_STREAM);
  const int datagrams = socket_of(*client_, SOCK_DGRAM);
  const sockaddr_in nobody = address(kNobody, kPort);
  ASSERT_EQ(sl_connect(datagrams, generic(nobody), sizeof nobody), 0);
  std::vector<char> data(32 << 20);
  const struct {
    const char* name;
    std::function<long()> call;
    Runtime* side;
    int fd, how;
    Outcome want;
  } rows[] = {
      {"recv", [&] { return sl_recv(reading.server, data.data(), 1, 0); }, server_.get(), reading.server, SHUT_RD, {0}},
      {"recv, udp", [&] { return sl_recv(datagrams, data.data(), 1, 0); }, client_.get(), datagrams, SHUT_RD, {0}},
      {"accept", [&] { return sl_accept(listening, nullptr, nullptr); }, server_.get(), listening, SHUT_RDWR,
       failed(EINVAL)},
      {"connect", [&] { return sl_connect(connecting, generic(nobody), sizeof nobody); }, client_.get(), connecting,
       SHUT_WR, failed(ECONNRESET)},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Background call(row.call);
    wait_for_blocked(*row.side, 1);
    EXPECT_EQ(sl_shutdown(row.fd, row.how), 0);
    EXPECT_EQ(call.get(), row.want);
  }
  Background sending([&] { return sl_send(writing.client, data.data(), data.size(), 0); });
  wait_for_blocked(*client_, 1);
  EXPECT_EQ(sl_shutdown(writing.client, SHUT_WR), 0);
  EXPECT_GT(sending.get().value, 0);
  EXPECT_EQ(outcome_of([&] { return sl_send(writing.client, "x", 1, 0); }), failed(EPIPE));
}

// The number is used again at once; the thread that waited for the old socket does not get the new one's data.
TEST_F(Closing, ReusedNumberIsAnotherDescriptor) {
  for (int round = 0; round < 50; ++round) {
    const Pair old = connected();
    char byte = 0;
    Background call([&] { return sl_recv(old.server, &byte, 1, 0); });
    wait_for_blocked(*server_, 1);
    const int listening = listener(kPort + 10);
    const int client = connect_to_server(kPort + 10);
    ASSERT_EQ(sl_send(client, "x", 1, 0), 1);
    wait_for_events(listening, POLLIN);
    ASSERT_EQ(sl_close(old.server), 0);
    const int again = sl_accept(listening, nullptr, nullptr);
    EXPECT_EQ(again, old.server);
    EXPECT_EQ(call.get(), failed(EBADF));
    EXPECT_EQ(sl_recv(again, &byte, 1, 0), 1);
    for (const int fd : {again, listening, client, old.client}) EXPECT_EQ(sl_close(fd), 0);
  }
}

// Many threads use and close the same few numbers: each call gives a result or EBADF and nothing breaks.
TEST_F(Closing, RacesOfCloseAndUse) {
  constexpr int kRounds = 300;
  std::atomic<int> shared{-1};
  std::atomic<bool> over{false};
  std::vector<std::unique_ptr<Background>> users;
  for (int i = 0; i < 3; ++i) {
    users.push_back(std::make_unique<Background>([&] {
      long strange = 0;
      while (!over) {
        char byte = 0;
        const int fd = shared;
        pollfd p{fd, POLLIN, 0};
        int error = 0;
        socklen_t length = sizeof error;
        for (const Outcome& o : {outcome_of([&] { return sl_recv(fd, &byte, 1, MSG_DONTWAIT); }), outcome_of([&] {
                                   return sl_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
                                 })}) {
          if (o.value < 0 && o.error != EBADF && o.error != ENOTCONN && o.error != EAGAIN) ++strange;
        }
        if (sl_poll(&p, 1, 0) < 0) ++strange;
      }
      return strange;
    }));
  }
  for (int round = 0; round < kRounds; ++round) {
    const int fd =
        socket_of(*(round % 2 == 0 ? server_ : client_), SOCK_STREAM);  // the same number, now here, now there
    shared = fd;
    ASSERT_EQ(sl_close(fd), 0);
  }
  over = true;
  for (auto& user : users) EXPECT_EQ(user->get(), (Outcome{0}));
}

TEST_F(Closing, OnlyOneOfManyClosesSucceeds) {
  for (int round = 0; round < 50; ++round) {
    const int fd = socket_of(*server_, SOCK_STREAM);
    Background one([&] { return sl_close(fd); }), two([&] { return sl_close(fd); });
    const Outcome a = one.get(), b = two.get();
    EXPECT_EQ(a.value + b.value, -1);
    EXPECT_EQ(a.error + b.error, EBADF);
  }
}

TEST_F(Closing, EndOfTheRuntimeClosesItsDescriptors) {
  const Pair pair = connected();
  const int listening = listener();
  server_.reset();
  char byte = 0;
  EXPECT_EQ(outcome_of([&] { return sl_recv(pair.server, &byte, 1, 0); }), failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_close(pair.server); }), failed(EBADF));
  EXPECT_EQ(outcome_of([&] { return sl_close(listening); }), failed(EBADF));
  EXPECT_EQ(sl_recv(pair.client, &byte, 1, 0), 0);  // the peer hears the end of the stream
  EXPECT_EQ(socket_with_number(pair.server, *client_, SOCK_STREAM), pair.server);
}

TEST_F(Closing, EndOfTheRuntimeEndsTheCallsOfItsThreads) {
  const Pair pair = connected(), polled = connected();
  const int listening = listener();
  char byte = 0;
  pollfd p{polled.server, POLLIN, 0};
  pollfd with_kernel[] = {{polled.server, POLLIN, 0}, {::eventfd(0, EFD_CLOEXEC), POLLIN, 0}};
  Background receiving([&] { return sl_recv(pair.server, &byte, 1, 0); });
  Background accepting([&] { return sl_accept(listening, nullptr, nullptr); });
  Background polling([&] { return sl_poll(&p, 1, -1); });
  Background both([&] { return sl_poll(with_kernel, 2, -1); });
  wait_for_blocked(*server_, 4);
  server_.reset();
  EXPECT_EQ(receiving.get(), failed(EBADF));
  EXPECT_EQ(accepting.get(), failed(EBADF));
  EXPECT_EQ(polling.get(), (Outcome{1}));
  EXPECT_EQ(both.get(), (Outcome{1}));
  EXPECT_EQ(p.revents, POLLNVAL);
  ::close(with_kernel[1].fd);
}

// A client that has more to send than its peer takes, and whose close() is to wait for that, so many seconds.
void fill_and_linger(int client, int server, int seconds) {
  set_int(server, SOL_SOCKET, SO_RCVBUF, 4096);
  set_int(client, SOL_SOCKET, SO_SNDBUF, 1 << 20);
  const std::string data(200'000, 'd');
  ASSERT_EQ(sl_send(client, data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
  const linger wait{1, seconds};
  ASSERT_EQ(sl_setsockopt(client, SOL_SOCKET, SO_LINGER, &wait, sizeof wait), 0);
}

TEST_F(Closing, LingersUntilThePeerHasAll) {
  const Pair pair = connected();
  fill_and_linger(pair.client, pair.server, 10'000);
  Background closing([&] { return sl_close(pair.client); });
  wait_for_blocked(*client_, 1);
  EXPECT_FALSE(closing.done());
  EXPECT_EQ(outcome_of([&] { return sl_send(pair.client, "x", 1, 0); }), failed(EBADF));
  std::size_t got = 0;
  char room[8192];
  for (ssize_t n = 1; n > 0; got += static_cast<std::size_t>(n)) n = sl_recv(pair.server, room, sizeof room, 0);
  EXPECT_EQ(got, 200'000u);
  EXPECT_EQ(closing.get(), (Outcome{0}));
}

TEST_F(Closing, LingersNoLongerThanItWasTold) {
  const Pair pair = connected();
  fill_and_linger(pair.client, pair.server, 1);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(sl_close(pair.client), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  char byte = 0;
  EXPECT_EQ(sl_recv(pair.server, &byte, 1, 0), 1);  // it goes on without us
}

TEST_F(Closing, WithoutARuntimeThereAreNoSockets) {
  server_.reset();
  client_.reset();
  EXPECT_EQ(outcome_of([] { return sl_socket(AF_INET, SOCK_STREAM, 0); }), failed(ENETDOWN));
}

}  // namespace
}  // namespace sluice::runtime_test
