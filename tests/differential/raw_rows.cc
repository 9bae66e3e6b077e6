// Programs with raw sockets and ICMP echo sockets, and such that read the errors of their datagrams.
#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>

#include <array>
#include <cstring>
#include <initializer_list>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;

constexpr int kProtocol = 200;  // that nobody else speaks

std::string echo_request(std::uint16_t sequence, std::string_view data = "payload") {
  std::string message(8, '\0');
  message[0] = ICMP_ECHO;
  message[7] = static_cast<char>(sequence);
  message += data;
  std::uint32_t sum = 0;
  const std::string even = message + (message.size() % 2 != 0 ? std::string(1, '\0') : "");
  for (std::size_t i = 0; i < even.size(); i += 2) {
    sum +=
        static_cast<std::uint32_t>(static_cast<unsigned char>(even[i]) << 8 | static_cast<unsigned char>(even[i + 1]));
  }
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~(sum + (sum >> 16)) & 0xffff;
  message[2] = static_cast<char>(sum >> 8);
  message[3] = static_cast<char>(sum);
  return message;
}

void add_errors(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&, int)> program) {
    rows.push_back({"errors/" + name, [program = std::move(program)](S& s) {
                      const int fd = s.datagram();
                      s.set(fd, IPPROTO_IP, IP_RECVERR, 1);
                      program(s, fd);
                    }});
  };
  add("connected", [](S& s, int fd) {
    s.connect(fd, s.deaf_port(SOCK_DGRAM));
    s.send(fd, "some data");
    s.poll(fd);
    s.receive_error(fd);
    s.receive_error(fd);
    s.poll(fd);
    s.receive(fd, 8);
  });
  add("not connected", [](S& s, int fd) {
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "some data");
    s.poll(fd);
    s.poll(fd, 0);
    s.receive(fd, 8);
    s.poll(fd);
    s.receive_error(fd);
    s.poll(fd);
  });
  add("several", [](S& s, int fd) {
    for (int i = 0; i < 3; ++i) {
      s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
      s.error(fd);
    }
    for (int i = 0; i < 4; ++i) {
      s.receive_error(fd);
      s.poll(fd);
      s.receive(fd, 8);
    }
  });
  add("SO_ERROR first", [](S& s, int fd) {
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.error(fd);
    s.poll(fd);
    s.receive_error(fd);
    s.error(fd);
  });
  add("the queue first", [](S& s, int fd) {
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.receive_error(fd);
    s.error(fd);
  });
  add("of a datagram without data", [](S& s, int fd) {
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "");
    s.receive_error(fd);
  });
  add("of a datagram that is quoted in part", [](S& s, int fd) {
    s.connect(fd, s.deaf_port(SOCK_DGRAM));
    s.send_size(fd, 5000);
    s.receive_error(fd, 4096);
  });
  for (const std::size_t room : {0u, 3u}) {
    add("into " + std::to_string(room), [room](S& s, int fd) {
      s.send_to(fd, s.deaf_port(SOCK_DGRAM), "abcdef");
      s.receive_error(fd, room);
      s.receive_error(fd);
    });
  }
  add("switched off", [](S& s, int fd) {
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.set(fd, IPPROTO_IP, IP_RECVERR, 0);
    s.poll(fd);
    s.receive_error(fd);
    s.error(fd);
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.poll(fd);
  });
  add("with the TTL", [](S& s, int fd) {
    s.set(fd, IPPROTO_IP, IP_RECVTTL, 1);
    s.send_to(fd, s.deaf_port(SOCK_DGRAM), "x");
    s.receive_error(fd);
  });
  add("empty", [](S& s, int fd) {
    s.receive_error(fd);
    s.poll(fd);
  });
}

void add_raw(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&)> program) {
    rows.push_back({"raw/" + name, std::move(program)});
  };
  for (const int protocol : {0, 1, 6, 17, 200, 255}) {
    add("protocol " + std::to_string(protocol), [protocol](S& s) {
      const int fd = s.socket(AF_INET, SOCK_RAW, protocol);
      if (fd < 0) return;
      for (const int name : {SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ERROR}) s.get(fd, SOL_SOCKET, name);
      s.get(fd, IPPROTO_IP, IP_HDRINCL);
      s.get(fd, IPPROTO_IP, IP_TTL);
      s.poll(fd);
      s.receive(fd, 8);
      s.readable(fd);
    });
  }
  add("there and back", [](S& s) {
    const int one = s.socket(AF_INET, SOCK_RAW, kProtocol), two = s.socket(AF_INET, SOCK_RAW, kProtocol + 1);
    const int same = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.send_to(one, 0, "hello");
    for (const int fd : {one, two, same}) {
      s.poll(fd);
      s.readable(fd);
      s.receive_packet(fd, 100);
      s.receive(fd, 100);
    }
  });
  add("peek and truncate", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.send_to(fd, 0, "hello");
    s.receive_packet(fd, 100, MSG_DONTWAIT | MSG_PEEK);
    s.receive_packet(fd, 22, MSG_DONTWAIT | MSG_PEEK);
    s.receive_packet(fd, 22, MSG_DONTWAIT | MSG_TRUNC);
    s.receive(fd, 100);
  });
  add("bound", [](S& s) {
    const int here = s.socket(AF_INET, SOCK_RAW, kProtocol), there = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.bind(here, 0, "127.0.0.1");
    s.bind(there, 0, "127.0.0.9");
    s.bind(there, 0, "192.0.2.1");
    s.send_to(there, 0, "x");
    s.receive_packet(here, 100);
    s.receive(there, 100);
    s.send_to(here, 0, "y", 0, "127.0.0.9");
    s.receive(here, 100);
    s.receive_packet(there, 100);
  });
  add("connected", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, kProtocol), other = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.send(fd, "nowhere");
    s.peer_name(fd);
    s.connect(fd, 0, "127.0.0.9");
    s.peer_name(fd);
    s.send(fd, "x");
    s.receive(fd, 100);
    s.receive_packet(other, 100);
    s.bind(other, 0, "127.0.0.9");
    s.send_to(other, 0, "y");
    s.receive_packet(fd, 100);
    s.disconnect(fd);
    s.send(fd, "nowhere");
  });
  add("options of the header", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.set(fd, IPPROTO_IP, IP_TTL, 9);
    s.set(fd, IPPROTO_IP, IP_TOS, 0x20);
    s.send_to(fd, 0, "x");
    s.receive_packet(fd, 100);
    for (const int asked : {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS}) s.set(fd, IPPROTO_IP, asked, 1);
    s.send_to(fd, 0, "x");
    s.receive_told(fd);
  });
  add("not there", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.listen(fd);
    s.accept(fd);
    s.send(fd, "x", MSG_OOB);
    s.set(fd, IPPROTO_TCP, 1, 1);
    s.send_to(fd, 0, std::string(70'000, 'x'));
  });
  add("a header of one's own", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, IPPROTO_RAW), to = s.socket(AF_INET, SOCK_RAW, kProtocol);
    iphdr header{};
    header.version = 4;
    header.ihl = 5;
    header.ttl = 33;
    header.tos = 0x10;
    header.id = htons(0x1234);
    header.protocol = kProtocol;
    header.daddr = htonl(INADDR_LOOPBACK);
    std::string packet(reinterpret_cast<const char*>(&header), sizeof header);
    s.send_to(fd, 0, packet + "mine");
    s.receive_packet(to, 100);
    header.saddr = htonl(0x7f000009);
    packet.assign(reinterpret_cast<const char*>(&header), sizeof header);
    s.send_to(fd, 0, packet + "mine");
    s.receive_packet(to, 100);
    s.send_to(fd, 0, packet.substr(0, 19));
    s.send_to(fd, 0, "");
    header.ihl = 15;
    packet.assign(reinterpret_cast<const char*>(&header), sizeof header);
    s.send_to(fd, 0, packet);
    s.set(to, IPPROTO_IP, IP_HDRINCL, 1);
    s.get(to, IPPROTO_IP, IP_HDRINCL);
  });
  add("ping", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    s.send_to(fd, 0, echo_request(1));
    s.receive_packet(fd, 100);  // the request
    s.receive_packet(fd, 100);  // the reply
    s.receive(fd, 100);
  });
  add("filtered ping", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    s.get(fd, SOL_RAW, ICMP_FILTER);
    s.set(fd, SOL_RAW, ICMP_FILTER, 1 << ICMP_ECHO);
    s.get(fd, SOL_RAW, ICMP_FILTER);
    s.send_to(fd, 0, echo_request(1));
    s.receive_packet(fd, 100);
    s.receive(fd, 100);
    s.get(s.socket(AF_INET, SOCK_RAW, kProtocol), SOL_RAW, ICMP_FILTER);
  });
  add("nobody speaks it", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    const int errors = s.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    iphdr header{};
    header.version = 4;
    header.ihl = 5;
    header.ttl = 33;
    header.protocol = kProtocol;
    header.daddr = htonl(INADDR_LOOPBACK);
    s.send_to(fd, 0, std::string(reinterpret_cast<const char*>(&header), sizeof header) + "whatever");
    s.receive_from(errors, 200);
    const int speaker = s.socket(AF_INET, SOCK_RAW, kProtocol);
    s.send_to(fd, 0, std::string(reinterpret_cast<const char*>(&header), sizeof header) + "whatever");
    s.receive_packet(speaker, 100);
    s.receive_from(errors, 200);
  });
  add("UDP seen", [](S& s) {
    const int fd = s.socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
    const auto p = s.datagram_pair();
    s.send(p.client, "x");
    s.receive(p.server, 8);
    s.poll(fd);
    s.readable(fd);
  });
}

void add_echo(std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, std::function<void(S&, int)> program) {
    rows.push_back({"echo/" + name,
                    [program = std::move(program)](S& s) { program(s, s.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)); }});
  };
  add("kind", [](S& s, int fd) {
    for (const int name : {SO_TYPE, SO_PROTOCOL, SO_DOMAIN, SO_ERROR}) s.get(fd, SOL_SOCKET, name);
    s.poll(fd);
    s.local_name(fd);
    s.peer_name(fd);
    s.listen(fd);
  });
  add("there and back", [](S& s, int fd) {
    s.send_to(fd, 0, echo_request(1));
    s.local_name(fd);
    s.poll(fd);
    s.readable(fd);
    s.receive_from(fd, 100);
    s.receive_from(fd, 100);
  });
  add("connected", [](S& s, int fd) {
    s.connect(fd, 7);
    s.local_name(fd);
    s.peer_name(fd);
    s.send(fd, echo_request(1));
    s.receive_from(fd, 100);
    s.disconnect(fd);
    s.send(fd, echo_request(2));
  });
  add("messages that are none", [](S& s, int fd) {
    std::string message = echo_request(1);
    s.send_to(fd, 0, message.substr(0, 7));
    s.send_to(fd, 0, "");
    message[1] = 1;
    s.send_to(fd, 0, message);
    message[1] = 0;
    message[0] = ICMP_ECHOREPLY;
    s.send_to(fd, 0, message);
    message[0] = 13;
    s.send_to(fd, 0, message);
  });
  add("bound", [](S& s, int fd) {
    s.bind(fd, 77);
    s.bind(fd, 78);
    const int other = s.socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    s.bind(other, 77);
    s.bind(other, 78, "192.0.2.1");
    s.send_to(fd, 0, echo_request(1));
    s.receive_from(fd, 100);
  });
  add("asked for the TTL", [](S& s, int fd) {
    s.set(fd, IPPROTO_IP, IP_RECVTTL, 1);
    s.set(fd, IPPROTO_IP, IP_TTL, 9);
    s.send_to(fd, 0, echo_request(1));
    s.receive_told(fd);
  });
  add("peek and truncate", [](S& s, int fd) {
    s.send_to(fd, 0, echo_request(1));
    s.receive_from(fd, 4, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
    s.receive_from(fd, 4, MSG_DONTWAIT | MSG_TRUNC);
    s.receive_from(fd, 4);
  });
}

}  // namespace

void add_raw_rows(std::vector<Row>& rows) {
  add_errors(rows);
  add_raw(rows);
  add_echo(rows);
}

}  // namespace sluice::differential
