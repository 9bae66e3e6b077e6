#include "tests/differential/differences.h"

namespace sluice::differential {
namespace {

constexpr const char* kOldPort =
    "Linux shows the port of the connection that has ended; it is not this socket's any more";
constexpr const char* kNoBytes = "a receive of no bytes returns 0 at once and tells no error; POSIX leaves it open";
constexpr const char* kNotConnected =
    "shutdown() fails with ENOTCONN, and does nothing; on Linux it fails and still acts";
constexpr const char* kResetIsTold =
    "a reset is told as ECONNRESET; Linux says EPIPE when the peer had ended its side before";
constexpr const char* kKeepsName = "a datagram socket that is disconnected keeps the address and the port that it has";
constexpr const char* kUnspecified = "a destination of family AF_UNSPEC is an error; Linux takes it for IPv4";
constexpr const char* kPortZero = "nobody can be reached at port 0, so it is refused at once";
constexpr const char* kNoGroup = "a TCP socket could receive nothing at such an address, so it is refused at once";

constexpr const char* kNoOption = "the option is not there: ENOPROTOOPT";
constexpr const char* kMulticast = "options about multicasts are those of datagram sockets";
constexpr const char* kOrder = "of two mistakes in a call (name, length, pointer) the other is told";
constexpr const char* kBuffers =
    "a buffer has the size that was set, from 2304 bytes to 64 MiB; Linux doubles it and has limits of its own";
constexpr const char* kNoEffect = "an option without effect on this kind of socket is taken, and not kept";
constexpr const char* kTimeouts = "a timeout is 0 (none) or more, up to 100 years";

constexpr Difference kDifferences[] = {
    {"bind/stream broadcast address", "bind: 0", "bind: EADDRNOTAVAIL", kNoGroup},
    {"bind/stream multicast address", "bind: 0", "bind: EADDRNOTAVAIL", kNoGroup},
    {"connect/*", "getsockname: 0 0.0.0.0:port*", "getsockname: 0 0.0.0.0:0", kOldPort},
    {"connect/to a port of nobody's", "connect: ECONNREFUSED", "connect: EINVAL", kPortZero},
    {"datagram/connect to port 0", "*", "*", kPortZero},
    {"listen/reset by the peer before accept", "*", "*",
     "a connection that was reset before accept() is not handed out, as on BSD"},
    {"bytes/nothing", "recv: EAGAIN", "recv: 0 \"\"", kNoBytes},
    {"state/*/recv of 0 bytes", "recv: *", "recv: 0 \"\"", kNoBytes},
    {"bytes/trunc discards", "recv: 4 \"....\"", "recv: 4 \"abcd\"",
     "MSG_TRUNC on a stream stores the bytes; Linux only skips them"},

    {"state/fresh/shutdown*", "*", "*", kNotConnected},
    {"state/bound/shutdown*", "*", "*", kNotConnected},
    {"state/peer's both shut/send", "*", "*",
     "what comes after shutdown(SHUT_RDWR) is acknowledged and dropped; Linux answers with a reset"},
    {"state/peer closed*/send", "send: EPIPE", "send: ECONNRESET", kResetIsTold},
    {"state/reset after the peer's end/*", "*", "*", kResetIsTold},
    {"datagram/to broadcast", "*: EACCES", "*", "127.255.255.255 is an address of this host, as all of 127.0.0.0/8"},
    {"datagram/to a destination of odd length", "sendto: 1", "sendto: EAFNOSUPPORT", kUnspecified},
    {"datagram/destination by connect and empty name", "sendto: EINVAL", "sendto: EAFNOSUPPORT", kUnspecified},
    {"datagram/send with flag 32768", "*", "*", "MSG_MORE does not join datagrams"},
    {"datagram/names*", "getsockname: 0 *:0", "getsockname: 0 127.0.0.1:port1", kKeepsName},
    {"datagram/names, bound", "bind: 0", "bind: EINVAL", kKeepsName},
    {"datagram/filter", "*", "*", kKeepsName},
    {"option/SO_BUSY_POLL/*", "*", "*", kNoOption},
    {"option/SO_DONTROUTE/*", "*", "*", kNoOption},
    {"option/SO_INCOMING_CPU/*", "*", "*", kNoOption},
    {"option/SO_NO_CHECK/*", "*", "*", kNoOption},
    {"option/SO_PEEK_OFF/*", "*", "*", kNoOption},
    {"option/SO_RCVLOWAT/datagram*", "*", "*", kNoOption},
    {"option/SO_SNDLOWAT/*", "*", "*", kNoOption},
    {"option/SO_ZEROCOPY/datagram*", "*", "*", kNoOption},
    {"option/TCP_SAVE_SYN/*", "*", "*", kNoOption},
    {"option/TCP_THIN_LINEAR_TIMEOUTS/*", "*", "*", kNoOption},
    {"option/TCP_TIMESTAMP/*", "*", "*", kNoOption},
    {"option/IP_BIND_ADDRESS_NO_PORT/*", "*", "*", kNoOption},
    {"option/IP_FREEBIND/*", "*", "*", kNoOption},
    {"option/IP_MINTTL/*", "*", "*", kNoOption},
    {"option/IP_MTU/stream*", "*", "*", kNoOption},
    {"option/IP_MTU/accepted*", "*", "*", kNoOption},
    {"option/IP_RECVERR/stream*", "*", "*", kNoOption},
    {"option/IP_RECVERR/accepted*", "*", "*", kNoOption},
    {"option/IP_TRANSPARENT/*", "*", "*", kNoOption},
    {"option/UDP_CORK/*", "*", "*", kNoOption},
    {"option/SO_*/*", "setsockopt of *: EINVAL", "setsockopt of *: ENOPROTOOPT", kOrder},
    {"option/9999 *", "setsockopt of *: EINVAL", "setsockopt of *: ENOPROTOOPT", kOrder},
    {"option/*/from nowhere", "*", "*", kOrder},
    {"option/TCP_CONGESTION/*", "setsockopt of 0 bytes: EINVAL", "setsockopt of 0 bytes: ENOENT", kOrder},
    {"option/SO_RCVBUF/*", "getsockopt*", "getsockopt*", kBuffers},
    {"option/SO_SNDBUF/*", "getsockopt*", "getsockopt*", kBuffers},
    {"option/SO_LINGER/datagram/*", "getsockopt*", "getsockopt*", kNoEffect},
    {"option/SO_LINGER/stream/values", "getsockopt*", "getsockopt*", "a linger time is from 0 to 65535 seconds"},
    {"option/SO_RCVTIMEO/*", "*", "*", kTimeouts},
    {"option/SO_SNDTIMEO/*", "*", "*", kTimeouts},
    {"option/SO_MAX_PACING_RATE/stream/odd*", "*", "*", "a rate of 0 would send nothing: EINVAL; read, it has 32 bits"},
    {"option/SO_MAX_PACING_RATE/*", "*", "*ENOPROTOOPT", "only TCP is paced"},
    {"option/TCP_QUICKACK/*", "getsockopt*", "getsockopt*",
     "TCP_QUICKACK holds until it is changed, and reads 1 while the connection is in its quick start"},
    {"option/TCP_SYNCNT/stream/*", "getsockopt*value 6", "getsockopt*value 8",
     "the handshake is tried for longer (RFC 9293, 3.8.3)"},
    {"option/TCP_WINDOW_CLAMP/*", "getsockopt*", "getsockopt*",
     "an unlimited window reads as the largest there can be"},
    {"option/IP_MULTICAST_TTL/stream*", "*", "*", kMulticast},
    {"option/IP_MULTICAST_TTL/accepted*", "*", "*", kMulticast},
    {"option/IP_MULTICAST_LOOP/stream*", "*", "*", kMulticast},
    {"option/IP_MULTICAST_LOOP/accepted*", "*", "*", kMulticast},
    {"option/IP_MULTICAST_ALL/stream*", "*", "*", kMulticast},
    {"option/IP_MULTICAST_ALL/accepted*", "*", "*", kMulticast},
    {"echo/there and back", "FIONREAD: ENOTTY", "FIONREAD: 0 15 bytes",
     "FIONREAD of an ICMP echo socket is its next message"},
    {"echo/bound", "*", "*", "an identifier of ICMP echo belongs to one socket: EADDRINUSE"},
    {"ancillary/asked when it is there already", "*", "*",
     "IP_PKTINFO tells also of what came before it was asked for"},
    {"ancillary/send IP_PKTINFO, nobody's address", "sendmsg: *", "sendmsg: EADDRNOTAVAIL",
     "a source that is no address of this host is told as bind() tells it"},
    {"option/IP_TOS/*", "*", "*",
     "IP_TOS out of 0 to 255 is EINVAL; Linux cuts it to a byte, and keeps TCP's ECN bits from it"},
    {"option/SO_REUSE*/accepted has the listener's", "*", "*",
     "an accepted connection has claimed no port, so it has no option for that"},
    {"datagram/shutdown *", "recv: EAGAIN", "recv: 0 \"\"",
     "after shutdown(SHUT_RD) a receive is 0 at once; Linux has EAGAIN when it may not wait"},
    {"datagram/port unreachable, connect", "*", "*", "connect() forgets what was told about the destination before"},
};

}  // namespace

std::span<const Difference> differences() {
  return kDifferences;
}

bool fits(std::string_view pattern, std::string_view text) {
  while (!pattern.empty() && pattern.front() != '*') {
    if (text.empty() || text.front() != pattern.front()) return false;
    pattern.remove_prefix(1);
    text.remove_prefix(1);
  }
  if (pattern.empty()) return text.empty();
  pattern.remove_prefix(1);
  for (std::size_t skip = 0; skip <= text.size(); ++skip) {
    if (fits(pattern, text.substr(skip))) return true;
  }
  return false;
}

}  // namespace sluice::differential
