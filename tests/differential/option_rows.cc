// Each option of socket(7), tcp(7), ip(7) and udp(7), on a stream and on a datagram socket.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

struct Option {
  const char* name;
  int level, number;
  int value;  // one that can be set
};
#define OPTION(level, name, value) \
  { #name, level, name, value }
constexpr Option kOptions[] = {
    OPTION(SOL_SOCKET, SO_ACCEPTCONN, 1),
    OPTION(SOL_SOCKET, SO_BROADCAST, 1),
    OPTION(SOL_SOCKET, SO_BUSY_POLL, 0),
    OPTION(SOL_SOCKET, SO_DEBUG, 0),
    OPTION(SOL_SOCKET, SO_DOMAIN, 2),
    OPTION(SOL_SOCKET, SO_DONTROUTE, 1),
    OPTION(SOL_SOCKET, SO_ERROR, 1),
    OPTION(SOL_SOCKET, SO_INCOMING_CPU, 0),
    OPTION(SOL_SOCKET, SO_KEEPALIVE, 1),
    OPTION(SOL_SOCKET, SO_MARK, 7),
    OPTION(SOL_SOCKET, SO_NO_CHECK, 1),
    OPTION(SOL_SOCKET, SO_OOBINLINE, 1),
    OPTION(SOL_SOCKET, SO_PEEK_OFF, -1),
    OPTION(SOL_SOCKET, SO_PRIORITY, 3),
    OPTION(SOL_SOCKET, SO_PROTOCOL, 6),
    OPTION(SOL_SOCKET, SO_RCVBUF, 30'000),
    OPTION(SOL_SOCKET, SO_RCVLOWAT, 10),
    OPTION(SOL_SOCKET, SO_REUSEADDR, 1),
    OPTION(SOL_SOCKET, SO_REUSEPORT, 1),
    OPTION(SOL_SOCKET, SO_RXQ_OVFL, 1),
    OPTION(SOL_SOCKET, SO_SNDBUF, 30'000),
    OPTION(SOL_SOCKET, SO_SNDLOWAT, 10),
    OPTION(SOL_SOCKET, SO_TIMESTAMP, 1),
    OPTION(SOL_SOCKET, SO_TYPE, 1),
    OPTION(SOL_SOCKET, SO_ZEROCOPY, 1),
    OPTION(SOL_SOCKET, SO_MAX_PACING_RATE, 1'000'000),
    OPTION(SOL_SOCKET, 9999, 1),
    OPTION(IPPROTO_TCP, TCP_CORK, 1),
    OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT, 3),
    OPTION(IPPROTO_TCP, TCP_FASTOPEN, 5),
    OPTION(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1),
    OPTION(IPPROTO_TCP, TCP_INQ, 1),
    OPTION(IPPROTO_TCP, TCP_KEEPCNT, 4),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE, 30),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL, 11),
    OPTION(IPPROTO_TCP, TCP_LINGER2, 20),
    OPTION(IPPROTO_TCP, TCP_MAXSEG, 1000),
    OPTION(IPPROTO_TCP, TCP_NODELAY, 1),
    OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 10'000),
    OPTION(IPPROTO_TCP, TCP_QUICKACK, 0),
    OPTION(IPPROTO_TCP, TCP_SAVE_SYN, 1),
    OPTION(IPPROTO_TCP, TCP_SYNCNT, 3),
    OPTION(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1),
    OPTION(IPPROTO_TCP, TCP_TIMESTAMP, 1),
    OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, 9000),
    OPTION(IPPROTO_TCP, TCP_WINDOW_CLAMP, 20'000),
    OPTION(IPPROTO_TCP, 9999, 1),
    OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1),
    OPTION(IPPROTO_IP, IP_FREEBIND, 1),
    OPTION(IPPROTO_IP, IP_MINTTL, 5),
    OPTION(IPPROTO_IP, IP_MTU, 1500),
    OPTION(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE),
    OPTION(IPPROTO_IP, IP_MULTICAST_ALL, 0),
    OPTION(IPPROTO_IP, IP_MULTICAST_LOOP, 0),
    OPTION(IPPROTO_IP, IP_MULTICAST_TTL, 9),
    OPTION(IPPROTO_IP, IP_PKTINFO, 1),
    OPTION(IPPROTO_IP, IP_RECVERR, 1),
    OPTION(IPPROTO_IP, IP_RECVTOS, 1),
    OPTION(IPPROTO_IP, IP_RECVTTL, 1),
    OPTION(IPPROTO_IP, IP_TOS, 0x10),
    OPTION(IPPROTO_IP, IP_TRANSPARENT, 0),
    OPTION(IPPROTO_IP, IP_TTL, 33),
    OPTION(IPPROTO_IP, 9999, 1),
    OPTION(IPPROTO_UDP, UDP_CORK, 1),
    OPTION(IPPROTO_UDP, UDP_SEGMENT, 1000),
    OPTION(IPPROTO_UDP, UDP_GRO, 1),
    OPTION(9999, SO_REUSEADDR, 1),
};
#undef OPTION

struct Operation {
  const char* name;
  void (*run)(S&, int fd, const Option& o);
};

constexpr int kOdd[] = {0, -1, 2, 255, 256, 65'536, INT32_MAX, INT32_MIN};

const Operation kOperations[] = {
    {"default", [](S& s, int fd, const Option& o) { s.get(fd, o.level, o.number); }},
    {"set and get",
     [](S& s, int fd, const Option& o) { s.set(fd, o.level, o.number, o.value), s.get(fd, o.level, o.number); }},
    {"odd values",
     [](S& s, int fd, const Option& o) {
       for (const int value : kOdd) s.set(fd, o.level, o.number, value), s.get(fd, o.level, o.number);
     }},
    {"odd lengths",
     [](S& s, int fd, const Option& o) {
       const int value[4] = {o.value, 0, 0, 0};
       for (const socklen_t length : {0u, 1u, 2u, 3u, 16u}) s.set_bytes(fd, o.level, o.number, value, length);
       for (const socklen_t room : {0u, 1u, 2u, 3u, 16u}) s.get_bytes(fd, o.level, o.number, room);
     }},
    {"from nowhere",
     [](S& s, int fd, const Option& o) {
       s.set_bytes(fd, o.level, o.number, nullptr, sizeof(int));
       s.note("getsockopt", [&](const Calls& c) {
         socklen_t length = sizeof(int);
         return c.getsockopt(fd, o.level, o.number, nullptr, &length);
       });
     }},
};

void add_integers(std::vector<Row>& rows) {
  for (const Option& option : kOptions) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      for (const Operation& operation : kOperations) {
        rows.push_back({"option/" + std::string(option.level == 9999 ? "level " : "") + option.name +
                            (option.number == 9999 ? " of " + std::to_string(option.level) : "") +
                            (type == SOCK_STREAM ? "/stream/" : "/datagram/") + operation.name,
                        [=, &operation, &option](S& s) { operation.run(s, s.socket(AF_INET, type), option); }});
      }
    }
  }
}

void add_inherited(std::vector<Row>& rows) {
  for (const Option& option : kOptions) {
    if (option.level == 9999 || option.number == 9999 || option.level == IPPROTO_UDP) continue;
    rows.push_back({std::string("option/") + option.name + "/accepted has the listener's", [&option](S& s) {
                      const int listener = s.listening(), client = s.stream();
                      s.set(listener, option.level, option.number, option.value);
                      s.connect(client, s.port_of(listener));
                      s.get(s.accept(listener), option.level, option.number);
                    }});
  }
}

void add_structures(std::vector<Row>& rows) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const std::string kind = type == SOCK_STREAM ? "/stream/" : "/datagram/";
    const auto add = [&](const std::string& option, const char* what, auto program) {
      rows.push_back({"option/" + option + kind + what, [=](S& s) { program(s, s.socket(AF_INET, type)); }});
    };
    add("SO_LINGER", "values", [](S& s, int fd) {
      s.get_bytes(fd, SOL_SOCKET, SO_LINGER, sizeof(linger));
      for (const linger l : {linger{1, 5}, linger{1, 0}, linger{0, 9}, linger{2, 70'000}, linger{1, -1}}) {
        s.set_bytes(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        s.get_bytes(fd, SOL_SOCKET, SO_LINGER, sizeof l);
      }
    });
    add("SO_LINGER", "lengths", [](S& s, int fd) {
      const linger l[2] = {{1, 5}, {}};
      for (const socklen_t n : {0u, 4u, 7u, 8u, 16u}) s.set_bytes(fd, SOL_SOCKET, SO_LINGER, l, n);
      for (const socklen_t n : {0u, 4u, 7u, 16u}) s.get_bytes(fd, SOL_SOCKET, SO_LINGER, n);
    });
    for (const int name : {SO_RCVTIMEO, SO_SNDTIMEO}) {
      const std::string option = name == SO_RCVTIMEO ? "SO_RCVTIMEO" : "SO_SNDTIMEO";
      add(option, "values", [name](S& s, int fd) {
        s.get_bytes(fd, SOL_SOCKET, name, sizeof(timeval));
        for (const timeval t : {timeval{2, 500'000}, timeval{0, 0}, timeval{-1, 0}, timeval{1, -1},
                                timeval{1, 1'000'000}, timeval{1L << 40, 0}}) {
          s.set_bytes(fd, SOL_SOCKET, name, &t, sizeof t);
          s.get_bytes(fd, SOL_SOCKET, name, sizeof t);
        }
      });
      add(option, "lengths", [name](S& s, int fd) {
        const timeval t[2] = {{2, 0}, {}};
        for (const socklen_t n : {0u, 4u, 8u, 15u, 16u, 32u}) s.set_bytes(fd, SOL_SOCKET, name, t, n);
        for (const socklen_t n : {0u, 4u, 15u, 32u}) s.get_bytes(fd, SOL_SOCKET, name, n);
      });
    }
    add("TCP_CONGESTION", "names", [](S& s, int fd) {
      s.set_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
      s.get_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, 16);
      s.get_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, 3);
      s.set_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8);
      s.set_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0);
      s.set_bytes(fd, IPPROTO_TCP, TCP_CONGESTION, "a name that is much too long", 28);
    });
    for (const int name : {TCP_MD5SIG, TCP_MD5SIG_EXT}) {
      add(name == TCP_MD5SIG ? "TCP_MD5SIG" : "TCP_MD5SIG_EXT", "keys", [name](S& s, int fd) {
        struct Given {
          sa_family_t family;
          std::uint32_t address;
          std::uint8_t flags, length;
          std::uint16_t size;  // of the key
        };
        for (const Given& g : {Given{AF_INET, 0x0a000001, 0, 0, 5}, Given{AF_INET, 0x0a000001, 0, 0, 0},
                               Given{AF_INET, 0x0a000001, 0, 0, 0}, Given{AF_INET, 0x0a000002, 1, 24, 80},
                               Given{AF_INET, 0x0a000002, 0, 24, 0}, Given{AF_INET, 0x0a000009, 1, 24, 0},
                               Given{AF_INET, 0x0a000002, 1, 24, 0}, Given{AF_INET, 0, 1, 0, 7},
                               Given{AF_INET, 1, 1, 33, 7}, Given{AF_INET, 1, 0, 0, 81}, Given{AF_INET6, 1, 0, 0, 7},
                               Given{AF_UNSPEC, 1, 0, 0, 7}, Given{AF_INET, 1, 2, 0, 7}, Given{AF_INET, 1, 4, 0, 7}}) {
          tcp_md5sig key{};
          sockaddr_in address{};
          address.sin_family = g.family;
          address.sin_addr.s_addr = htonl(g.address);
          memcpy(&key.tcpm_addr, &address, sizeof address);
          key.tcpm_flags = g.flags;
          key.tcpm_prefixlen = g.length;
          key.tcpm_keylen = g.size;
          s.set_bytes(fd, IPPROTO_TCP, name, &key, sizeof key);
        }
        const tcp_md5sig key[2] = {};
        for (const socklen_t n : {0u, 16u, 215u, 432u}) s.set_bytes(fd, IPPROTO_TCP, name, key, n);
        s.get_bytes(fd, IPPROTO_TCP, name, sizeof *key);
      });
    }
    for (const int name : {IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP}) {
      add(name == IP_ADD_MEMBERSHIP ? "IP_ADD_MEMBERSHIP" : "IP_DROP_MEMBERSHIP", "groups", [name](S& s, int fd) {
        ip_mreq group{};
        group.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
        for (const std::uint32_t address : {0xe0000105u, 0x7f000001u, 0u}) {
          group.imr_multiaddr.s_addr = htonl(address);
          s.set_bytes(fd, IPPROTO_IP, name, &group, sizeof group);
        }
        s.set_bytes(fd, IPPROTO_IP, name, &group, 4);
      });
    }
  }
}

}  // namespace

void add_option_rows(std::vector<Row>& rows) {
  add_integers(rows);
  add_inherited(rows);
  add_structures(rows);
}

}  // namespace sluice::differential
