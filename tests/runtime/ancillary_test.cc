// What is told and chosen beside the data of a datagram, and multicast groups: ip(7).
#include <netinet/ip.h>

#include <array>
#include <cstring>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

constexpr const char* kGroup = "239.1.2.3";

class Ancillary : public TwoRuntimes {
 protected:
  int bound(Runtime& runtime, const char* host) {
    const int fd = socket_of(runtime, SOCK_DGRAM);
    const sockaddr_in local = address(host, kPort);
    EXPECT_EQ(sl_bind(fd, generic(local), sizeof local), 0);
    return fd;
  }
  static void send(int fd, const char* host) {
    const sockaddr_in to = address(host, kPort);
    ASSERT_EQ(sl_sendto(fd, "x", 1, 0, generic(to), sizeof to), 1);
  }

  // The next datagram's ancillary data.
  struct Told {
    std::optional<in_pktinfo> packet = {};
    std::optional<int> ttl = {};
    std::optional<int> tos = {};
    std::optional<timespec> time = {};
    std::size_t length = 0;
    int flags = 0;
  };
  static Told receive(int fd, std::size_t room = 256) {
    alignas(cmsghdr) char control[256];
    char byte;
    iovec piece{&byte, 1};
    msghdr m{};
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = room;
    EXPECT_EQ(sl_recvmsg(fd, &m, 0), 1);
    Told told{.length = m.msg_controllen, .flags = m.msg_flags};
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr && room == sizeof control; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
        std::memcpy(&told.time.emplace(), CMSG_DATA(c), sizeof(timespec));
        continue;
      }
      EXPECT_EQ(c->cmsg_level, IPPROTO_IP);
      if (c->cmsg_type == IP_PKTINFO) std::memcpy(&told.packet.emplace(), CMSG_DATA(c), sizeof(in_pktinfo));
      if (c->cmsg_type == IP_TTL) std::memcpy(&told.ttl.emplace(), CMSG_DATA(c), sizeof(int));
      if (c->cmsg_type == IP_TOS) told.tos = *CMSG_DATA(c);
    }
    return told;
  }

  // Sends with this ancillary data.
  template <typename T>
  static long send_with(int fd, const char* host, int type, const T& value) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof value)] = {};
    sockaddr_in to = address(host, kPort);
    char byte = 'x';
    iovec piece{&byte, 1};
    msghdr m{};
    m.msg_name = &to;
    m.msg_namelen = sizeof to;
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(c), &value, sizeof value);
    return sl_sendmsg(fd, &m, 0);
  }
  static int change(int fd, int name, const char* group, unsigned interface = 1) {
    ip_mreqn request{};
    ::inet_pton(AF_INET, group, &request.imr_multiaddr);
    request.imr_ifindex = static_cast<int>(interface);
    return sl_setsockopt(fd, IPPROTO_IP, name, &request, sizeof request);
  }
};

TEST_F(Ancillary, ToldOfADatagram) {
  const int server = bound(*server_, "0.0.0.0"), client = bound(*client_, kClientHost);
  set_int(client, IPPROTO_IP, IP_TTL, 17);
  set_int(client, IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY);
  send(client, kServerHost);
  EXPECT_EQ(receive(server).length, 0u);  // not asked for
  for (const int name : {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS}) set_int(server, IPPROTO_IP, name, 1);
  send(client, kServerHost);
  const Told told = receive(server);
  EXPECT_EQ(told.ttl, 17);
  EXPECT_EQ(told.tos, int{IPTOS_LOWDELAY});
  ASSERT_TRUE(told.packet);
  EXPECT_EQ(told.packet->ipi_ifindex, 1);
  EXPECT_EQ(told.packet->ipi_addr.s_addr, address(kServerHost, 0).sin_addr.s_addr);
  EXPECT_EQ(told.packet->ipi_spec_dst.s_addr, told.packet->ipi_addr.s_addr);
  EXPECT_EQ(told.flags, 0);
}

// As much as there is room for: an int takes 24 bytes, the octet of IP_TOS 17.
TEST_F(Ancillary, LittleRoom) {
  const int server = bound(*server_, kServerHost), client = bound(*client_, kClientHost);
  for (const int name : {IP_RECVTTL, IP_RECVTOS}) set_int(server, IPPROTO_IP, name, 1);
  struct Row {
    std::size_t room, length;
  };
  for (const Row& row : {Row{0, 0}, Row{8, 0}, Row{18, 18}, Row{24, 24}, Row{30, 24}, Row{40, 40}}) {
    send(client, kServerHost);
    const Told told = receive(server, row.room);
    EXPECT_EQ(told.length, row.length) << row.room;
    EXPECT_EQ(told.flags, MSG_CTRUNC) << row.room;
  }
}

TEST_F(Ancillary, ChosenForADatagram) {
  const int server = bound(*server_, kServerHost), client = bound(*client_, "0.0.0.0");
  for (const int name : {IP_RECVTTL, IP_RECVTOS}) set_int(server, IPPROTO_IP, name, 1);
  EXPECT_EQ(send_with(client, kServerHost, IP_TTL, 9), 1);
  EXPECT_EQ(receive(server).ttl, 9);
  EXPECT_EQ(send_with(client, kServerHost, IP_TOS, std::uint8_t{0x20}), 1);
  EXPECT_EQ(receive(server).tos, 0x20);
  EXPECT_EQ(send_with(client, kServerHost, IP_TOS, 0x40), 1);
  EXPECT_EQ(receive(server).tos, 0x40);
  in_pktinfo from{};
  from.ipi_ifindex = 1;
  from.ipi_spec_dst = address(kClientHost, 0).sin_addr;
  EXPECT_EQ(send_with(client, kServerHost, IP_PKTINFO, from), 1);
  EXPECT_EQ(receive(server).ttl, 64);
  from.ipi_spec_dst = address(kNobody, 0).sin_addr;
  EXPECT_EQ(outcome_of([&] { return send_with(client, kServerHost, IP_PKTINFO, from); }), failed(EADDRNOTAVAIL));
  for (const int ttl : {0, 256, -1}) {
    EXPECT_EQ(outcome_of([&] { return send_with(client, kServerHost, IP_TTL, ttl); }), failed(EINVAL)) << ttl;
  }
  EXPECT_EQ(outcome_of([&] { return send_with(client, kServerHost, 9999, 1); }), failed(EINVAL));
}

TEST_F(Ancillary, Groups) {
  const int member = bound(*server_, "0.0.0.0"), client = bound(*client_, kClientHost);
  set_int(member, IPPROTO_IP, IP_PKTINFO, 1);
  EXPECT_EQ(outcome_of([&] { return change(member, IP_ADD_MEMBERSHIP, "10.0.0.9"); }), failed(EINVAL));
  EXPECT_EQ(outcome_of([&] { return change(member, IP_ADD_MEMBERSHIP, kGroup, 7); }), failed(ENODEV));
  EXPECT_EQ(outcome_of([&] { return change(member, IP_DROP_MEMBERSHIP, kGroup); }), failed(EADDRNOTAVAIL));
  ASSERT_EQ(change(member, IP_ADD_MEMBERSHIP, kGroup), 0);
  EXPECT_EQ(outcome_of([&] { return change(member, IP_ADD_MEMBERSHIP, kGroup); }), failed(EADDRINUSE));
  const in_addr own = address(kClientHost, 0).sin_addr;
  ASSERT_EQ(sl_setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof own), 0);
  in_addr chosen{};
  socklen_t length = sizeof chosen;
  ASSERT_EQ(sl_getsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &chosen, &length), 0);
  EXPECT_EQ(chosen.s_addr, own.s_addr);
  send(client, kGroup);
  const Told told = receive(member);
  ASSERT_TRUE(told.packet);
  EXPECT_EQ(told.packet->ipi_addr.s_addr, address(kGroup, 0).sin_addr.s_addr);
  EXPECT_EQ(told.packet->ipi_spec_dst.s_addr, address(kServerHost, 0).sin_addr.s_addr);
  EXPECT_EQ(outcome_of([&] { return change(listener(), IP_ADD_MEMBERSHIP, kGroup); }), failed(EPROTO));

  // After the end of a membership nothing comes; a datagram to the host itself shows that it has been waited for.
  ASSERT_EQ(change(member, IP_DROP_MEMBERSHIP, kGroup), 0);
  send(client, kGroup);
  send(client, kServerHost);
  EXPECT_EQ(receive(member).packet->ipi_addr.s_addr, address(kServerHost, 0).sin_addr.s_addr);
}

// What is sent to a group comes back to its members on the same host, by the interface it leaves by, and with a TTL of
// 0 to nobody else.
TEST_F(Ancillary, MembersOnTheSameHost) {
  const int member = bound(*client_, "0.0.0.0"), away = bound(*server_, "0.0.0.0");
  const int from = socket_of(*client_, SOCK_DGRAM);
  set_int(member, IPPROTO_IP, IP_PKTINFO, 1);
  for (const int fd : {member, away}) ASSERT_EQ(change(fd, IP_ADD_MEMBERSHIP, kGroup), 0);
  send(from, kGroup);
  EXPECT_EQ(receive(away).flags, 0);
  const Told told = receive(member);
  ASSERT_TRUE(told.packet);
  EXPECT_EQ(told.packet->ipi_ifindex, 1);
  EXPECT_EQ(told.packet->ipi_spec_dst.s_addr, address(kClientHost, 0).sin_addr.s_addr);

  set_int(from, IPPROTO_IP, IP_MULTICAST_TTL, 0);
  send(from, kGroup);
  receive(member);
  set_int(from, IPPROTO_IP, IP_MULTICAST_TTL, 1);
  set_int(from, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
  send(from, kGroup);
  receive(away);
  for (const int fd : {member, away}) {
    EXPECT_EQ(outcome_of([&] { return sl_recv(fd, nullptr, 0, MSG_DONTWAIT); }), failed(EAGAIN));
  }
}

// On the system's clock.
TEST_F(Ancillary, TimeOfArrival) {
  const int server = bound(*server_, kServerHost), client = bound(*client_, kClientHost);
  set_int(server, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_REALTIME, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  constexpr std::chrono::seconds kAccuracy{1};  // that of the comparison of two clocks, and of whoever sets one
  const auto before = now() - kAccuracy;
  send(client, kServerHost);
  const Told told = receive(server);
  ASSERT_TRUE(told.time);
  const auto at = std::chrono::seconds(told.time->tv_sec) + std::chrono::nanoseconds(told.time->tv_nsec);
  EXPECT_GE(at, before);
  EXPECT_LE(at, now() + kAccuracy);
}

// IP_MULTICAST_ALL off: only of the groups that the socket itself has joined.
TEST_F(Ancillary, GroupsOfOthers) {
  const int member = socket_of(*server_, SOCK_DGRAM), other = socket_of(*server_, SOCK_DGRAM);
  const sockaddr_in local = address("0.0.0.0", kPort);
  for (const int fd : {member, other}) {
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    ASSERT_EQ(sl_bind(fd, generic(local), sizeof local), 0);
  }
  const int client = bound(*client_, kClientHost);
  ASSERT_EQ(change(member, IP_ADD_MEMBERSHIP, kGroup), 0);
  send(client, kGroup);
  receive(member);
  receive(other);
  set_int(other, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  send(client, kGroup);
  receive(member);
  EXPECT_EQ(outcome_of([&] { return sl_recv(other, nullptr, 0, MSG_DONTWAIT); }), failed(EAGAIN));
}

}  // namespace
}  // namespace sluice::runtime_test
