// Packet sockets: packet(7).
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stddef.h>

#include <array>
#include <cstring>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

constexpr std::uint16_t kExperiment = 0x88b5;  // an EtherType for local experiments

class PacketSocket : public TwoRuntimes {
 protected:
  using Mac = std::array<unsigned char, 6>;

  static int open(Runtime& runtime, int type, int protocol, int interface = 1) {
    const RuntimeChoice choice(runtime);
    const int fd = sl_socket(AF_PACKET, type, htons(static_cast<std::uint16_t>(protocol)));
    EXPECT_GE(fd, 0);
    const sockaddr_ll name = link(interface, 0);
    EXPECT_EQ(sl_bind(fd, generic_link(name), sizeof name), 0);
    return fd;
  }
  static sockaddr_ll link(int interface, std::uint16_t protocol, const Mac& mac = {}) {
    sockaddr_ll name{};
    name.sll_family = AF_PACKET;
    name.sll_ifindex = interface;
    name.sll_protocol = htons(protocol);
    name.sll_halen = ETH_ALEN;
    std::memcpy(name.sll_addr, mac.data(), mac.size());
    return name;
  }
  static const sockaddr* generic_link(const sockaddr_ll& name) { return reinterpret_cast<const sockaddr*>(&name); }
  static Mac mac_of(int fd) {
    sockaddr_ll name{};
    socklen_t length = sizeof name;
    EXPECT_EQ(sl_getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length), 0);
    EXPECT_EQ(length, offsetof(sockaddr_ll, sll_addr) + ETH_ALEN);
    Mac mac{};
    std::memcpy(mac.data(), name.sll_addr, mac.size());
    return mac;
  }
  struct Frame {
    std::string bytes;
    sockaddr_ll from;
  };
  static Frame receive(int fd) {
    Frame f{std::string(2000, '\0'), {}};
    socklen_t length = sizeof f.from;
    const ssize_t n = sl_recvfrom(fd, f.bytes.data(), f.bytes.size(), 0, reinterpret_cast<sockaddr*>(&f.from), &length);
    EXPECT_GE(n, 0);
    f.bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return f;
  }
  // The next with this EtherType: there may be others, of ARP.
  static Frame receive(int fd, std::uint16_t type) {
    for (;;) {
      const Frame f = receive(fd);
      if (ntohs(f.from.sll_protocol) == type) return f;
    }
  }
  static std::string header(const Mac& to, const Mac& from, std::uint16_t type) {
    std::string bytes(to.begin(), to.end());
    bytes.append(from.begin(), from.end());
    return bytes + static_cast<char>(type >> 8) + static_cast<char>(type & 0xff);
  }

 private:
  // The runtime of new sockets of this thread.
  class RuntimeChoice {
   public:
    explicit RuntimeChoice(Runtime& runtime) { sl_use(runtime.c_handle()); }
    ~RuntimeChoice() { sl_use(nullptr); }
  };
};

TEST_F(PacketSocket, SeesWhatComesAndGoes) {
  const int all = open(*server_, SOCK_RAW, ETH_P_ALL), cooked = open(*server_, SOCK_DGRAM, ETH_P_IP);
  const Mac client_mac = mac_of(open(*client_, SOCK_RAW, 0)), server_mac = mac_of(all);
  const int server = socket_of(*server_, SOCK_DGRAM), client = socket_of(*client_, SOCK_DGRAM);
  const sockaddr_in local = address(kServerHost, kPort);
  ASSERT_EQ(sl_bind(server, generic(local), sizeof local), 0);
  ASSERT_EQ(sl_sendto(client, "question", 8, 0, generic(local), sizeof local), 8);

  const Frame came = receive(all, ETH_P_IP);
  EXPECT_EQ(came.bytes.substr(0, 14), header(server_mac, client_mac, ETH_P_IP));
  EXPECT_EQ(came.bytes.substr(14 + 28, 8), "question");
  EXPECT_EQ(came.from.sll_pkttype, PACKET_HOST);
  EXPECT_EQ(came.from.sll_ifindex, 1);
  EXPECT_EQ(came.from.sll_hatype, ARPHRD_ETHER);
  EXPECT_EQ(std::memcmp(came.from.sll_addr, client_mac.data(), ETH_ALEN), 0);
  EXPECT_EQ(receive(cooked).bytes, came.bytes.substr(14));  // padded, as it came

  std::array<char, 16> room{};
  sockaddr_in from{};
  socklen_t length = sizeof from;
  ASSERT_EQ(sl_recvfrom(server, room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&from), &length), 8);
  ASSERT_EQ(sl_sendto(server, "answer", 6, 0, generic(from), sizeof from), 6);
  const Frame went = receive(all, ETH_P_IP);
  EXPECT_EQ(went.from.sll_pkttype, PACKET_OUTGOING);
  EXPECT_EQ(went.bytes.substr(14 + 28, 6), "answer");
  EXPECT_EQ(outcome_of([&] { return sl_recv(cooked, room.data(), 1, MSG_DONTWAIT); }), failed(EAGAIN));
}

TEST_F(PacketSocket, SendsFrames) {
  const int to = open(*server_, SOCK_DGRAM, kExperiment), from = open(*client_, SOCK_RAW, 0);
  const Mac server_mac = mac_of(to), client_mac = mac_of(from);
  const std::string frame = header(server_mac, client_mac, kExperiment) + std::string(60, 'f');
  ASSERT_EQ(sl_send(from, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  EXPECT_EQ(receive(to).bytes, std::string(60, 'f'));

  const int cooked = open(*client_, SOCK_DGRAM, 0);
  const sockaddr_ll peer = link(1, kExperiment, server_mac);
  const std::string payload(50, 'p');
  ASSERT_EQ(sl_sendto(cooked, payload.data(), payload.size(), 0, generic_link(peer), sizeof peer), 50);
  EXPECT_EQ(receive(to).bytes, payload);
}

TEST_F(PacketSocket, Refuses) {
  const int fd = open(*client_, SOCK_RAW, 0), cooked = open(*client_, SOCK_DGRAM, 0);
  const int loose = open(*client_, SOCK_RAW, 0, 0);
  const auto bind_to = [&](const sockaddr_ll& name, socklen_t length) {
    return outcome_of([&] { return sl_bind(fd, generic_link(name), length); });
  };
  const auto send = [](int from, std::size_t size) {
    const std::string frame = header({2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, kExperiment) + std::string(size, 'x');
    return outcome_of([&] { return sl_send(from, frame.data(), frame.size(), 0); });
  };
  EXPECT_EQ(bind_to(link(7, 0), sizeof(sockaddr_ll)), failed(ENODEV));
  EXPECT_EQ(bind_to(link(-1, 0), sizeof(sockaddr_ll)), failed(ENODEV));
  EXPECT_EQ(bind_to(link(1, 0), 8), failed(EINVAL));
  EXPECT_EQ(send(loose, 10), failed(ENXIO));
  EXPECT_EQ(send(cooked, 10), failed(EINVAL));
  EXPECT_EQ(send(fd, 1501), failed(EMSGSIZE));
  const auto set_link = [&](link::LinkState state) {
    client_->with_stack([&](Stack& stack) { EXPECT_TRUE(stack.ip().set_link_state(1, state).has_value()); });
  };
  set_link(link::LinkState::kDown);
  EXPECT_EQ(send(fd, 10), failed(ENETDOWN));
  set_link(link::LinkState::kUp);
  EXPECT_EQ(outcome_of([&] { return sl_send(fd, "short", 5, 0); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return sl_listen(fd, 1); }), failed(EOPNOTSUPP));
  int value = 0;
  socklen_t length = sizeof value;
  ASSERT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &length), 0);
  EXPECT_EQ(value, AF_PACKET);
  ASSERT_EQ(sl_getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length), 0);
  EXPECT_EQ(value, SOCK_RAW);
}

}  // namespace
}  // namespace sluice::runtime_test
