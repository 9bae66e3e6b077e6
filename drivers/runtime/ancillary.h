// The ancillary data of received messages (cmsg(3)), and reports about sent ones as MSG_ERRQUEUE has them. Whoever
// offers BSD calls uses it.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include "drivers/runtime/system_types.h"

namespace sluice {

// Puts items into the control room of a message, one behind the other. Too little room: as much as fits, and
// MSG_CTRUNC.
class Ancillary {
 public:
  explicit Ancillary(msghdr& message);
  ~Ancillary() { message_.msg_controllen = used_; }
  Ancillary(const Ancillary&) = delete;
  Ancillary& operator=(const Ancillary&) = delete;

  void put(int level, int type, const void* data, std::size_t size);
  template <typename T>
  void put(int level, int type, const T& value) {
    put(level, type, &value, sizeof value);
  }

 private:
  msghdr& message_;
  std::size_t room_;
  std::size_t used_ = 0;
};

// Bits: what recvmsg() tells of each datagram, and by which option it is asked for.
enum Told : std::uint8_t {
  kTellTtl = 1,           // IP_RECVTTL
  kTellTos = 2,           // IP_RECVTOS
  kTellPacketInfo = 4,    // IP_PKTINFO
  kTellTime = 8,          // SO_TIMESTAMP
  kTellPreciseTime = 16,  // SO_TIMESTAMPNS
  kTellDropped = 32,      // SO_RXQ_OVFL
};
// `clock_offset` leads from the stack's clock to the system's; used for times only.
void store_facts(const SocketRef& socket, const socket::Received& received, Duration clock_offset,
                 Ancillary& ancillary);
// An error that was kept (IP_RECVERR), with what was asked for about its packet.
void store_error(const SocketRef& socket, const socket::ReceivedError& error, msghdr& message);
// What a message that is to be sent chooses: IP_PKTINFO, IP_TTL, IP_TOS, UDP_SEGMENT. kInvalid: malformed, or none of
// these; kNoDevice: no such interface. What other levels say is of no use here.
Result<ip::Choices> choices_of(const msghdr& message, const ip::Ip& ip);

// What a call that gave data to a stream wants to be told (MSG_ZEROCOPY, SO_TIMESTAMPING). `sent`: its result.
void ask_for_reports(const SocketRef& socket, int flags, std::size_t sent);
// SO_TIMESTAMPING's flags; with SOF_TIMESTAMPING_OPT_ID bytes are counted from now on.
int set_timestamping(const SocketRef& socket, const void* value, socklen_t length);
// The oldest report that the socket's options let through. Its time is on the stack's clock; `clock_offset` leads to
// the system's. The result of recvmsg(): -1 and EAGAIN when there is none.
ssize_t receive_report(const SocketRef& socket, Duration clock_offset, msghdr& message);
// What a read leaves to be read, for those who want to know (TCP_INQ).
void store_inq(const SocketRef& socket, Ancillary& ancillary);

}  // namespace sluice
