#include "drivers/runtime/ancillary.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h>  // needs time.h

#include <algorithm>
#include <array>

#include "drivers/runtime/ip_options.h"

namespace sluice {
namespace {

using socket::Report;

struct QueuedError {  // of IP_RECVERR
  sock_extended_err error;
  sockaddr_in offender;
};

// Which flag asks for a report, and what the report calls itself.
struct Stage {
  std::uint32_t wanted;
  std::uint32_t info;
};
Stage stage_of(Report::Kind kind) {
  switch (kind) {
    case Report::Kind::kQueued:
      return {SOF_TIMESTAMPING_TX_SCHED, SCM_TSTAMP_SCHED};
    case Report::Kind::kSent:
      return {SOF_TIMESTAMPING_TX_SOFTWARE, SCM_TSTAMP_SND};
    default:
      return {SOF_TIMESTAMPING_TX_ACK, SCM_TSTAMP_ACK};
  }
}
constexpr std::uint32_t kAnyStage = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK;

std::uint32_t bytes_written(const SocketRef& socket) {
  const auto info = socket.sockets.tcp_info(socket.handle);
  return info ? static_cast<std::uint32_t>(info->bytes_acked + info->send_queued) : 0;
}

timespec to_timespec(Instant at, Duration clock_offset) {
  const std::int64_t ns = (at + clock_offset).to_nanos();
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

void store_copied(const Report& report, msghdr& message) {
  QueuedError queued{};
  queued.error.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
  queued.error.ee_code = SO_EE_CODE_ZEROCOPY_COPIED;
  queued.error.ee_info = report.first;
  queued.error.ee_data = report.last;
  Ancillary(message).put(IPPROTO_IP, IP_RECVERR, queued);
}

void store_progress(const Report& report, const SocketSettings& settings, Duration clock_offset, msghdr& message) {
  const bool named = (settings.seldom->timestamping & SOF_TIMESTAMPING_OPT_ID) != 0;
  QueuedError queued{};
  queued.error.ee_errno = ENOMSG;
  queued.error.ee_origin = SO_EE_ORIGIN_TIMESTAMPING;
  queued.error.ee_info = stage_of(report.kind).info;
  queued.error.ee_data = named ? report.last - settings.seldom->timestamp_base : 0;
  // The packet that was sent is not kept: what Linux would give back of it is cut to nothing.
  if ((settings.seldom->timestamping & SOF_TIMESTAMPING_OPT_TSONLY) == 0) message.msg_flags |= MSG_TRUNC;
  Ancillary ancillary(message);
  if ((settings.seldom->timestamping & SOF_TIMESTAMPING_SOFTWARE) != 0) {
    const std::array<timespec, 3> times{to_timespec(report.at, clock_offset)};  // software, and two of hardware
    ancillary.put(SOL_SOCKET, SCM_TIMESTAMPING, times);
  }
  ancillary.put(IPPROTO_IP, IP_RECVERR, queued);
}

in_addr to_in_addr(const ip::Address& address) {
  return {htonl(address.v4().value)};
}

// Where it came in, what it was sent to, and from which address of ours to answer.
in_pktinfo packet_info_of(const ip::Ip& ip, const socket::Received& received) {
  const ip::Address& to = received.destination.address;
  in_pktinfo info{};
  info.ipi_ifindex = received.interface;
  info.ipi_addr = to_in_addr(to);
  info.ipi_spec_dst = to_in_addr(ip.is_local(to) ? to : ip.address_of(received.interface));
  return info;
}

Status read_packet_info(const cmsghdr& control, const ip::Ip& ip, ip::Choices& choices) {
  in_pktinfo info{};
  if (control.cmsg_len != CMSG_LEN(sizeof info)) return fail(Errno::kInvalid);
  memcpy(&info, CMSG_DATA(&control), sizeof info);
  const auto interface = interface_number(ip, info.ipi_ifindex);
  if (!interface) return fail(interface.error());
  choices.interface = *interface;
  choices.source = wire::Ipv4Address{ntohl(info.ipi_spec_dst.s_addr)};
  return {};
}

// Of one byte (IP_TOS only) or an int, from `least` to 255.
Result<int> read_octet(const cmsghdr& control, int least) {
  int number = 0;
  if (control.cmsg_len == CMSG_LEN(1) && control.cmsg_type == IP_TOS) return *CMSG_DATA(&control);
  if (control.cmsg_len != CMSG_LEN(sizeof number)) return fail(Errno::kInvalid);
  memcpy(&number, CMSG_DATA(&control), sizeof number);
  return number >= least && number <= UINT8_MAX ? Result<int>(number) : fail(Errno::kInvalid);
}

Status read_choice(const cmsghdr& control, const ip::Ip& ip, ip::Choices& choices) {
  if (control.cmsg_type == IP_PKTINFO) return read_packet_info(control, ip, choices);
  if (control.cmsg_type != IP_TTL && control.cmsg_type != IP_TOS) return fail(Errno::kInvalid);
  const auto number = read_octet(control, control.cmsg_type == IP_TTL ? 1 : 0);
  if (!number) return fail(number.error());
  if (control.cmsg_type == IP_TTL) {
    choices.ttl = static_cast<std::uint8_t>(*number);
  } else {
    choices.tos = *number;
  }
  return {};
}

}  // namespace

Ancillary::Ancillary(msghdr& message)
    : message_(message), room_(message.msg_control != nullptr ? message.msg_controllen : 0) {}

void Ancillary::put(int level, int type, const void* data, std::size_t size) {
  const std::size_t left = room_ - used_;
  if (left < CMSG_LEN(size)) message_.msg_flags |= MSG_CTRUNC;
  if (left < sizeof(cmsghdr)) return;
  cmsghdr header{};
  header.cmsg_level = level;
  header.cmsg_type = type;
  header.cmsg_len = std::min<std::size_t>(CMSG_LEN(size), left);
  const std::size_t space = std::min<std::size_t>(CMSG_SPACE(size), left);
  auto* at = static_cast<std::uint8_t*>(message_.msg_control) + used_;
  memset(at, 0, space);
  memcpy(at, &header, sizeof header);
  memcpy(at + CMSG_LEN(0), data, header.cmsg_len - CMSG_LEN(0));
  used_ += space;
}

void store_facts(const SocketRef& socket, const socket::Received& received, Duration clock_offset,
                 Ancillary& ancillary) {
  const std::uint8_t told = socket.settings.told;
  const timespec at = to_timespec(received.at, clock_offset);
  const timeval coarse{at.tv_sec, at.tv_nsec / 1000};
  if ((told & kTellTime) != 0) ancillary.put(SOL_SOCKET, SCM_TIMESTAMP, coarse);
  if ((told & kTellPreciseTime) != 0) ancillary.put(SOL_SOCKET, SCM_TIMESTAMPNS, at);
  if ((told & kTellDropped) != 0 && received.dropped > 0) {
    ancillary.put(SOL_SOCKET, SO_RXQ_OVFL, received.dropped);
  }
  if (received.segment > 0) ancillary.put(IPPROTO_UDP, UDP_GRO, int{received.segment});
  if ((told & kTellPacketInfo) != 0)
    ancillary.put(IPPROTO_IP, IP_PKTINFO, packet_info_of(socket.sockets.ip(), received));
  if ((told & kTellTtl) != 0) ancillary.put(IPPROTO_IP, IP_TTL, int{received.ttl});
  if ((told & kTellTos) != 0) ancillary.put(IPPROTO_IP, IP_TOS, received.tos);
}

void store_error(const SocketRef& socket, const socket::ReceivedError& error, msghdr& message) {
  const bool reported = error.origin == socket::ReceivedError::Origin::kIcmp;
  QueuedError queued{};
  queued.error.ee_errno = static_cast<std::uint32_t>(error.error);
  queued.error.ee_origin = reported ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_LOCAL;
  queued.error.ee_type = error.type;
  queued.error.ee_code = error.code;
  queued.error.ee_info = error.mtu;
  Ancillary ancillary(message);
  if (reported) {
    queued.offender.sin_family = AF_INET;
    queued.offender.sin_addr = to_in_addr(error.reporter);
    const std::uint8_t told = socket.settings.told;
    if ((told & kTellTtl) != 0) ancillary.put(IPPROTO_IP, IP_TTL, int{error.ttl});
    if ((told & kTellTos) != 0) ancillary.put(IPPROTO_IP, IP_TOS, error.tos);
  }
  ancillary.put(IPPROTO_IP, IP_RECVERR, queued);
}

Result<ip::Choices> choices_of(const msghdr& message, const ip::Ip& ip) {
  ip::Choices choices;
  msghdr readable = message;
  const auto* end = static_cast<const char*>(message.msg_control) + message.msg_controllen;
  for (cmsghdr* c = CMSG_FIRSTHDR(&readable); c != nullptr; c = CMSG_NXTHDR(&readable, c)) {
    const auto left = static_cast<std::size_t>(end - reinterpret_cast<const char*>(c));
    if (c->cmsg_len < sizeof(cmsghdr) || c->cmsg_len > left) return fail(Errno::kInvalid);
    if (c->cmsg_level == IPPROTO_UDP) {
      std::uint16_t segment = 0;
      if (c->cmsg_type != UDP_SEGMENT || c->cmsg_len != CMSG_LEN(sizeof segment)) return fail(Errno::kInvalid);
      memcpy(&segment, CMSG_DATA(c), sizeof segment);
      choices.segment = segment;
    }
    if (c->cmsg_level != IPPROTO_IP) continue;
    if (const Status read = read_choice(*c, ip, choices); !read) return fail(read.error());
  }
  return choices;
}

void ask_for_reports(const SocketRef& socket, int flags, std::size_t sent) {
  if (sent == 0) return;
  if ((flags & MSG_ZEROCOPY) != 0) socket.sockets.report_copied(socket.handle);
  if ((socket.settings.seldom->timestamping & kAnyStage) != 0) socket.sockets.report_progress(socket.handle);
}

int set_timestamping(const SocketRef& socket, const void* value, socklen_t length) {
  constexpr std::uint32_t kKnown = kAnyStage | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                                   SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_CMSG;
  std::uint32_t flags = 0;
  if (length < sizeof flags) return set_errno(Errno::kInvalid);
  memcpy(&flags, value, sizeof flags);
  if ((flags & ~kKnown) != 0) return set_errno(Errno::kInvalid);
  const bool counted = (socket.settings.seldom->timestamping & SOF_TIMESTAMPING_OPT_ID) != 0;
  if ((flags & SOF_TIMESTAMPING_OPT_ID) != 0 && !counted)
    socket.settings.seldom.edit().timestamp_base = bytes_written(socket);
  socket.settings.seldom.edit().timestamping = flags;
  return 0;
}

ssize_t receive_report(const SocketRef& socket, Duration clock_offset, msghdr& message) {
  for (;;) {
    const auto report = socket.sockets.take_report(socket.handle);
    if (!report) return set_errno(report.error());
    const bool copied = report->kind == Report::Kind::kCopied;
    if (!copied && (socket.settings.seldom->timestamping & stage_of(report->kind).wanted) == 0) continue;
    message.msg_flags = MSG_ERRQUEUE;
    message.msg_namelen = 0;
    if (copied) {
      store_copied(*report, message);
    } else {
      store_progress(*report, socket.settings, clock_offset, message);
    }
    return 0;
  }
}

// As on Linux, an end of the stream that can be read counts as a byte.
void store_inq(const SocketRef& socket, Ancillary& ancillary) {
  if (!socket.settings.report_inq) return;
  int left = static_cast<int>(socket.sockets.readable_bytes(socket.handle).value_or(0));
  if (left == 0 && any(socket.sockets.ready(socket.handle) & socket::Ready::kReadHangup)) left = 1;
  ancillary.put(IPPROTO_TCP, TCP_CM_INQ, left);
}

}  // namespace sluice
