// Programs with UDP sockets.
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <array>
#include <initializer_list>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

void add_sending(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&)> program) {
    rows.push_back({std::string("datagram/") + name, std::move(program)});
  };
  add("there and back", [](S& s) {
    const int one = s.datagram(), two = s.datagram();
    s.bind(two);
    s.send_to(one, s.port_of(two), "ping");
    s.local_name(one);
    s.receive_from(two, 100);
    s.send_to(two, s.port_of(one), "pong");
    s.receive_from(one, 100);
  });
  add("no destination", [](S& s) { s.send(s.datagram(), "x"); });
  add("to port 0", [](S& s) { s.send_to(s.datagram(), 0, "x"); });
  add("to any is to this host", [](S& s) {
    const int fd = s.datagram();
    s.bind(fd, 0, "0.0.0.0");
    s.send_to(fd, s.port_of(fd), "x", 0, "0.0.0.0");
    s.receive_from(fd, 8);
  });
  add("to broadcast", [](S& s) {
    const int fd = s.datagram();
    s.send_to(fd, 9, "x", 0, "127.255.255.255");
    s.connect(fd, 9, "127.255.255.255");
  });
  add("to a destination of odd length", [](S& s) {
    const int fd = s.datagram();
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(s.deaf_port(SOCK_DGRAM));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (const socklen_t length : {0u, 1u, 2u, 15u}) {
      s.note("sendto",
             [&](const Calls& c) { return c.sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&a), length); });
    }
    for (const int family : {AF_UNSPEC, AF_UNIX, AF_INET6}) {
      a.sin_family = static_cast<sa_family_t>(family);
      s.note("sendto",
             [&](const Calls& c) { return c.sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&a), sizeof a); });
    }
  });
  for (const std::size_t size : {0u, 1u, 1472u, 1473u, 9000u, 65507u, 65508u, 65535u, 65536u, 100'000u}) {
    add((std::to_string(size) + " bytes").c_str(), [size](S& s) {
      const auto p = s.datagram_pair();
      s.send_size(p.client, size);
      s.poll(p.server);
      s.readable(p.server);
      s.receive(p.server, 65536);
      s.poll(p.server);
    });
  }
  add("many pieces", [](S& s) {
    const auto p = s.datagram_pair();
    for (const std::size_t count : {0u, 1u, 2u, 15u, 16u, 100u, 1024u, 1025u}) {
      s.send_pieces(p.client, count, 3);
      s.receive(p.server, 4096);
    }
  });
  add("into many pieces", [](S& s) {
    const auto p = s.datagram_pair();
    s.send_pieces(p.client, 1, 64);
    const std::vector<std::size_t> sizes(40, 1);
    s.receive_message(p.server, sizes);
    s.receive(p.server, 100);
  });
  for (const int flag : std::initializer_list<int>{MSG_MORE, MSG_OOB, MSG_DONTROUTE, MSG_CONFIRM, MSG_NOSIGNAL, MSG_EOR,
                                                   MSG_PEEK, 0x100000}) {
    add(("send with flag " + std::to_string(flag)).c_str(), [flag](S& s) {
      const auto p = s.datagram_pair();
      s.send(p.client, "abc", flag);
      s.poll(p.server);
      s.send(p.client, "def");
      s.receive(p.server, 100);
      s.receive(p.server, 100);
    });
  }
}

void add_receiving(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&, S::Pair)> program) {
    rows.push_back(
        {std::string("datagram/") + name, [program = std::move(program)](S& s) { program(s, s.datagram_pair()); }});
  };
  add("nothing there", [](S& s, S::Pair p) {
    s.receive(p.server, 8);
    s.readable(p.server);
    s.poll(p.server);
  });
  add("order and edges", [](S& s, S::Pair p) {
    s.send(p.client, "first");
    s.send(p.client, "");
    s.send(p.client, "third");
    s.readable(p.server);
    s.receive(p.server, 100);
    s.readable(p.server);
    s.poll(p.server);
    s.receive(p.server, 100);
    s.receive(p.server, 100);
    s.receive(p.server, 100);
  });
  add("too little room", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 2);
    s.receive(p.server, 8);
  });
  add("no room at all", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 0);
    s.receive(p.server, 8);
  });
  add("truncated and told", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 2, MSG_DONTWAIT | MSG_TRUNC);
    s.send(p.client, "abcdef");
    s.receive_message(p.server, std::array<std::size_t, 1>{4});
    s.send(p.client, "abcdef");
    s.receive_message(p.server, std::array<std::size_t, 1>{4}, MSG_DONTWAIT | MSG_TRUNC);
    s.send(p.client, "abcdef");
    s.receive_message(p.server, std::array<std::size_t, 3>{1, 2, 9});
  });
  add("peek", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 2, MSG_DONTWAIT | MSG_PEEK);
    s.receive(p.server, 2, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
    s.receive(p.server, 100);
    s.receive(p.server, 100, MSG_DONTWAIT | MSG_PEEK);
  });
  add("wait for all is no matter", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    s.receive(p.server, 100, MSG_WAITALL);
  });
  add("receive timeout", [](S& s, S::Pair p) {
    const timeval t{0, 20'000};
    s.set_bytes(p.server, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    s.receive(p.server, 4, 0);
  });
  for (const int flag : std::initializer_list<int>{MSG_OOB, MSG_ERRQUEUE, MSG_DONTROUTE, 0x100000}) {
    add(("receive with flag " + std::to_string(flag)).c_str(), [flag](S& s, S::Pair p) {
      s.send(p.client, "abc");
      s.receive(p.server, 8, flag | MSG_DONTWAIT);
    });
  }
  add("name into little room", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    sockaddr_storage name{};
    socklen_t length = 4;
    s.note("recvfrom", [&](const Calls& c) {
      char room[8];
      return c.recvfrom(p.server, room, sizeof room, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&name), &length);
    });
    s.say("length " + std::to_string(length));
  });
  add("from nowhere", [](S& s, S::Pair p) {
    s.note("send", [&](const Calls& c) { return c.sendto(p.client, nullptr, 4, 0, nullptr, 0); });
    s.note("send nothing", [&](const Calls& c) { return c.sendto(p.client, nullptr, 0, 0, nullptr, 0); });
    s.receive(p.server, 8);
  });
  add("a full buffer drops", [](S& s, S::Pair p) {
    s.set(p.server, SOL_SOCKET, SO_RCVBUF, 4096);
    s.note("send 100", [&](const Calls& c) {
      const std::string data(1000, 'd');
      for (int i = 0; i < 100; ++i) {
        if (c.sendto(p.client, data.data(), data.size(), MSG_DONTWAIT, nullptr, 0) < 0) return -1;
        c.settle();
      }
      return 0;
    });
    s.receive(p.server, 2000);
  });
}

void add_connected(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&)> program) {
    rows.push_back({std::string("datagram/") + name, std::move(program)});
  };
  add("names", [](S& s) {
    const int fd = s.datagram();
    s.local_name(fd);
    s.peer_name(fd);
    s.connect(fd, s.deaf_port(SOCK_DGRAM));
    s.local_name(fd);
    s.peer_name(fd);
    s.disconnect(fd);
    s.local_name(fd);
    s.peer_name(fd);
  });
  add("names, bound", [](S& s) {
    const int fd = s.datagram();
    s.bind(fd);
    s.connect(fd, s.deaf_port(SOCK_DGRAM));
    s.disconnect(fd);
    s.local_name(fd);
    s.bind(fd);
  });
  add("bound after connect", [](S& s) {
    const int fd = s.datagram();
    s.connect(fd, s.deaf_port(SOCK_DGRAM));
    s.bind(fd);
  });
  add("disconnect a fresh one", [](S& s) { s.disconnect(s.datagram()); });
  add("connect to port 0", [](S& s) {
    const int fd = s.datagram();
    s.connect(fd, 0);
    s.peer_name(fd);
    s.send(fd, "x");
  });
  add("connect elsewhere", [](S& s) {
    const int fd = s.datagram(), one = s.datagram(), two = s.datagram();
    s.bind(one);
    s.bind(two);
    s.connect(fd, s.port_of(one));
    s.connect(fd, s.port_of(two));
    s.send(fd, "x");
    s.receive(one, 8);
    s.receive(two, 8);
  });
  add("filter", [](S& s) {
    const auto p = s.datagram_pair();
    const int stranger = s.datagram();
    s.send_to(stranger, s.port_of(p.server), "from a stranger");
    s.poll(p.server);
    s.receive(p.server, 100);
    s.error(stranger);
    s.disconnect(p.server);
    s.send_to(stranger, s.port_of(p.server), "again");
    s.receive_from(p.server, 100);
  });
  add("queued before connect", [](S& s) {
    const int one = s.datagram(), two = s.datagram(), fd = s.datagram();
    s.bind(fd);
    s.bind(two);
    s.send_to(one, s.port_of(fd), "early");
    s.connect(fd, s.port_of(two));
    s.receive_from(fd, 100);
  });
  add("another destination", [](S& s) {
    const auto p = s.datagram_pair();
    const int other = s.datagram();
    s.bind(other);
    s.send_to(p.client, s.port_of(other), "elsewhere");
    s.receive_from(other, 100);
  });
  add("destination by connect and empty name", [](S& s) {
    const auto p = s.datagram_pair();
    s.note("sendto", [&](const Calls& c) {
      sockaddr_in a{};
      return c.sendto(p.client, "x", 1, 0, reinterpret_cast<sockaddr*>(&a), sizeof a);
    });
  });
  const auto unreachable = [&](const char* name, void (*then)(S&, int)) {
    add((std::string("port unreachable, ") + name).c_str(), [then](S& s) {
      const int fd = s.datagram();
      s.connect(fd, s.deaf_port(SOCK_DGRAM));
      s.send(fd, "x");
      then(s, fd);
    });
  };
  unreachable("poll", [](S& s, int fd) { s.poll(fd), s.poll(fd, 0); });
  unreachable("SO_ERROR", [](S& s, int fd) { s.error(fd), s.error(fd), s.poll(fd); });
  unreachable("recv", [](S& s, int fd) { s.receive(fd, 8), s.receive(fd, 8); });
  unreachable("peek", [](S& s, int fd) { s.receive(fd, 8, MSG_PEEK | MSG_DONTWAIT), s.receive(fd, 8); });
  unreachable("send", [](S& s, int fd) { s.send(fd, "x"), s.send(fd, "x"), s.send(fd, "x"); });
  unreachable("connect", [](S& s, int fd) { s.connect(fd, 9), s.receive(fd, 8); });
  unreachable("disconnect", [](S& s, int fd) { s.disconnect(fd), s.error(fd); });
  unreachable("names", [](S& s, int fd) { s.peer_name(fd), s.error(fd); });
  unreachable("shutdown", [](S& s, int fd) { s.shutdown(fd, SHUT_RDWR), s.poll(fd), s.receive(fd, 8); });
  unreachable("error queue", [](S& s, int fd) { s.receive(fd, 8, MSG_ERRQUEUE), s.error(fd); });
  add("port unreachable, not connected", [](S& s) {
    const int fd = s.datagram();
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.poll(fd);
    s.error(fd);
    s.receive(fd, 8);
  });
  add("stream calls", [](S& s) {
    const int fd = s.datagram();
    s.listen(fd);
    s.accept(fd);
    s.shutdown(fd, SHUT_RDWR);
    s.get(fd, SOL_SOCKET, SO_ACCEPTCONN);
    s.control(fd, SIOCATMARK, 0);
  });
  for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
    add(("shutdown " + std::to_string(how)).c_str(), [how](S& s) {
      const auto p = s.datagram_pair();
      s.send(p.server, "waits");
      s.shutdown(p.client, how);
      s.poll(p.client);
      s.send(p.client, "x");
      s.receive(p.client, 8);
      s.receive(p.client, 8);
      s.send(p.server, "late");
      s.receive(p.client, 8);
      s.poll(p.client);
      s.shutdown(p.client, how);
    });
  }
  add("poll a fresh one", [](S& s) { s.poll(s.datagram()); });
  add("poll a bound one", [](S& s) {
    const int fd = s.datagram();
    s.bind(fd);
    s.poll(fd);
  });
  add("close with data waiting", [](S& s) {
    const auto p = s.datagram_pair();
    s.send(p.client, "x");
    s.close(p.server);
    s.error(p.client);
    s.send(p.client, "y");
    s.error(p.client);
    s.close(p.server);
  });
}

}  // namespace

void add_datagram_rows(std::vector<Row>& rows) {
  add_sending(rows);
  add_receiving(rows);
  add_connected(rows);
}

}  // namespace sluice::differential
