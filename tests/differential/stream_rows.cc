// Programs with TCP sockets: the life of a connection and its bytes.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <array>
#include <initializer_list>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

void add_opening(std::vector<Row>& rows) {
  constexpr struct {
    const char* name;
    int domain, type, protocol;
  } kSockets[] = {
      {"stream", AF_INET, SOCK_STREAM, 0},
      {"stream tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP},
      {"stream udp", AF_INET, SOCK_STREAM, IPPROTO_UDP},
      {"stream icmp", AF_INET, SOCK_STREAM, IPPROTO_ICMP},
      {"datagram", AF_INET, SOCK_DGRAM, 0},
      {"datagram udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP},
      {"datagram tcp", AF_INET, SOCK_DGRAM, IPPROTO_TCP},
      {"seqpacket", AF_INET, SOCK_SEQPACKET, 0},
      {"rdm", AF_INET, SOCK_RDM, 0},
      {"type 0", AF_INET, 0, 0},
      {"type 99", AF_INET, 99, 0},
      {"type negative", AF_INET, -1, 0},
      {"unknown flag", AF_INET, SOCK_STREAM | 0x100, 0},
      {"non-blocking", AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0},
      {"protocol negative", AF_INET, SOCK_STREAM, -1},
      {"protocol 300", AF_INET, SOCK_STREAM, 300},
      {"family 0", AF_UNSPEC, SOCK_STREAM, 0},
      {"family 99", 99, SOCK_STREAM, 0},
      {"family negative", -1, SOCK_STREAM, 0},
  };
  for (const auto& k : kSockets) {
    rows.push_back({std::string("socket/") + k.name, [k](S& s) {
                      const int fd = s.socket(k.domain, k.type, k.protocol);
                      if (fd >= 0) s.descriptor_flags(fd);
                    }});
  }
}

void add_binding(std::vector<Row>& rows) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const std::string prefix = type == SOCK_STREAM ? "bind/stream " : "bind/datagram ";
    const auto add = [&](const char* name, auto program) {
      rows.push_back({prefix + name, [=](S& s) { program(s, s.socket(AF_INET, type)); }});
    };
    add("names", [](S& s, int fd) {
      s.local_name(fd);
      s.bind(fd);
      s.local_name(fd);
    });
    add("to any", [](S& s, int fd) {
      s.bind(fd, 0, "0.0.0.0");
      s.local_name(fd);
    });
    add("twice", [](S& s, int fd) {
      s.bind(fd);
      s.bind(fd);
      s.bind(fd, s.port_of(fd));
    });
    add("foreign", [](S& s, int fd) { s.bind(fd, 0, "192.0.2.1"); });
    add("port in use", [type](S& s, int fd) {
      s.bind(fd);
      const int other = s.socket(AF_INET, type);
      s.bind(other, s.port_of(fd));
      s.bind(other, s.port_of(fd), "0.0.0.0");
      s.bind(other, s.port_of(fd), "127.0.0.2");
    });
    add("port in use by any", [type](S& s, int fd) {
      s.bind(fd, 0, "0.0.0.0");
      s.bind(s.socket(AF_INET, type), s.port_of(fd));
    });
    for (const int option : {SO_REUSEADDR, SO_REUSEPORT}) {
      for (const int mask : {1, 2, 3}) {
        const std::string what =
            std::string(option == SO_REUSEADDR ? "reuse address " : "reuse port ") + (mask == 1   ? "first"
                                                                                      : mask == 2 ? "second"
                                                                                                  : "both");
        add(what.c_str(), [=](S& s, int fd) {
          const int other = s.socket(AF_INET, type);
          if ((mask & 1) != 0) s.set(fd, SOL_SOCKET, option, 1);
          if ((mask & 2) != 0) s.set(other, SOL_SOCKET, option, 1);
          s.bind(fd);
          s.bind(other, s.port_of(fd));
        });
      }
    }
    add("port free after close", [type](S& s, int fd) {
      s.bind(fd);
      const std::uint16_t port = s.port_of(fd);
      s.close(fd);
      s.bind(s.socket(AF_INET, type), port);
    });
    add("address of odd length", [](S& s, int fd) {
      sockaddr_in a{};
      a.sin_family = AF_INET;
      for (const socklen_t length : {0u, 1u, 2u, 8u, 15u, 16u, 28u, 128u, 129u}) {
        sockaddr_storage room[2] = {};
        reinterpret_cast<sockaddr_in&>(room[0]) = a;
        s.note("bind", [&](const Calls& c) { return c.bind(fd, reinterpret_cast<sockaddr*>(room), length); });
      }
    });
    add("address of another family", [](S& s, int fd) {
      sockaddr_storage a{};
      for (const int family : {AF_UNSPEC, AF_UNIX, AF_INET6, 99}) {
        a.ss_family = static_cast<sa_family_t>(family);
        s.note("bind",
               [&](const Calls& c) { return c.bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof(sockaddr_in)); });
      }
    });
    add("unspecified family, an address", [](S& s, int fd) {
      sockaddr_in a{};
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      s.note("bind", [&](const Calls& c) { return c.bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a); });
    });
    add("broadcast address", [](S& s, int fd) { s.bind(fd, 0, "255.255.255.255"); });
    add("multicast address", [](S& s, int fd) { s.bind(fd, 0, "224.0.0.1"); });
    add("name into little room", [](S& s, int fd) {
      s.bind(fd);
      for (const socklen_t room : {0u, 2u, 8u, 16u, 100u}) {
        sockaddr_storage name{};
        socklen_t length = room;
        s.note("getsockname",
               [&](const Calls& c) { return c.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length); });
        s.say("length " + std::to_string(length) + " family " + std::to_string(name.ss_family));
      }
    });
    add("name, length negative", [](S& s, int fd) {
      sockaddr_storage name{};
      auto length = static_cast<socklen_t>(-1);
      s.note("getsockname",
             [&](const Calls& c) { return c.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length); });
    });
  }
}

void add_connecting(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&)> program) {
    rows.push_back({std::string("connect/") + name, std::move(program)});
  };
  for (const int flags : std::initializer_list<int>{0, SOCK_NONBLOCK}) {
    const std::string mode = flags == 0 ? "blocking " : "non-blocking ";
    add((mode + "accepted").c_str(), [flags](S& s) {
      const int listener = s.listening(), fd = s.stream(flags);
      s.connect(fd, s.port_of(listener));
      s.poll(fd);
      s.error(fd);
      s.local_name(fd);
      s.peer_name(fd);
      s.connect(fd, s.port_of(listener));
      s.connect(fd, s.port_of(listener));
    });
    add((mode + "refused").c_str(), [flags](S& s) {
      const int fd = s.stream(flags);
      s.connect(fd, s.deaf_port());
      s.poll(fd);
      s.error(fd);
      s.error(fd);
      s.poll(fd);
      s.local_name(fd);
      s.peer_name(fd);
    });
    add((mode + "refused, then again").c_str(), [flags](S& s) {
      const int fd = s.stream(flags);
      const std::uint16_t port = s.deaf_port();
      for (int i = 0; i < 4; ++i) s.connect(fd, port);
      s.poll(fd);
    });
    add((mode + "refused, then accepted").c_str(), [flags](S& s) {
      const int fd = s.stream(flags), listener = s.listening();
      s.connect(fd, s.deaf_port());
      s.error(fd);
      for (int i = 0; i < 3; ++i) s.connect(fd, s.port_of(listener));
      s.send(fd, "hello");
    });
    add((mode + "refused, then used").c_str(), [flags](S& s) {
      const int fd = s.stream(flags);
      s.connect(fd, s.deaf_port());
      s.receive(fd, 8);
      s.receive(fd, 8);
      s.send(fd, "x");
      s.send(fd, "x");
      s.shutdown(fd, SHUT_RDWR);
    });
    add((mode + "refused, bound").c_str(), [flags](S& s) {
      const int fd = s.stream(flags), listener = s.listening();
      s.bind(fd);
      s.connect(fd, s.deaf_port());
      s.error(fd);
      s.local_name(fd);
      s.connect(fd, s.port_of(listener));
      s.connect(fd, s.port_of(listener));
    });
    add((mode + "refused, listens then").c_str(), [flags](S& s) {
      const int fd = s.stream(flags);
      s.connect(fd, s.deaf_port());
      s.error(fd);
      s.listen(fd);
      s.poll(fd);
    });
  }
  add("to a port of nobody's", [](S& s) {
    const int fd = s.stream();
    s.connect(fd, 0);
    s.error(fd);
  });
  add("to any is to this host", [](S& s) {
    const int listener = s.listening(), fd = s.stream();
    s.connect(fd, s.port_of(listener), "0.0.0.0");
    s.peer_name(fd);
  });
  add("to broadcast", [](S& s) { s.connect(s.stream(), 9, "255.255.255.255"); });
  add("to multicast", [](S& s) { s.connect(s.stream(), 9, "224.0.0.1"); });
  add("to itself", [](S& s) {
    const int fd = s.stream();
    s.bind(fd);
    s.connect(fd, s.port_of(fd));
    s.poll(fd);
    s.send(fd, "mirror");
    s.receive(fd, 16);
  });
  add("from listening", [](S& s) { s.connect(s.listening(), s.deaf_port()); });
  add("from bound", [](S& s) {
    const int listener = s.listening(), fd = s.stream();
    s.bind(fd);
    s.connect(fd, s.port_of(listener));
    s.local_name(fd);
    s.accept(listener);
  });
  add("from bound to any", [](S& s) {
    const int listener = s.listening(), fd = s.stream();
    s.bind(fd, 0, "0.0.0.0");
    s.connect(fd, s.port_of(listener));
    s.local_name(fd);
  });
  add("address of odd length", [](S& s) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(s.deaf_port());
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = s.stream();
    for (const socklen_t length : {0u, 1u, 2u, 15u}) {
      s.note("connect", [&](const Calls& c) { return c.connect(fd, reinterpret_cast<sockaddr*>(&a), length); });
    }
  });
  add("address of another family", [](S& s) {
    const int fd = s.stream();
    sockaddr_storage a{};
    for (const int family : {AF_UNIX, AF_INET6, 99}) {
      a.ss_family = static_cast<sa_family_t>(family);
      s.note("connect", [&](const Calls& c) { return c.connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a); });
    }
  });
  add("disconnect a fresh one", [](S& s) { s.disconnect(s.stream()); });
  add("disconnect", [](S& s) {
    const auto p = s.connected();
    s.disconnect(p.client);
    s.poll(p.client);
    s.local_name(p.client);
    s.peer_name(p.client);
    s.poll(p.server);
    s.receive(p.server, 8);
    s.connect(p.client, s.port_of(p.listener));
    s.peer_name(p.client);
  });
  add("disconnect a listener", [](S& s) {
    const int fd = s.listening();
    s.control(fd, FIONBIO, 1);
    s.disconnect(fd);
    s.poll(fd);
    s.accept(fd);
  });
}

void add_listening(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&)> program) {
    rows.push_back({std::string("listen/") + name, std::move(program)});
  };
  add("unbound", [](S& s) {
    const int fd = s.stream();
    s.listen(fd);
    s.local_name(fd);
    s.poll(fd);
  });
  add("twice", [](S& s) {
    const int fd = s.listening();
    s.listen(fd, 1);
    s.listen(fd, 100);
  });
  add("backlog negative", [](S& s) { s.listen(s.stream(), -1); });
  add("backlog 0 takes one", [](S& s) {
    const int fd = s.stream();
    s.bind(fd);
    s.listen(fd, 0);
    s.connect(s.stream(), s.port_of(fd));
    s.accept(fd);
  });
  add("bind", [](S& s) { s.bind(s.listening()); });
  add("names", [](S& s) {
    const int fd = s.listening();
    s.local_name(fd);
    s.peer_name(fd);
  });
  add("nothing to accept", [](S& s) {
    const int fd = s.stream(SOCK_NONBLOCK);
    s.accept(fd);
    s.bind(fd);
    s.accept(fd);
    s.listen(fd);
    s.accept(fd);
  });
  add("accept flags", [](S& s) {
    const int fd = s.listening();
    for (const int flags : std::initializer_list<int>{0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC}) {
      s.connect(s.stream(), s.port_of(fd));
      s.descriptor_flags(s.accept(fd, flags));
    }
    s.note("accept4", [&](const Calls& c) { return c.accept4(fd, nullptr, nullptr, 0x10000); });
  });
  add("accepted does not inherit O_NONBLOCK", [](S& s) {
    const int fd = s.stream(SOCK_NONBLOCK);
    s.bind(fd);
    s.listen(fd);
    s.connect(s.stream(), s.port_of(fd));
    s.descriptor_flags(s.accept(fd));
  });
  add("data", [](S& s) {
    const int fd = s.listening();
    s.receive(fd, 8);
    s.send(fd, "x");
    s.readable(fd);
    s.control(fd, SIOCATMARK, 0);
  });
  add("closed by the peer before accept", [](S& s) {
    const int fd = s.listening(), client = s.stream();
    s.connect(client, s.port_of(fd));
    s.send(client, "early");
    s.close(client);
    s.poll(fd);
    const int server = s.accept(fd);
    s.poll(server);
    s.receive(server, 16);
    s.receive(server, 16);
  });
  add("reset by the peer before accept", [](S& s) {
    const int fd = s.listening(), client = s.stream();
    s.connect(client, s.port_of(fd));
    s.reset(client);
    s.poll(fd);
    const int server = s.accept(fd);
    s.poll(server);
    s.peer_name(server);
    s.receive(server, 16);
    s.receive(server, 16);
  });
  add("closed with a connection waiting", [](S& s) {
    const int fd = s.listening(), client = s.stream();
    s.connect(client, s.port_of(fd));
    s.close(fd);
    s.poll(client);
    s.error(client);
    s.receive(client, 8);
  });
  for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
    add(("shutdown " + std::to_string(how)).c_str(), [how](S& s) {
      const int fd = s.listening(), client = s.stream();
      s.connect(client, s.port_of(fd));
      s.shutdown(fd, how);
      s.poll(fd);
      s.poll(client);
      s.note("accept", [&](const Calls& c) {
        c.fcntl(fd, F_SETFL, O_NONBLOCK);
        return c.accept4(fd, nullptr, nullptr, 0) < 0 ? -1 : 0;
      });
      s.listen(fd);
      s.poll(fd);
    });
  }
  add("port of a listener is taken", [](S& s) {
    const int fd = s.listening();
    for (const int option : {0, SO_REUSEADDR, SO_REUSEPORT}) {
      const int other = s.stream();
      if (option != 0) s.set(other, SOL_SOCKET, option, 1);
      s.bind(other, s.port_of(fd));
    }
  });
  add("second listener, both with reuse", [](S& s) {
    for (const int option : {SO_REUSEADDR, SO_REUSEPORT}) {
      const int one = s.stream(), two = s.stream();
      s.set(one, SOL_SOCKET, option, 1);
      s.set(two, SOL_SOCKET, option, 1);
      s.bind(one);
      s.bind(two, s.port_of(one));
      s.listen(one);
      s.listen(two);
    }
  });
}

void add_bytes(std::vector<Row>& rows) {
  const auto add = [&](const char* name, std::function<void(S&, S::Pair)> program) {
    rows.push_back({std::string("bytes/") + name, [program = std::move(program)](S& s) { program(s, s.connected()); }});
  };
  add("there and back", [](S& s, S::Pair p) {
    s.send(p.client, "ping");
    s.receive(p.server, 100);
    s.send(p.server, "pong!");
    s.receive(p.client, 2);
    s.receive(p.client, 100);
    s.receive(p.client, 100);
  });
  add("nothing", [](S& s, S::Pair p) {
    s.send(p.client, "");
    s.poll(p.server);
    s.receive(p.server, 0);
    s.receive(p.server, 1);
    s.send(p.client, "x");
    s.receive(p.server, 0);
    s.receive(p.server, 1);
  });
  add("peek", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 3, MSG_DONTWAIT | MSG_PEEK);
    s.receive(p.server, 100, MSG_DONTWAIT | MSG_PEEK);
    s.receive(p.server, 2);
    s.receive(p.server, 100, MSG_DONTWAIT | MSG_PEEK);
    s.receive(p.server, 100);
    s.receive(p.server, 100, MSG_DONTWAIT | MSG_PEEK);
  });
  add("peek into pieces", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive_message(p.server, std::array<std::size_t, 3>{1, 2, 9}, MSG_DONTWAIT | MSG_PEEK);
    s.receive_message(p.server, std::array<std::size_t, 3>{1, 2, 9});
  });
  add("trunc discards", [](S& s, S::Pair p) {
    s.send(p.client, "abcdef");
    s.receive(p.server, 4, MSG_DONTWAIT | MSG_TRUNC);
    s.receive(p.server, 4, MSG_DONTWAIT);
    s.receive(p.server, 4, MSG_DONTWAIT | MSG_TRUNC);
  });
  add("wait for all", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    s.send(p.client, "def");
    s.receive(p.server, 6, MSG_WAITALL);
    s.send(p.client, "gh");
    s.shutdown(p.client, SHUT_WR);
    s.receive(p.server, 6, MSG_WAITALL);
    s.receive(p.server, 6, MSG_WAITALL);
  });
  add("wait for all, in pieces", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    s.shutdown(p.client, SHUT_WR);
    s.receive_message(p.server, std::array<std::size_t, 2>{2, 6}, MSG_WAITALL);
  });
  add("wait for all, not waiting", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    s.receive(p.server, 6, MSG_WAITALL | MSG_DONTWAIT);
    s.receive(p.server, 6, MSG_WAITALL | MSG_DONTWAIT);
  });
  add("wait for all, peeking at what there is", [](S& s, S::Pair p) {
    s.send(p.client, "abc");
    s.receive(p.server, 3, MSG_WAITALL | MSG_PEEK);
    s.receive(p.server, 3);
  });
  for (const int flag : std::initializer_list<int>{MSG_OOB, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_CMSG_CLOEXEC, 0x100000,
                                                   MSG_DONTROUTE, MSG_EOR, MSG_CONFIRM, MSG_MORE}) {
    add(("receive with flag " + std::to_string(flag)).c_str(), [flag](S& s, S::Pair p) {
      s.send(p.client, "abc");
      s.receive(p.server, 8, flag | MSG_DONTWAIT);
    });
  }
  for (const int flag : std::initializer_list<int>{MSG_EOR, MSG_DONTROUTE, MSG_CONFIRM, MSG_NOSIGNAL, MSG_MORE,
                                                   MSG_PEEK, MSG_TRUNC, 0x100000}) {
    add(("send with flag " + std::to_string(flag)).c_str(), [flag](S& s, S::Pair p) {
      s.send(p.client, "abc", flag | MSG_DONTWAIT);
      s.send(p.client, "def", MSG_DONTWAIT);
      s.receive(p.server, 8);
    });
  }
  add("urgent byte", [](S& s, S::Pair p) {
    s.send(p.client, "ab", MSG_OOB);
    s.poll(p.server);
    s.receive(p.server, 8);
    s.control(p.server, SIOCATMARK, -1);
    s.receive(p.server, 8, MSG_OOB | MSG_DONTWAIT);
  });
  for (const int in_line : {0, 1}) {
    const auto urgent = [&](const char* what, auto program) {
      add((std::string(in_line != 0 ? "urgent, in line: " : "urgent: ") + what).c_str(),
          [in_line, program](S& s, S::Pair p) {
            s.set(p.server, SOL_SOCKET, SO_OOBINLINE, in_line);
            program(s, p);
          });
    };
    urgent("a byte alone", [](S& s, S::Pair p) {
      s.receive(p.server, 1, MSG_OOB);
      s.send(p.client, "u", MSG_OOB);
      s.poll(p.server), s.readable(p.server), s.control(p.server, SIOCATMARK, -1);
      s.receive(p.server, 1, MSG_OOB | MSG_PEEK);
      s.receive(p.server, 0, MSG_OOB | MSG_PEEK);
      s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 1, MSG_OOB);
      s.poll(p.server), s.readable(p.server), s.control(p.server, SIOCATMARK, -1);
      s.receive(p.server, 4);
      s.poll(p.server), s.readable(p.server), s.control(p.server, SIOCATMARK, -1);
    });
    urgent("in the middle", [](S& s, S::Pair p) {
      s.send(p.client, "before");
      s.send(p.client, "urgenT", MSG_OOB);
      s.send(p.client, "after");
      s.poll(p.server), s.readable(p.server), s.control(p.server, SIOCATMARK, -1);
      s.receive(p.server, 3), s.receive(p.server, 100);
      s.readable(p.server), s.control(p.server, SIOCATMARK, -1), s.poll(p.server);
      s.receive(p.server, 100, MSG_PEEK | MSG_DONTWAIT);
      s.control(p.server, SIOCATMARK, -1);
      s.receive(p.server, 2);
      s.control(p.server, SIOCATMARK, -1), s.poll(p.server);
      s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 100);
    });
    urgent("taken before the mark is reached", [](S& s, S::Pair p) {
      s.send(p.client, "abcU", MSG_OOB);
      s.send(p.client, "def");
      s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 9), s.control(p.server, SIOCATMARK, -1);
      s.receive(p.server, 9), s.receive(p.server, 9);
    });
    urgent("twice", [](S& s, S::Pair p) {
      s.send(p.client, "aX", MSG_OOB);
      s.send(p.client, "bY", MSG_OOB);
      s.readable(p.server), s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 9), s.receive(p.server, 9), s.receive(p.server, 9);
    });
    urgent("twice, the first read", [](S& s, S::Pair p) {
      s.send(p.client, "aX", MSG_OOB);
      s.receive(p.server, 9), s.receive(p.server, 1, MSG_OOB), s.receive(p.server, 9);
      s.send(p.client, "bY", MSG_OOB);
      s.poll(p.server), s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 9), s.receive(p.server, 9);
    });
    urgent("waited for in full", [](S& s, S::Pair p) {
      s.send(p.client, "abU", MSG_OOB);
      s.send(p.client, "cdef");
      s.receive(p.server, 6, MSG_WAITALL);
      s.receive(p.server, 9);
    });
    urgent("as a message", [](S& s, S::Pair p) {
      s.send(p.client, "abU", MSG_OOB);
      s.receive_message(p.server, std::array<std::size_t, 2>{1, 1}, MSG_OOB);
      s.receive_message(p.server, std::array<std::size_t, 2>{1, 5}, MSG_DONTWAIT | MSG_PEEK);
      s.receive_message(p.server, std::array<std::size_t, 2>{1, 5});
      s.receive_message(p.server, std::array<std::size_t, 2>{1, 5});
    });
    urgent("at the end", [](S& s, S::Pair p) {
      s.send(p.client, "U", MSG_OOB);
      s.shutdown(p.client, SHUT_WR);
      s.poll(p.server), s.readable(p.server);
      s.receive(p.server, 9), s.receive(p.server, 1, MSG_OOB), s.receive(p.server, 9);
    });
    urgent("turned over", [in_line](S& s, S::Pair p) {
      s.send(p.client, "abU", MSG_OOB);
      s.set(p.server, SOL_SOCKET, SO_OOBINLINE, 1 - in_line);
      s.poll(p.server), s.receive(p.server, 1, MSG_OOB);
      s.receive(p.server, 9), s.receive(p.server, 9);
    });
    urgent("of nothing", [](S& s, S::Pair p) {
      s.send(p.client, "", MSG_OOB);
      s.poll(p.server);
      s.send(p.client, "ab", MSG_OOB | MSG_MORE);
      s.poll(p.server), s.receive(p.server, 9);
    });
  }
  add("many pieces", [](S& s, S::Pair p) {
    for (const std::size_t count : {0u, 1u, 2u, 15u, 16u, 100u, 1024u, 1025u}) {
      s.send_pieces(p.client, count, 3);
      s.receive(p.server, 4096);
    }
  });
  add("into many pieces", [](S& s, S::Pair p) {
    s.send_pieces(p.client, 1, 64);
    const std::vector<std::size_t> sizes(40, 1);
    s.receive_message(p.server, sizes);
    s.receive(p.server, 100);
  });
  add("pieces of nothing", [](S& s, S::Pair p) {
    s.send_pieces(p.client, 3, 0);
    s.send(p.client, "abc");
    s.receive_message(p.server, std::array<std::size_t, 3>{0, 2, 0});
    s.receive_message(p.server, std::array<std::size_t, 0>{});
    s.receive_message(p.server, std::array<std::size_t, 2>{0, 2});
  });
  add("destination given", [](S& s, S::Pair p) {
    s.send_to(p.client, 9, "ab");
    s.receive(p.server, 8);
  });
  add("source asked for", [](S& s, S::Pair p) {
    s.send(p.client, "ab");
    s.receive_from(p.server, 8);
  });
  add("name of a message", [](S& s, S::Pair p) {
    s.send(p.client, "ab");
    sockaddr_in from{};
    char room[4];
    iovec piece{room, sizeof room};
    msghdr m{};
    m.msg_name = &from;
    m.msg_namelen = sizeof from;
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    s.note("recvmsg", [&](const Calls& c) { return c.recvmsg(p.server, &m, MSG_DONTWAIT); });
    s.say("name of " + std::to_string(m.msg_namelen));
  });
  add("how much is there", [](S& s, S::Pair p) {
    s.readable(p.server);
    s.send(p.client, "12345");
    s.readable(p.server);
    s.receive(p.server, 2);
    s.readable(p.server);
    s.receive(p.server, 9);
    s.shutdown(p.client, SHUT_WR);
    s.readable(p.server);
  });
  add("how much is unsent", [](S& s, S::Pair p) {
    s.control(p.client, SIOCOUTQ, -1);
    s.control(p.client, SIOCOUTQNSD, -1);
  });
  add("low-water mark", [](S& s, S::Pair p) {
    s.set(p.server, SOL_SOCKET, SO_RCVLOWAT, 5);
    s.send(p.client, "123");
    s.poll(p.server);
    s.send(p.client, "456");
    s.poll(p.server);
    s.receive(p.server, 9);
  });
  add("receive timeout", [](S& s, S::Pair p) {
    const timeval t{0, 20'000};
    s.set_bytes(p.server, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    s.receive(p.server, 4, 0);
    s.send(p.client, "ab");
    s.receive(p.server, 4, MSG_WAITALL);
    s.note("accept with a timeout", [&](const Calls& c) {
      c.setsockopt(p.listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
      return c.accept4(p.listener, nullptr, nullptr, 0);
    });
  });
  add("non-blocking by F_SETFL", [](S& s, S::Pair p) {
    s.note("F_SETFL", [&](const Calls& c) { return c.fcntl(p.client, F_SETFL, O_NONBLOCK); });
    s.descriptor_flags(p.client);
    s.receive(p.client, 4, 0);
    s.note("F_SETFL", [&](const Calls& c) { return c.fcntl(p.client, F_SETFL, O_RDONLY); });
    s.descriptor_flags(p.client);
  });
  add("non-blocking by FIONBIO", [](S& s, S::Pair p) {
    s.control(p.client, FIONBIO, 1);
    s.descriptor_flags(p.client);
    s.receive(p.client, 4, 0);
    s.control(p.client, FIONBIO, 0);
    s.descriptor_flags(p.client);
  });
  add("descriptor flags", [](S& s, S::Pair p) {
    s.note("F_GETFD", [&](const Calls& c) { return c.fcntl(p.client, F_GETFD, 0); });
    s.note("F_SETFD", [&](const Calls& c) { return c.fcntl(p.client, F_SETFD, FD_CLOEXEC); });
    s.note("F_GETFD", [&](const Calls& c) { return c.fcntl(p.client, F_GETFD, 0); });
    s.note("unknown", [&](const Calls& c) { return c.fcntl(p.client, 9999, 0); });
  });
  add("unknown requests", [](S& s, S::Pair p) {
    s.control(p.client, 0x1234, 0);
    s.note("FIONREAD to nowhere", [&](const Calls& c) { return c.ioctl(p.client, FIONREAD, nullptr); });
    s.note("FIONBIO from nowhere", [&](const Calls& c) { return c.ioctl(p.client, FIONBIO, nullptr); });
  });
  add("from nowhere", [](S& s, S::Pair p) {
    s.note("send", [&](const Calls& c) { return c.sendto(p.client, nullptr, 4, 0, nullptr, 0); });
    s.send(p.server, "ab");
    s.note("recv", [&](const Calls& c) { return c.recvfrom(p.client, nullptr, 4, MSG_DONTWAIT, nullptr, nullptr); });
    s.receive(p.client, 8);
  });
  add("out-of-band inline", [](S& s, S::Pair p) {
    s.set(p.server, SOL_SOCKET, SO_OOBINLINE, 1);
    s.get(p.server, SOL_SOCKET, SO_OOBINLINE);
  });
  add("a full send buffer", [](S& s, S::Pair p) {
    s.set(p.client, SOL_SOCKET, SO_SNDBUF, 8192);
    s.set(p.server, SOL_SOCKET, SO_RCVBUF, 8192);
    s.note("fill", [&](const Calls& c) {
      std::string data(65536, 'f');
      for (int i = 0; i < 1000; ++i) {
        if (c.sendto(p.client, data.data(), data.size(), MSG_DONTWAIT, nullptr, 0) < 0) return -1;
        c.settle();
      }
      return 0;
    });
    s.poll(p.client, POLLOUT);
    s.poll(p.server, POLLIN);
  });
}

}  // namespace

void add_stream_rows(std::vector<Row>& rows) {
  add_opening(rows);
  add_binding(rows);
  add_connecting(rows);
  add_listening(rows);
  add_bytes(rows);
}

}  // namespace sluice::differential
