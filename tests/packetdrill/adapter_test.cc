// Plays the tool's part: loads the shared object, and lets a connection run through its table of calls in virtual time.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>  // needs time.h

#include <atomic>
#include <optional>
#include <thread>

#include "drivers/packetdrill/interface.h"
#include "stack/wire/checksum.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace sluice::packetdrill {
namespace {

using wire::Ipv4Address;
using wire::tcp::Flags;

const Ipv4Address kLocal = Ipv4Address::of(192, 168, 0, 1);
const Ipv4Address kRemote = Ipv4Address::of(192, 0, 2, 1);
constexpr std::uint16_t kPort = 8080;

struct Sniffed {
  wire::tcp::Header tcp;
  std::size_t payload = 0;
  long long time_us = 0;
};

class AdapterTest : public testing::Test {
 protected:
  void SetUp() override {
    library_ = dlopen(SLUICE_PACKETDRILL, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << dlerror();
    using Init = void (*)(const char*, Interface*);
    const auto init = reinterpret_cast<Init>(dlsym(library_, "packetdrill_interface_init"));
    ASSERT_NE(init, nullptr);
    init("profile=linux,local=192.168.0.1/16", &calls_);
  }
  void TearDown() override {
    if (calls_.free != nullptr) calls_.free(u());
    if (library_ != nullptr) dlclose(library_);
  }

  void* u() const { return calls_.userdata; }
  long long now_us() const {
    timeval t{};
    calls_.gettimeofday(u(), &t, nullptr);
    return t.tv_sec * 1'000'000LL + t.tv_usec;
  }

  void send(Flags flags, std::uint32_t seq, std::uint32_t ack, std::size_t payload = 0) {
    std::vector<std::uint8_t> packet(40 + payload);
    wire::tcp::Header tcp;
    tcp.src_port = kPort;
    tcp.dst_port = local_port_;
    tcp.seq = seq;
    tcp.ack = ack;
    tcp.flags = flags;
    tcp.window = 65000;
    const MutableBytes segment = MutableBytes(packet).subspan(20);
    wire::tcp::emit(segment, tcp, {});
    auto sum = wire::Checksum::pseudo_header(kRemote, kLocal, 6, segment.size());
    sum.add(segment);
    wire::tcp::store_checksum(segment, sum.finish());
    wire::ipv4::Header ip;
    ip.total_length = static_cast<std::uint16_t>(packet.size());
    ip.ttl = 64;
    ip.protocol = 6;
    ip.source = kRemote;
    ip.destination = kLocal;
    wire::ipv4::emit(packet, ip);
    EXPECT_EQ(calls_.netdev_send(u(), packet.data(), packet.size()), 0);
  }

  std::optional<Sniffed> receive() {
    std::array<std::uint8_t, 2048> buffer{};
    std::size_t size = buffer.size();
    Sniffed s;
    EXPECT_EQ(calls_.netdev_receive(u(), buffer.data(), &size, &s.time_us), 0);
    if (size == 0) return {};
    const auto parsed =
        wire::tcp::parse(Bytes(buffer).first(size).subspan(20), kLocal, kRemote, wire::ChecksumPolicy::kVerify);
    EXPECT_TRUE(parsed);
    if (!parsed) return {};
    s.tcp = parsed->header;
    s.payload = parsed->payload.size();
    return s;
  }

  int new_socket(int flags) {
    const int fd = calls_.socket(u(), AF_INET, SOCK_STREAM, 0);
    EXPECT_GE(fd, 1000);
    if (flags != 0) {
      EXPECT_EQ(calls_.fcntl(u(), fd, F_SETFL, O_RDWR | flags), 0);
    }
    return fd;
  }
  int connect(int fd) const {
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(kPort);
    peer.sin_addr.s_addr = htonl(kRemote.value);
    return calls_.connect(u(), fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
  }
  // The stack's SYN, and the answer to it.
  std::uint32_t answer_syn() {
    const auto syn = receive();
    EXPECT_TRUE(syn && syn->tcp.flags.syn());
    if (!syn) return 0;
    local_port_ = syn->tcp.src_port;
    send(Flags(Flags::kSyn | Flags::kAck), 1000, syn->tcp.seq + 1);
    const auto ack = receive();
    EXPECT_TRUE(ack && ack->tcp.ack == 1001);
    return syn->tcp.seq + 1;
  }

  void* library_ = nullptr;
  Interface calls_{};
  std::uint16_t local_port_ = 0;
};

TEST_F(AdapterTest, ConnectsAndSendsInVirtualTime) {
  const int fd = new_socket(O_NONBLOCK);
  EXPECT_EQ(connect(fd), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  const std::uint32_t next = answer_syn();
  EXPECT_EQ(calls_.write(u(), fd, "hello", 5), 5);
  const auto data = receive();
  ASSERT_TRUE(data);
  EXPECT_EQ(data->payload, 5u);
  EXPECT_EQ(data->tcp.seq, next);
  // Nobody acknowledges: it comes again after the retransmission timeout, to the microsecond.
  const auto again = receive();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->tcp.seq, next);
  EXPECT_GE(again->time_us - data->time_us, 200'000);
  EXPECT_LT(again->time_us - data->time_us, 1'100'000);
  EXPECT_EQ(calls_.close(u(), fd), 0);
  EXPECT_EQ(calls_.close(u(), fd), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(AdapterTest, ClockMovesWithEachLookAndWithSleep) {
  const long long first = now_us();
  EXPECT_EQ(now_us(), first + 1);
  EXPECT_EQ(calls_.usleep(u(), 250), 0);
  EXPECT_EQ(now_us(), first + 252);
}

TEST_F(AdapterTest, SilenceEndsWithAnEmptyPacket) {
  EXPECT_FALSE(receive());
  const int fd = new_socket(O_NONBLOCK);
  EXPECT_EQ(connect(fd), -1);
  int syns = 0;
  while (receive()) ++syns;
  EXPECT_GT(syns, 3);
  EXPECT_LT(syns, 20);
}

// A call of the second thread sleeps until a packet lets it go on, and is seen to end at that very time.
TEST_F(AdapterTest, BlockedCallEndsAtTheTimeOfItsPacket) {
  const int fd = new_socket(0);
  std::atomic<bool> connected = false;
  long long ended_us = 0;
  std::thread caller([&] {
    EXPECT_EQ(connect(fd), 0);
    ended_us = now_us();
    connected = true;
  });
  auto syn = receive();
  while (!syn) syn = receive();  // the thread has not come that far
  calls_.usleep(u(), 30'000);
  EXPECT_FALSE(connected);
  local_port_ = syn->tcp.src_port;
  send(Flags(Flags::kSyn | Flags::kAck), 1000, syn->tcp.seq + 1);
  calls_.usleep(u(), 500'000);
  caller.join();
  EXPECT_EQ(ended_us, syn->time_us + 30'000);
}

TEST_F(AdapterTest, PollAndEpollTellOfData) {
  const int fd = new_socket(O_NONBLOCK);
  EXPECT_EQ(connect(fd), -1);
  const std::uint32_t next = answer_syn();
  const int epoll = calls_.epoll_create(u(), 1);
  epoll_event interest{EPOLLIN | EPOLLET, {.fd = 7}};
  EXPECT_EQ(calls_.epoll_ctl(u(), epoll, EPOLL_CTL_ADD, fd, &interest), 0);
  epoll_event event{};
  EXPECT_EQ(calls_.epoll_wait(u(), epoll, &event, 1, 0), 0);
  const long long before = now_us();
  pollfd p{fd, POLLIN, 0};
  EXPECT_EQ(calls_.poll(u(), &p, 1, 20), 0);
  EXPECT_EQ(now_us(), before + 20'001);
  send(Flags(Flags::kAck | Flags::kPsh), 1001, next, 100);
  EXPECT_EQ(calls_.poll(u(), &p, 1, 20), 1);
  EXPECT_EQ(p.revents, POLLIN);
  EXPECT_EQ(calls_.epoll_wait(u(), epoll, &event, 1, 0), 1);
  EXPECT_EQ(event.data.fd, 7);
  EXPECT_EQ(calls_.epoll_wait(u(), epoll, &event, 1, 0), 0) << "an edge is reported once";
  std::array<char, 200> room;
  EXPECT_EQ(calls_.read(u(), fd, room.data(), room.size()), 100);
}

TEST_F(AdapterTest, SpliceMovesBytesThroughAPipe) {
  const int fd = new_socket(O_NONBLOCK);
  EXPECT_EQ(connect(fd), -1);
  const std::uint32_t next = answer_syn();
  int ends[2];
  EXPECT_EQ(calls_.pipe(u(), ends), 0);
  send(Flags(Flags::kAck), 1001, next, 300);
  EXPECT_EQ(calls_.splice(u(), fd, nullptr, ends[1], nullptr, 1000, 0), 300);
  EXPECT_EQ(calls_.splice(u(), ends[0], nullptr, fd, nullptr, 1000, 0), 300);
  EXPECT_EQ(calls_.splice(u(), ends[0], nullptr, ends[0], nullptr, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
}

// MSG_ZEROCOPY: the report is in the error queue, and says that the data was copied.
TEST_F(AdapterTest, ReportsThroughTheErrorQueue) {
  const int fd = new_socket(O_NONBLOCK);
  const int on = 1;
  EXPECT_EQ(calls_.setsockopt(u(), fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on), 0);
  EXPECT_EQ(connect(fd), -1);
  (void)answer_syn();
  alignas(cmsghdr) std::array<char, 128> room{};
  msghdr message{};
  const auto next = [&] {
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    return calls_.recvmsg(u(), fd, &message, MSG_ERRQUEUE);
  };
  EXPECT_EQ(next(), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(calls_.send(u(), fd, "abc", 3, MSG_ZEROCOPY), 3);
  EXPECT_EQ(next(), 0);
  EXPECT_EQ(message.msg_flags, MSG_ERRQUEUE);
  ASSERT_EQ(message.msg_controllen, CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in)));
  sock_extended_err error{};
  memcpy(&error, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof error);
  EXPECT_EQ(error.ee_origin, SO_EE_ORIGIN_ZEROCOPY);
  EXPECT_EQ(error.ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
}

}  // namespace
}  // namespace sluice::packetdrill
