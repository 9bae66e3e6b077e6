// Programs with packet sockets, on two interfaces that are joined to each other: packet(7).
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <stddef.h>

#include <cstring>
#include <initializer_list>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;
using Mac = std::array<unsigned char, 6>;

constexpr std::uint16_t kType = 0x88b5, kOtherType = 0x88b6;  // for local experiments
constexpr Mac kEverybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, kGroup{1, 0, 0x5e, 1, 2, 3}, kNobody{2, 0, 0, 0, 0, 9};
enum class On : std::uint8_t { kA, kB, kNone };

int index_of(const Calls& c, On on) {
  return on == On::kNone ? 0 : c.links[static_cast<std::size_t>(on)];
}
Mac mac_of(On on) {
  return kLinkMacs[static_cast<std::size_t>(on)];
}
const sockaddr* generic(const sockaddr_ll& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

sockaddr_ll name_of(const Calls& c, On on, std::uint16_t type, const Mac& mac = {}) {
  sockaddr_ll name{};
  name.sll_family = AF_PACKET;
  name.sll_ifindex = index_of(c, on);
  name.sll_protocol = htons(type);
  name.sll_halen = ETH_ALEN;
  std::memcpy(name.sll_addr, mac.data(), mac.size());
  return name;
}

std::string frame(const Mac& to, const Mac& from, std::uint16_t type, const std::string& payload) {
  std::string bytes(to.begin(), to.end());
  bytes.append(from.begin(), from.end());
  return bytes + static_cast<char>(type >> 8) + static_cast<char>(type & 0xff) + payload;
}
// Long enough that no link fills it up.
std::string payload(char letter = 'p', std::size_t size = 60) {
  return std::string(size, letter);
}
std::string from_a_to(const Mac& to, std::uint16_t type = kType) {
  return frame(to, mac_of(On::kA), type, payload());
}

std::string hex(const unsigned char* bytes, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 0xf];
  }
  return text;
}

std::string described(const Calls& c, const sockaddr_ll& name, socklen_t length) {
  const char* interface = name.sll_ifindex == c.links[0]   ? "A"
                          : name.sll_ifindex == c.links[1] ? "B"
                          : name.sll_ifindex == 0          ? "none"
                                                           : "another";
  std::string text = "name of " + std::to_string(length) + ": family " + std::to_string(name.sll_family);
  text += std::string(" interface ") + interface + " protocol " + std::to_string(ntohs(name.sll_protocol));
  text += " hatype " + std::to_string(name.sll_hatype) + " pkttype " + std::to_string(name.sll_pkttype);
  return text + " address " + std::to_string(name.sll_halen) + ":" + hex(name.sll_addr, sizeof name.sll_addr);
}

long bind(S& s, int fd, On on, std::uint16_t type) {
  return s.note("bind", [&](const Calls& c) {
    const sockaddr_ll name = name_of(c, on, type);
    return c.bind(fd, generic(name), sizeof name);
  });
}
int open(S& s, int type, std::uint16_t protocol, On on = On::kNone) {
  const int fd = s.socket(AF_PACKET, type, htons(protocol));
  if (on != On::kNone) bind(s, fd, on, 0);
  return fd;
}
void local_name(S& s, int fd, socklen_t room = sizeof(sockaddr_ll)) {
  sockaddr_ll name{};
  socklen_t length = room;
  const Calls* calls = nullptr;
  const long got = s.note("getsockname", [&](const Calls& c) {
    calls = &c;
    return c.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
  });
  if (got == 0) s.say(described(*calls, name, length));
}

// The next frame of these experiments; there may be others on a link, which nobody here has sent.
void receive(S& s, int fd, std::size_t room = 200, int flags = MSG_DONTWAIT) {
  sockaddr_ll from{};
  socklen_t length = 0;
  std::string data;
  const Calls* calls = nullptr;
  const long got = s.note("recvfrom", [&](const Calls& c) {
    calls = &c;
    for (;;) {
      data.assign(room, '\0');
      from = {};
      length = sizeof from;
      const long n = c.recvfrom(fd, data.data(), room, flags, reinterpret_cast<sockaddr*>(&from), &length);
      const int type = ntohs(from.sll_protocol);
      if (n < 0 || type == kType || type == kOtherType) return n;
    }
  });
  if (got < 0) return;
  data.resize(std::min(room, static_cast<std::size_t>(got)));
  s.say(described(*calls, from, length));
  s.say("bytes " + hex(reinterpret_cast<const unsigned char*>(data.data()), data.size()));
}
long send_to(S& s, int fd, const std::string& data, On on, std::uint16_t type, const Mac& mac = {}, int flags = 0) {
  return s.note("sendto", [&](const Calls& c) {
    const sockaddr_ll name = name_of(c, on, type, mac);
    return c.sendto(fd, data.data(), data.size(), flags, generic(name), sizeof name);
  });
}

void add_names(std::vector<Row>& rows) {
  for (const int type :
       {int{SOCK_RAW}, int{SOCK_DGRAM}, int{SOCK_STREAM}, int{SOCK_SEQPACKET}, 11, SOCK_RAW | SOCK_NONBLOCK}) {
    rows.push_back({"packet/socket of type " + std::to_string(type), [type](S& s) {
                      const int fd = s.socket(AF_PACKET, type, htons(kType));
                      if (fd < 0) return;
                      for (const int name : {SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ERROR, SO_ACCEPTCONN, SO_BROADCAST}) {
                        s.get(fd, SOL_SOCKET, name);
                      }
                      s.poll(fd);
                      s.readable(fd);
                      s.receive(fd, 8);
                      s.descriptor_flags(fd);
                      local_name(s, fd);
                    }});
  }
  rows.push_back({"packet/socket without a protocol", [](S& s) {
                    const int fd = open(s, SOCK_RAW, 0);
                    s.get(fd, SOL_SOCKET, SO_PROTOCOL);
                    local_name(s, fd);
                    bind(s, fd, On::kB, kType);
                    s.get(fd, SOL_SOCKET, SO_PROTOCOL);
                    local_name(s, fd);
                    bind(s, fd, On::kA, 0);
                    local_name(s, fd);
                    bind(s, fd, On::kNone, kOtherType);
                    local_name(s, fd);
                    for (const socklen_t room : {0u, 5u, 12u, 18u}) local_name(s, fd, room);
                  }});
  rows.push_back({"packet/names that are none", [](S& s) {
                    const int fd = open(s, SOCK_RAW, kType);
                    const auto bind_with = [&](void (*edit)(sockaddr_ll&), socklen_t length = sizeof(sockaddr_ll)) {
                      s.note("bind", [&](const Calls& c) {
                        sockaddr_ll name = name_of(c, On::kA, kType);
                        edit(name);
                        return c.bind(fd, generic(name), length);
                      });
                    };
                    bind_with([](sockaddr_ll& n) { n.sll_ifindex = 99; });
                    bind_with([](sockaddr_ll& n) { n.sll_ifindex = -1; });
                    bind_with([](sockaddr_ll& n) { n.sll_ifindex = 1000; });
                    bind_with([](sockaddr_ll& n) { n.sll_family = AF_INET; });
                    bind_with([](sockaddr_ll& n) { n.sll_halen = 0; });
                    bind_with([](sockaddr_ll& n) { n.sll_halen = 7; });
                    for (const socklen_t length : {0u, 2u, 11u, 12u, 18u, 19u}) {
                      s.say("length " + std::to_string(length));
                      bind_with([](sockaddr_ll&) {}, length);
                    }
                    s.note("bind", [&](const Calls& c) { return c.bind(fd, nullptr, 0); });
                    s.bind(fd, 7);
                    local_name(s, fd);
                  }});
  rows.push_back({"packet/calls it does not have", [](S& s) {
                    const int fd = open(s, SOCK_DGRAM, kType, On::kA);
                    s.listen(fd);
                    s.accept(fd);
                    s.shutdown(fd, SHUT_RDWR);
                    s.note("connect", [&](const Calls& c) {
                      const sockaddr_ll name = name_of(c, On::kB, kType, mac_of(On::kB));
                      return c.connect(fd, generic(name), sizeof name);
                    });
                    s.peer_name(fd);
                    s.get(fd, IPPROTO_IP, IP_TTL);
                    s.set(fd, IPPROTO_IP, IP_TTL, 1);
                    s.set(fd, IPPROTO_TCP, 1, 1);
                    s.set(fd, SOL_PACKET, 9999, 1);
                    s.get(fd, SOL_PACKET, 9999);
                  }});
}

void add_receiving(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&)> program) {
    rows.push_back({"packet/" + name, std::move(program)});
  };
  add("there and back", [](S& s) {
    const int a = open(s, SOCK_RAW, kType, On::kA), b = open(s, SOCK_RAW, kType, On::kB);
    s.send(a, from_a_to(mac_of(On::kB)));
    s.poll(b);
    s.readable(b);
    receive(s, b);
    receive(s, b);
    receive(s, a);
    s.send(b, frame(mac_of(On::kA), mac_of(On::kB), kType, payload('q')));
    receive(s, a);
  });
  add("without headers", [](S& s) {
    const int a = open(s, SOCK_DGRAM, kType, On::kA), b = open(s, SOCK_DGRAM, kType, On::kB);
    send_to(s, a, payload(), On::kA, kType, mac_of(On::kB));
    s.readable(b);
    receive(s, b);
    send_to(s, a, payload(), On::kA, kOtherType, mac_of(On::kB));
    receive(s, b);
    send_to(s, a, payload('z'), On::kA, 0, mac_of(On::kB));
    receive(s, b);
  });
  add("to whom", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA), b = open(s, SOCK_RAW, kType, On::kB);
    for (const Mac& to : {mac_of(On::kB), kEverybody, kGroup, kNobody}) {
      s.send(a, from_a_to(to));
      receive(s, b);
    }
  });
  add("which protocol", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA);
    const int all = open(s, SOCK_RAW, ETH_P_ALL, On::kB), one = open(s, SOCK_RAW, kType, On::kB);
    const int none = open(s, SOCK_RAW, 0, On::kB);
    for (const std::uint16_t type : {kType, kOtherType}) {
      s.send(a, from_a_to(mac_of(On::kB), type));
      for (const int fd : {all, one, none}) receive(s, fd);
    }
  });
  add("which interface", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA);
    const int everywhere = open(s, SOCK_RAW, kType), on_a = open(s, SOCK_RAW, kType, On::kA);
    s.send(a, from_a_to(mac_of(On::kB)));
    receive(s, everywhere);
    receive(s, everywhere);
    receive(s, on_a);
    bind(s, on_a, On::kB, 0);
    s.send(a, from_a_to(mac_of(On::kB)));
    receive(s, on_a);
  });
  add("what is sent", [](S& s) {
    const int a = open(s, SOCK_RAW, ETH_P_ALL, On::kA), other = open(s, SOCK_RAW, ETH_P_ALL, On::kA);
    const int cooked = open(s, SOCK_DGRAM, ETH_P_ALL, On::kA), everywhere = open(s, SOCK_RAW, ETH_P_ALL);
    s.send(a, from_a_to(mac_of(On::kB)));
    for (const int fd : {a, other, cooked, everywhere, everywhere, everywhere}) receive(s, fd);
  });
  add("peek and truncate", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA), b = open(s, SOCK_RAW, kType, On::kB);
    s.send(a, from_a_to(mac_of(On::kB)));
    receive(s, b, 200, MSG_DONTWAIT | MSG_PEEK);
    receive(s, b, 20, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
    s.receive_message(b, std::array<std::size_t, 2>{20, 3}, MSG_DONTWAIT | MSG_PEEK);
    receive(s, b, 20);
    receive(s, b);
  });
  add("several wait", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA), b = open(s, SOCK_DGRAM, kType, On::kB);
    for (const char letter : {'1', '2', '3'}) {
      s.send(a, frame(mac_of(On::kB), mac_of(On::kA), kType, payload(letter, 50u + static_cast<unsigned>(letter % 8))));
    }
    for (int i = 0; i < 4; ++i) {
      s.readable(b);
      receive(s, b);
    }
    s.poll(b);
  });
  add("told", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA), b = open(s, SOCK_DGRAM, kType, On::kB);
    s.set(b, SOL_SOCKET, SO_TIMESTAMP, 1);
    s.set(b, SOL_SOCKET, SO_RXQ_OVFL, 1);
    s.send(a, from_a_to(mac_of(On::kB)));
    s.receive_told(b);
  });
}

void add_sending(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&)> program) {
    rows.push_back({"packet/" + name, std::move(program)});
  };
  for (const int type : {int{SOCK_RAW}, int{SOCK_DGRAM}}) {
    add("sizes of type " + std::to_string(type), [type](S& s) {
      const int a = open(s, type, 0, On::kA);
      const std::string whole = from_a_to(mac_of(On::kB)) + payload('x', 2000);
      for (const std::size_t size : {0u, 1u, 13u, 14u, 15u, 1499u, 1500u, 1501u, 1514u, 1515u, 1600u}) {
        s.say("size " + std::to_string(size));
        send_to(s, a, whole.substr(0, size), On::kA, kType, mac_of(On::kB));
        if (type == SOCK_RAW) s.send(a, whole.substr(0, size));
      }
    });
    add("by which interface, type " + std::to_string(type), [type](S& s) {
      const int loose = open(s, type, kType), bound = open(s, type, kType, On::kA),
                b = open(s, SOCK_RAW, kType, On::kB);
      s.send(loose, from_a_to(mac_of(On::kB)));
      send_to(s, loose, from_a_to(mac_of(On::kB)), On::kNone, kType, mac_of(On::kB));
      send_to(s, loose, from_a_to(mac_of(On::kB)), On::kA, kType, mac_of(On::kB));
      receive(s, b);
      s.send(bound, from_a_to(mac_of(On::kB)));
      receive(s, b);
      send_to(s, bound, from_a_to(mac_of(On::kB)), On::kNone, kType, mac_of(On::kB));
      receive(s, b);
    });
    add("destinations that are none, type " + std::to_string(type), [type](S& s) {
      const int a = open(s, type, kType, On::kA), b = open(s, SOCK_RAW, kType, On::kB);
      const std::string data = from_a_to(mac_of(On::kB));
      const auto send_with = [&](void (*edit)(sockaddr_ll&), socklen_t length = sizeof(sockaddr_ll)) {
        s.note("sendto", [&](const Calls& c) {
          sockaddr_ll name = name_of(c, On::kA, kType, mac_of(On::kB));
          edit(name);
          return c.sendto(a, data.data(), data.size(), 0, generic(name), length);
        });
        receive(s, b);
      };
      send_with([](sockaddr_ll& n) { n.sll_ifindex = 99; });
      send_with([](sockaddr_ll& n) { n.sll_ifindex = -1; });
      send_with([](sockaddr_ll& n) { n.sll_ifindex = 1000; });
      send_with([](sockaddr_ll& n) { n.sll_family = AF_INET; });
      send_with([](sockaddr_ll& n) { n.sll_halen = 0; });
      send_with([](sockaddr_ll& n) { n.sll_halen = 5; });
      send_with([](sockaddr_ll& n) { n.sll_halen = 8; });
      for (const socklen_t length : {2u, 11u, 12u, 17u, 18u, 19u}) {
        s.say("length " + std::to_string(length));
        send_with([](sockaddr_ll&) {}, length);
      }
    });
  }
  add("flags", [](S& s) {
    const int a = open(s, SOCK_RAW, kType, On::kA);
    for (const int flags : {int{MSG_OOB}, int{MSG_MORE}, int{MSG_DONTWAIT}, int{MSG_CONFIRM}}) {
      s.say("flags " + std::to_string(flags));
      s.send(a, from_a_to(mac_of(On::kB)), flags);
    }
    for (const int flags : {int{MSG_OOB}, int{MSG_ERRQUEUE}, int{MSG_WAITALL | MSG_DONTWAIT}}) {
      s.say("flags " + std::to_string(flags));
      s.receive(a, 8, flags | MSG_DONTWAIT);
    }
  });
  add("in pieces", [](S& s) {
    const int a = open(s, SOCK_RAW, 0, On::kA), b = open(s, SOCK_RAW, kType, On::kB);
    std::string whole = from_a_to(mac_of(On::kB));
    s.note("sendmsg", [&](const Calls& c) {
      std::array<iovec, 3> pieces{iovec{whole.data(), 7}, iovec{nullptr, 0}, iovec{whole.data() + 7, whole.size() - 7}};
      msghdr message{};
      message.msg_iov = pieces.data();
      message.msg_iovlen = pieces.size();
      return c.sendmsg(a, &message, 0);
    });
    receive(s, b);
  });
}

}  // namespace

void add_packet_rows(std::vector<Row>& rows) {
  add_names(rows);
  add_receiving(rows);
  add_sending(rows);
}

}  // namespace sluice::differential
