// Every call in every state of a stream socket, and readiness in each.
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

struct State {
  const char* name;
  int (*make)(S&);  // a socket in this state
};

const State kStates[] = {
    {"fresh", [](S& s) { return s.stream(); }},
    {"bound",
     [](S& s) {
       const int fd = s.stream();
       s.bind(fd);
       return fd;
     }},
    {"listening", [](S& s) { return s.listening(); }},
    {"listening, one waits",
     [](S& s) {
       const int fd = s.listening();
       s.connect(s.stream(), s.port_of(fd));
       return fd;
     }},
    {"refused",
     [](S& s) {
       const int fd = s.stream(SOCK_NONBLOCK);
       s.connect(fd, s.deaf_port());
       return fd;
     }},
    {"refused, error taken",
     [](S& s) {
       const int fd = s.stream(SOCK_NONBLOCK);
       s.connect(fd, s.deaf_port());
       s.error(fd);
       return fd;
     }},
    {"connected, not told",
     [](S& s) {
       const int listener = s.listening(), fd = s.stream(SOCK_NONBLOCK);
       s.connect(fd, s.port_of(listener));
       return fd;
     }},
    {"connected", [](S& s) { return s.connected().client; }},
    {"accepted", [](S& s) { return s.connected().server; }},
    {"data waits",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.client, "data");
       return p.server;
     }},
    {"read shut",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.client, SHUT_RD);
       return p.client;
     }},
    {"read shut, data came",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.server, "data");
       s.shutdown(p.client, SHUT_RD);
       return p.client;
     }},
    {"write shut",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.client, SHUT_WR);
       return p.client;
     }},
    {"both shut",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.client, SHUT_RDWR);
       return p.client;
     }},
    {"peer's write shut",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.server, SHUT_WR);
       return p.client;
     }},
    {"peer's write shut, data waits",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.server, "data");
       s.shutdown(p.server, SHUT_WR);
       return p.client;
     }},
    {"peer's both shut",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.server, SHUT_RDWR);
       return p.client;
     }},
    {"peer closed",
     [](S& s) {
       const auto p = s.connected();
       s.close(p.server);
       return p.client;
     }},
    {"peer closed, data waits",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.server, "data");
       s.close(p.server);
       return p.client;
     }},
    {"peer closed with data unread",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.client, "data");
       s.close(p.server);
       return p.client;
     }},
    {"both have shut writing",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.client, SHUT_WR);
       s.shutdown(p.server, SHUT_WR);
       return p.client;
     }},
    {"both have shut writing, the second",
     [](S& s) {
       const auto p = s.connected();
       s.shutdown(p.client, SHUT_WR);
       s.shutdown(p.server, SHUT_WR);
       return p.server;
     }},
    {"reset",
     [](S& s) {
       const auto p = s.connected();
       s.reset(p.server);
       return p.client;
     }},
    {"reset, error taken",
     [](S& s) {
       const auto p = s.connected();
       s.reset(p.server);
       s.error(p.client);
       return p.client;
     }},
    {"reset, data waits",
     [](S& s) {
       const auto p = s.connected();
       s.send(p.server, "data");
       s.reset(p.server);
       return p.client;
     }},
    {"reset after the peer's end",
     [](S& s) {
       const auto p = s.connected();
       s.close(p.server);
       s.send(p.client, "too late");
       return p.client;
     }},
};

struct Operation {
  const char* name;
  void (*run)(S&, int fd);
};

const Operation kOperations[] = {
    {"poll", [](S& s, int fd) { s.poll(fd); }},
    {"poll for nothing", [](S& s, int fd) { s.poll(fd, 0); }},
    {"SO_ERROR", [](S& s, int fd) { s.error(fd), s.error(fd), s.poll(fd); }},
    {"recv", [](S& s, int fd) { s.receive(fd, 8), s.receive(fd, 8), s.poll(fd); }},
    {"recv of 0 bytes", [](S& s, int fd) { s.receive(fd, 0); }},
    {"peek", [](S& s, int fd) { s.receive(fd, 8, MSG_PEEK | MSG_DONTWAIT), s.receive(fd, 8); }},
    {"send",
     [](S& s, int fd) { s.send(fd, "x", MSG_DONTWAIT), s.poll(fd), s.send(fd, "x", MSG_DONTWAIT), s.poll(fd); }},
    {"send of 0 bytes", [](S& s, int fd) { s.send(fd, "", MSG_DONTWAIT), s.poll(fd); }},
    {"shutdown RD", [](S& s, int fd) { s.shutdown(fd, SHUT_RD), s.poll(fd), s.receive(fd, 8), s.send(fd, "x"); }},
    {"shutdown WR", [](S& s, int fd) { s.shutdown(fd, SHUT_WR), s.poll(fd), s.receive(fd, 8), s.send(fd, "x"); }},
    {"shutdown RDWR", [](S& s, int fd) { s.shutdown(fd, SHUT_RDWR), s.poll(fd), s.receive(fd, 8), s.send(fd, "x"); }},
    {"shutdown twice",
     [](S& s, int fd) { s.shutdown(fd, SHUT_WR), s.shutdown(fd, SHUT_WR), s.shutdown(fd, SHUT_RDWR); }},
    {"shutdown nonsense",
     [](S& s, int fd) { s.note("shutdown 9", [fd](const Calls& c) { return c.shutdown(fd, 9); }); }},
    {"names", [](S& s, int fd) { s.local_name(fd), s.peer_name(fd); }},
    {"connect", [](S& s, int fd) { s.connect(fd, s.deaf_port()), s.poll(fd); }},
    {"disconnect", [](S& s, int fd) { s.disconnect(fd), s.poll(fd), s.peer_name(fd); }},
    {"bind", [](S& s, int fd) { s.bind(fd); }},
    {"listen", [](S& s, int fd) { s.listen(fd), s.poll(fd); }},
    {"accept", [](S& s, int fd) { s.control(fd, FIONBIO, 1), s.accept(fd), s.accept(fd); }},
    {"FIONREAD", [](S& s, int fd) { s.readable(fd); }},
    {"SO_ACCEPTCONN", [](S& s, int fd) { s.get(fd, SOL_SOCKET, SO_ACCEPTCONN); }},
    {"close", [](S& s, int fd) { s.close(fd), s.close(fd); }},
};

}  // namespace

void add_state_rows(std::vector<Row>& rows) {
  for (const State& state : kStates) {
    for (const Operation& operation : kOperations) {
      rows.push_back(
          {std::string("state/") + state.name + "/" + operation.name, [&](S& s) { operation.run(s, state.make(s)); }});
    }
  }
}

}  // namespace sluice::differential
