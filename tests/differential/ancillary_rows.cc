// Programs that look at and choose what is beside the data of datagrams, and such that take part in multicast groups.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#include <initializer_list>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

constexpr const char* kGroup = "239.1.2.3";
constexpr const char* kOther = "239.1.2.4";

struct Named {
  const char* name;
  int level;
  int number;
};
constexpr Named kAsked[] = {
    {"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO},         {"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL},
    {"IP_RECVTOS", IPPROTO_IP, IP_RECVTOS},         {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP},
    {"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS}, {"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL},
};

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

in_addr host(const char* text) {
  in_addr a{};
  ::inet_pton(AF_INET, text, &a);
  return a;
}

void add_told(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&, S::Pair)> program) {
    rows.push_back({"ancillary/" + name, [program = std::move(program)](S& s) { program(s, s.datagram_pair()); }});
  };
  add("nothing asked for", [](S& s, S::Pair p) {
    s.send(p.client, "x");
    s.receive_told(p.server);
    s.send(p.client, "x");
    s.receive_told(p.server, 0);
  });
  for (const Named& asked : kAsked) {
    add(std::string(asked.name) + " told", [&asked](S& s, S::Pair p) {
      s.set(p.server, asked.level, asked.number, 1);
      s.send(p.client, "x");
      s.receive_told(p.server);
      s.send(p.client, "x");
      s.receive_told(p.server, 512, MSG_DONTWAIT | MSG_PEEK);
      s.receive_told(p.server);
      s.set(p.server, asked.level, asked.number, 0);
      s.send(p.client, "x");
      s.receive_told(p.server);
    });
    for (const std::size_t room : {0u, 8u, 16u, 17u, 18u, 20u, 23u, 24u, 27u, 28u, 32u}) {
      add(std::string(asked.name) + " into " + std::to_string(room), [&asked, room](S& s, S::Pair p) {
        s.set(p.server, asked.level, asked.number, 1);
        s.send(p.client, "x");
        s.receive_told(p.server, room);
      });
    }
  }
  add("all at once", [](S& s, S::Pair p) {
    for (const Named& asked : kAsked) s.set(p.server, asked.level, asked.number, 1);
    s.set(p.client, IPPROTO_IP, IP_TTL, 17);
    s.set(p.client, IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY);
    for (const std::size_t room : {512u, 40u, 60u, 80u}) {
      s.send(p.client, "x");
      s.receive_told(p.server, room);
    }
  });
  add("asked when it is there already", [](S& s, S::Pair p) {
    s.send(p.client, "x");
    s.set(p.server, IPPROTO_IP, IP_RECVTTL, 1);
    s.set(p.server, IPPROTO_IP, IP_PKTINFO, 1);
    s.receive_told(p.server);
  });
  add("either of two times", [](S& s, S::Pair p) {
    for (const int name : {SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP}) {
      s.set(p.server, SOL_SOCKET, name, 1);
      s.get(p.server, SOL_SOCKET, SO_TIMESTAMP);
      s.get(p.server, SOL_SOCKET, SO_TIMESTAMPNS);
      s.send(p.client, "x");
      s.receive_told(p.server);
    }
    s.set(p.server, SOL_SOCKET, SO_TIMESTAMPNS, 0);
    s.get(p.server, SOL_SOCKET, SO_TIMESTAMP);
  });
  add("drops are counted", [](S& s, S::Pair p) {
    s.set(p.server, SOL_SOCKET, SO_RXQ_OVFL, 1);
    s.set(p.server, SOL_SOCKET, SO_RCVBUF, 2304);
    for (int i = 0; i < 3; ++i) s.send_size(p.client, 60'000);
    s.receive(p.server, 65536);
    while (s.receive(p.server, 65536) > 0) continue;
    s.send(p.client, "x");
    s.receive_told(p.server);
  });
}

void add_chosen(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, S::Item item, std::string bytes) {
    rows.push_back({"ancillary/send " + name, [=](S& s) {
                      const auto p = s.datagram_pair();
                      for (const int asked : {IP_RECVTTL, IP_RECVTOS, IP_PKTINFO})
                        s.set(p.server, IPPROTO_IP, asked, 1);
                      const int fd = s.datagram(), to = s.datagram();
                      s.bind(to);
                      for (const int asked : {IP_RECVTTL, IP_RECVTOS}) s.set(to, IPPROTO_IP, asked, 1);
                      s.send_told(fd, s.port_of(to), {item.level, item.type, bytes});
                      s.receive_told(to);
                      s.send_told(p.client, s.port_of(p.server), {item.level, item.type, bytes});
                      s.receive_told(p.server);
                      s.send(p.client, "usual");
                      s.receive_told(p.server);
                    }});
  };
  for (const int n : {-1, 0, 1, 64, 255, 256}) {
    add("IP_TTL " + std::to_string(n), {IPPROTO_IP, IP_TTL, {}}, bytes_of(n));
    add("IP_TOS " + std::to_string(n), {IPPROTO_IP, IP_TOS, {}}, bytes_of(n));
  }
  add("IP_TTL as a byte", {IPPROTO_IP, IP_TTL, {}}, "\x09");
  add("IP_TOS as a byte", {IPPROTO_IP, IP_TOS, {}}, "\x20");
  add("IP_TOS in two bytes", {IPPROTO_IP, IP_TOS, {}}, "\x20\x20");
  add("IP_TOS in none", {IPPROTO_IP, IP_TOS, {}}, "");
  add("an unknown item", {IPPROTO_IP, 9999, {}}, bytes_of(1));
  add("an unknown level", {9999, 1, {}}, bytes_of(1));
  struct From {
    const char* name;
    const char* address;
    int index;
  };
  for (const From& from : {From{"nothing", "0.0.0.0", 0}, From{"127.0.0.1", "127.0.0.1", 0},
                           From{"another of this host", "127.0.0.9", 0}, From{"nobody's address", "192.0.2.1", 0},
                           From{"no such interface", "0.0.0.0", 77}, From{"a negative interface", "0.0.0.0", -1}}) {
    in_pktinfo info{};
    info.ipi_ifindex = from.index;
    info.ipi_spec_dst = host(from.address);
    add(std::string("IP_PKTINFO, ") + from.name, {IPPROTO_IP, IP_PKTINFO, {}}, bytes_of(info));
  }
  add("IP_PKTINFO, short", {IPPROTO_IP, IP_PKTINFO, {}}, bytes_of(ip_mreq{}));
  rows.push_back({"ancillary/send IP_PKTINFO, seen by the peer", [](S& s) {
                    const int fd = s.datagram(), to = s.datagram();
                    s.bind(to);
                    in_pktinfo info{};
                    info.ipi_spec_dst = host("127.0.0.9");
                    s.send_told(fd, s.port_of(to), {IPPROTO_IP, IP_PKTINFO, bytes_of(info)});
                    s.receive_from(to, 8);
                  }});
  rows.push_back({"ancillary/send a length that is none", [](S& s) {
                    const auto p = s.datagram_pair();
                    for (const std::size_t length : {0u, 15u, 100u}) {
                      s.note("sendmsg", [&](const Calls& c) {
                        cmsghdr header{length, IPPROTO_IP, IP_TTL};
                        msghdr message{};
                        message.msg_control = &header;
                        message.msg_controllen = sizeof header;
                        return c.sendmsg(p.client, &message, 0);
                      });
                    }
                  }});
}

void add_segments(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&, S::Pair)> program) {
    rows.push_back({"segments/" + name, [program = std::move(program)](S& s) { program(s, s.datagram_pair()); }});
  };
  add("of the socket", [](S& s, S::Pair p) {
    s.set(p.client, IPPROTO_UDP, UDP_SEGMENT, 3);
    s.send(p.client, "abcdefgh");
    for (int i = 0; i < 4; ++i) s.receive(p.server, 16);
    s.send_pieces(p.client, 5, 2);
    for (int i = 0; i < 5; ++i) s.receive(p.server, 16);
    s.send(p.client, "ab");
    s.receive(p.server, 16);
    s.send(p.client, "");
    s.receive(p.server, 16);
  });
  add("of one message", [](S& s, S::Pair p) {
    for (const std::uint16_t size : std::initializer_list<std::uint16_t>{3, 0, 100}) {
      s.send_told(p.client, s.port_of(p.server), {IPPROTO_UDP, UDP_SEGMENT, bytes_of(size)});
      s.receive(p.server, 16);
    }
    s.send_told(p.client, s.port_of(p.server), {IPPROTO_UDP, UDP_SEGMENT, bytes_of(3)});
    s.send_told(p.client, s.port_of(p.server), {IPPROTO_UDP, 9999, bytes_of(std::uint16_t{3})});
  });
  add("too many", [](S& s, S::Pair p) {
    s.set(p.client, IPPROTO_UDP, UDP_SEGMENT, 1);
    s.send_size(p.client, 128);
    s.send_size(p.client, 129);
    for (int i = 0; i < 128; ++i) s.receive(p.server, 4);
    s.receive(p.server, 4);
  });
}

// Everything over the loopback, which both sides have.
ip_mreq over_loopback(const char* group) {
  return {host(group), host(kLoopback)};
}
void join(S& s, int fd, const char* group) {
  const ip_mreq request = over_loopback(group);
  s.set_bytes(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}
void leave(S& s, int fd, const char* group) {
  const ip_mreq request = over_loopback(group);
  s.set_bytes(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
}
int sender(S& s) {
  const int fd = s.datagram();
  const in_addr out = host(kLoopback);
  s.set_bytes(fd, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out);
  return fd;
}
int bound(S& s, const char* to, std::uint16_t port = 0) {
  const int fd = s.datagram();
  s.set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  s.bind(fd, port, to);
  return fd;
}

void add_groups(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&)> program) {
    rows.push_back({"groups/" + name, std::move(program)});
  };
  for (const char* local : {"0.0.0.0", kGroup, kOther, kLoopback}) {
    add(std::string("bound to ") + local, [local](S& s) {
      const int member = bound(s, local), from = sender(s);
      s.set(member, IPPROTO_IP, IP_PKTINFO, 1);
      s.set(member, IPPROTO_IP, IP_RECVTTL, 1);
      s.send_to(from, s.port_of(member), "early", 0, kGroup);
      s.receive(member, 8);
      join(s, member, kGroup);
      s.send_to(from, s.port_of(member), "x", 0, kGroup);
      s.receive_told(member);
      s.send_to(from, s.port_of(member), "x", 0, kOther);
      s.receive_told(member);
      leave(s, member, kGroup);
      s.send_to(from, s.port_of(member), "late", 0, kGroup);
      s.receive(member, 8);
    });
  }
  add("twice and never", [](S& s) {
    const int fd = s.datagram();
    leave(s, fd, kGroup);
    join(s, fd, kGroup);
    join(s, fd, kGroup);
    leave(s, fd, kOther);
    leave(s, fd, kGroup);
    leave(s, fd, kGroup);
  });
  add("requests that name nothing", [](S& s) {
    const int fd = s.datagram();
    ip_mreqn request{host(kGroup), host("0.0.0.0"), 77};
    s.set_bytes(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
    s.set_bytes(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
    request = {host(kGroup), host("192.0.2.1"), 0};
    s.set_bytes(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
    s.set_bytes(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
    s.set_bytes(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
    for (const socklen_t length : {0u, 4u, 7u, 8u, 11u}) {
      s.set_bytes(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, length);
    }
  });
  add("by index", [](S& s) {
    const int member = bound(s, "0.0.0.0"), from = s.datagram();
    const auto by_index = [&](int fd, int name) {
      s.note("setsockopt", [&](const Calls& c) {
        const ip_mreqn request{host(kGroup), host("0.0.0.0"), c.loopback_index};
        return c.setsockopt(fd, IPPROTO_IP, name, &request, sizeof request);
      });
    };
    by_index(member, IP_ADD_MEMBERSHIP);
    by_index(from, IP_MULTICAST_IF);
    s.send_to(from, s.port_of(member), "x", 0, kGroup);
    s.receive(member, 8);
    by_index(member, IP_DROP_MEMBERSHIP);
    by_index(member, IP_DROP_MEMBERSHIP);
  });
  add("two members and one socket that has not joined", [](S& s) {
    const int one = bound(s, "0.0.0.0"), from = sender(s);
    const std::uint16_t port = s.port_of(one);
    const int two = bound(s, "0.0.0.0", port), other = bound(s, "0.0.0.0", port);
    join(s, one, kGroup);
    join(s, two, kGroup);
    s.send_to(from, port, "x", 0, kGroup);
    for (const int fd : {one, two, other}) s.receive(fd, 8);
    for (const int fd : {one, two, other}) s.set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    s.send_to(from, port, "y", 0, kGroup);
    for (const int fd : {one, two, other}) s.receive(fd, 8);
    s.close(one);
    s.send_to(from, port, "z", 0, kGroup);
    for (const int fd : {two, other}) s.receive(fd, 8);
  });
  for (const int ttl : {0, 1, 9}) {
    add("TTL " + std::to_string(ttl), [ttl](S& s) {
      const int member = bound(s, "0.0.0.0"), from = sender(s);
      s.set(member, IPPROTO_IP, IP_RECVTTL, 1);
      join(s, member, kGroup);
      s.set(from, IPPROTO_IP, IP_MULTICAST_TTL, ttl);
      s.send_to(from, s.port_of(member), "x", 0, kGroup);
      s.receive_told(member);
    });
  }
  add("connected to the group", [](S& s) {
    const int member = bound(s, "0.0.0.0"), from = sender(s);
    join(s, member, kGroup);
    s.connect(from, s.port_of(member), kGroup);
    s.local_name(from);
    s.send(from, "x");
    s.receive_from(member, 8);
  });
  add("sent from a port that is bound to the group", [](S& s) {
    const int fd = bound(s, kGroup), to = s.datagram();
    s.bind(to);
    s.send_to(fd, s.port_of(to), "x");
    s.receive_from(to, 8);
  });
}

}  // namespace

void add_ancillary_rows(std::vector<Row>& rows) {
  add_told(rows);
  add_chosen(rows);
  add_segments(rows);
  add_groups(rows);
}

}  // namespace sluice::differential
