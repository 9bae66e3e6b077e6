// Options, flags and queries of a socket, in the system's types, and the calls of sluice/socket.h for them.
#include <errno.h>
#include <fcntl.h>
#include <linux/icmp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <optional>

#include "drivers/runtime/ancillary.h"
#include "drivers/runtime/impl.h"
#include "drivers/runtime/interface_requests.h"
#include "drivers/runtime/ip_options.h"
#include "drivers/runtime/system_types.h"
#include "drivers/runtime/tcp_info.h"
#include "stack/tcp/cc/registry.h"

namespace sluice {
namespace {

using socket::Option;

constexpr std::size_t kCongestionNameSize = 16;  // of what the kernel returns

struct OptionRow {
  int level;
  int name;
  Option option;
};
constexpr OptionRow kIntOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR, Option::kReuseAddress},
    {SOL_SOCKET, SO_REUSEPORT, Option::kReusePort},
    {SOL_SOCKET, SO_BROADCAST, Option::kBroadcast},
    {SOL_SOCKET, SO_KEEPALIVE, Option::kKeepAlive},
    {SOL_SOCKET, SO_OOBINLINE, Option::kUrgentInline},
    {SOL_SOCKET, SO_SNDBUF, Option::kSendBuffer},
    {SOL_SOCKET, SO_RCVBUF, Option::kReceiveBuffer},
    {SOL_SOCKET, SO_RCVLOWAT, Option::kReceiveLowWater},
    {SOL_SOCKET, SO_ERROR, Option::kError},
    {SOL_SOCKET, SO_ACCEPTCONN, Option::kAcceptConnection},
    {SOL_SOCKET, SO_MAX_PACING_RATE, Option::kMaxPacingRate},
    {SOL_SOCKET, SO_ZEROCOPY, Option::kZeroCopy},
    {IPPROTO_TCP, TCP_NODELAY, Option::kTcpNoDelay},
    {IPPROTO_TCP, TCP_CORK, Option::kTcpCork},
    {IPPROTO_TCP, TCP_QUICKACK, Option::kTcpQuickAck},
    {IPPROTO_TCP, TCP_MAXSEG, Option::kTcpMaxSegment},
    {IPPROTO_TCP, TCP_KEEPIDLE, Option::kTcpKeepIdle},
    {IPPROTO_TCP, TCP_KEEPINTVL, Option::kTcpKeepInterval},
    {IPPROTO_TCP, TCP_KEEPCNT, Option::kTcpKeepCount},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Option::kTcpUserTimeout},
    {IPPROTO_TCP, TCP_SYNCNT, Option::kTcpSynCount},
    {IPPROTO_TCP, TCP_LINGER2, Option::kTcpLinger2},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Option::kTcpDeferAccept},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, Option::kTcpNotsentLowWater},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, Option::kTcpWindowClamp},
    {IPPROTO_TCP, TCP_FASTOPEN, Option::kTcpFastOpen},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, Option::kTcpFastOpenConnect},
    {IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, Option::kTcpFastOpenNoCookie},
    {IPPROTO_IP, IP_TTL, Option::kIpTtl},
    {IPPROTO_IP, IP_TOS, Option::kIpTos},
    {IPPROTO_IP, IP_MTU_DISCOVER, Option::kIpMtuDiscover},
    {IPPROTO_IP, IP_MULTICAST_TTL, Option::kIpMulticastTtl},
    {IPPROTO_UDP, UDP_SEGMENT, Option::kUdpSegment},
    {IPPROTO_UDP, UDP_GRO, Option::kUdpJoined},
    {SOL_RAW, ICMP_FILTER, Option::kIcmpFilter},
    {IPPROTO_IP, IP_HDRINCL, Option::kIpHeaderIncluded},
    {IPPROTO_IP, IP_RECVERR, Option::kIpReceiveErrors},
    {IPPROTO_IP, IP_MTU, Option::kIpMtu},
    {IPPROTO_IP, IP_MULTICAST_LOOP, Option::kIpMulticastLoop},
    {IPPROTO_IP, IP_MULTICAST_ALL, Option::kIpMulticastAll},
};

std::optional<Option> int_option(int level, int name) {
  for (const OptionRow& row : kIntOptions) {
    if (row.level == level && row.name == name) return row.option;
  }
  return {};
}

socket::Type type_of(const SocketRef& socket) {
  return static_cast<socket::Type>(socket.sockets.get_option(socket.handle, Option::kType).value_or(0));
}

// Whether this kind of socket has options of the level at all.
bool has_level(const SocketRef& socket, int level) {
  if (level == SOL_SOCKET || (level == IPPROTO_IP && !is_packet(socket))) return true;
  const socket::Type type = type_of(socket);
  return (level == IPPROTO_TCP && type == socket::Type::kStream) ||
         (level == IPPROTO_UDP && type == socket::Type::kDatagram) || (level == SOL_RAW && type == socket::Type::kRaw);
}

// Options that say nothing to this kind of socket, or to this stack, and are remembered for who asks.
struct KeptRow {
  int name;  // of SOL_SOCKET
  enum class Value : std::uint8_t { kFlag, kNumber } value;
};
constexpr KeptRow kKeptOptions[] = {
    {SO_BROADCAST, KeptRow::Value::kFlag},  // of a stream
    {SO_DEBUG, KeptRow::Value::kFlag},
    {SO_KEEPALIVE, KeptRow::Value::kFlag},  // of others than streams, as the next
    {SO_OOBINLINE, KeptRow::Value::kFlag},
    {SO_PRIORITY, KeptRow::Value::kNumber},  // there is no queue with priorities
    {SO_MARK, KeptRow::Value::kNumber},      // and no filter that would ask for it
};

const KeptRow* kept_option(const SocketRef& socket, int level, int name) {
  const bool is_stream = type_of(socket) == socket::Type::kStream;
  const bool has_broadcasts = type_of(socket) == socket::Type::kDatagram || type_of(socket) == socket::Type::kRaw;
  if (level != SOL_SOCKET || (is_stream && (name == SO_KEEPALIVE || name == SO_OOBINLINE))) return nullptr;
  if (has_broadcasts && name == SO_BROADCAST) return nullptr;
  const auto row = std::ranges::find(kKeptOptions, name, &KeptRow::name);
  return row != std::end(kKeptOptions) ? row : nullptr;
}

int keep_option(SocketSettings& settings, const KeptRow& row, const void* value, socklen_t length) {
  int number = 0;
  if (length < sizeof number) return set_errno(Errno::kInvalid);
  memcpy(&number, value, sizeof number);
  if (row.value == KeptRow::Value::kFlag) number = number != 0 ? 1 : 0;
  auto& kept = settings.seldom.edit().kept;
  std::erase_if(kept, [&](const SocketSettings::Kept& k) { return k.name == row.name; });
  kept.push_back({row.name, number});
  return 0;
}

int kept_value(const SocketSettings& settings, const KeptRow& row) {
  const auto& kept = settings.seldom->kept;
  const auto at = std::ranges::find(kept, row.name, &SocketSettings::Kept::name);
  return at != kept.end() ? at->value : 0;
}

int set_timeout(Duration& timeout, const void* value, socklen_t length) {
  timeval t{};
  if (length < sizeof t) return set_errno(Errno::kInvalid);
  memcpy(&t, value, sizeof t);
  if (t.tv_sec < 0 || t.tv_usec < 0 || t.tv_usec >= 1'000'000) return errno = EDOM, -1;
  constexpr std::int64_t kLongest = 100L * 365 * 86400;  // longer ones are cut to it
  timeout = Duration::seconds(std::min<std::int64_t>(t.tv_sec, kLongest)) + Duration::micros(t.tv_usec);
  return 0;
}

// Of 0 and 1 only.
int set_strict_flag(bool& flag, const void* value, socklen_t length) {
  int number = 0;
  if (length < sizeof number) return set_errno(Errno::kInvalid);
  memcpy(&number, value, sizeof number);
  if (number != 0 && number != 1) return set_errno(Errno::kInvalid);
  flag = number != 0;
  return 0;
}

// What the peer has not acknowledged yet, or of it what was not sent yet.
Result<std::size_t> bytes_to_send(const SocketRef& socket, unsigned long request) {
  const auto info = socket.sockets.tcp_info(socket.handle);
  if (!info) return fail(info.error());
  if (info->state == tcp::State::kListen) return fail(Errno::kInvalid);
  return request == SIOCOUTQNSD ? std::size_t{info->unsent} : info->send_queued;
}

int store_value(const void* from, std::size_t size, void* value, socklen_t* length) {
  const std::size_t n = std::min<std::size_t>(size, *length);
  memcpy(value, from, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}

// TCP_FASTOPEN_KEY: one key, or two: the present one and the one before.
int set_fast_open_keys(const SocketRef& socket, const void* value, socklen_t length) {
  tcp::FastOpenKeys keys;
  if (length != sizeof(SipKey) && length != sizeof keys.key) return set_errno(Errno::kInvalid);
  memcpy(keys.key.data(), value, length);
  keys.count = static_cast<std::uint8_t>(length / sizeof(SipKey));
  return answer(socket.sockets.set_fast_open_keys(socket.handle, keys));
}

// TCP_MD5SIG: for an address; TCP_MD5SIG_EXT: also for a prefix. There are no interfaces that have keys of their own.
int set_md5_key(const SocketRef& socket, int name, const void* value, socklen_t length) {
  tcp_md5sig given{};
  if (length < sizeof given) return set_errno(Errno::kInvalid);
  memcpy(&given, value, sizeof given);
  sockaddr_in address{};
  memcpy(&address, &given.tcpm_addr, sizeof address);
  const bool has_prefix = name == TCP_MD5SIG_EXT && (given.tcpm_flags & TCP_MD5SIG_FLAG_PREFIX) != 0;
  constexpr unsigned kOfInterface = 2;  // TCP_MD5SIG_FLAG_IFINDEX
  const bool of_interface = name == TCP_MD5SIG_EXT && (given.tcpm_flags & kOfInterface) != 0 && given.__tcpm_pad != 0;
  if (address.sin_family != AF_INET || (has_prefix && given.tcpm_prefixlen > 32) || of_interface ||
      given.tcpm_keylen > tcp::Md5Key::kLongest) {
    return set_errno(Errno::kInvalid);
  }
  tcp::Md5Key key{{wire::Ipv4Address{ntohl(address.sin_addr.s_addr)}, std::uint8_t{32}}, {}};
  if (has_prefix) key.peers.length = given.tcpm_prefixlen;
  key.secret.assign(given.tcpm_key, given.tcpm_key + given.tcpm_keylen);
  return answer(socket.sockets.set_md5_key(socket.handle, key));
}

int store_fast_open_keys(const SocketRef& socket, void* value, socklen_t* length) {
  const auto keys = socket.sockets.fast_open_keys(socket.handle);
  return keys ? store_value(keys->key.data(), keys->count * sizeof(SipKey), value, length) : set_errno(keys.error());
}

// SO_MEMINFO: what is in the socket's buffers, and how large they may be; the kernel's other figures have no like here.
int store_memory(const SocketRef& socket, void* value, socklen_t* length) {
  enum : std::size_t {
    kReceived = 0,
    kReceiveBuffer = 1,
    kSending = 2,
    kSendBuffer = 3,
    kSendQueued = 5,
    kFigures = 9
  };
  const auto info = socket.sockets.tcp_info(socket.handle);
  if (!info) return set_errno(info.error());
  std::array<std::uint32_t, kFigures> figures{};
  figures[kReceived] = static_cast<std::uint32_t>(info->receive_queued);
  figures[kReceiveBuffer] = static_cast<std::uint32_t>(info->receive_buffer);
  figures[kSending] = info->flight;
  figures[kSendBuffer] = static_cast<std::uint32_t>(info->send_buffer);
  figures[kSendQueued] = static_cast<std::uint32_t>(info->send_queued);
  return store_value(figures.data(), sizeof figures, value, length);
}

// Options that only the calls know of, not the stack; nothing for others.
std::optional<int> setting_of(const SocketRef& socket, int level, int name) {
  if (level == IPPROTO_TCP && name == TCP_INQ) return socket.settings.report_inq ? 1 : 0;
  if (level == SOL_SOCKET && name == SO_TIMESTAMPING && type_of(socket) == socket::Type::kStream) {
    return static_cast<int>(socket.settings.seldom->timestamping);
  }
  return {};
}

// SO_DOMAIN, SO_TYPE and SO_PROTOCOL; nothing for other options.
std::optional<int> kind_of(const SocketRef& socket, int level, int name) {
  if (level != SOL_SOCKET) return {};
  const socket::Type type = type_of(socket);
  switch (name) {
    case SO_DOMAIN:
      return is_packet(socket) ? AF_PACKET : AF_INET;
    case SO_TYPE:
      return type == socket::Type::kStream                                 ? SOCK_STREAM
             : type == socket::Type::kRaw || type == socket::Type::kPacket ? SOCK_RAW
                                                                           : SOCK_DGRAM;
    case SO_PROTOCOL:
      if (const auto protocol = socket.sockets.get_option(socket.handle, Option::kProtocol)) {
        return static_cast<int>(*protocol);
      }
      return type == socket::Type::kStream ? IPPROTO_TCP : type == socket::Type::kDatagram ? IPPROTO_UDP : IPPROTO_ICMP;
    default:
      return {};
  }
}

}  // namespace

SocketSettings settings_of_accepted(const SocketSettings& listener, int flags) {
  SocketSettings s = listener;
  s.nonblocking = (flags & SOCK_NONBLOCK) != 0;
  s.close_on_exec = (flags & SOCK_CLOEXEC) != 0;
  const auto is_own = [](const SocketSettings::Kept& k) { return k.name == SO_PRIORITY; };
  if (std::ranges::any_of(s.seldom->kept, is_own)) std::erase_if(s.seldom.edit().kept, is_own);
  return s;
}

int set_socket_option(const SocketRef& socket, int level, int name, const void* value, socklen_t length) {
  if (!has_level(socket, level)) return set_errno(Errno::kNoProtocolOption);
  if (value == nullptr) return errno = EFAULT, -1;
  sluice::socket::Sockets& sockets = socket.sockets;
  if (level == SOL_SOCKET && name == SO_RCVTIMEO)
    return set_timeout(socket.settings.seldom.edit().receive_timeout, value, length);
  if (level == SOL_SOCKET && name == SO_SNDTIMEO)
    return set_timeout(socket.settings.seldom.edit().send_timeout, value, length);
  if (const KeptRow* row = kept_option(socket, level, name)) return keep_option(socket.settings, *row, value, length);
  if (level == SOL_SOCKET && name == SO_LINGER) {
    linger l{};
    if (length < sizeof l) return set_errno(Errno::kInvalid);
    memcpy(&l, value, sizeof l);
    return answer(sockets.set_option(socket.handle, Option::kLinger, l.l_onoff != 0 ? l.l_linger : -1));
  }
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    const std::string_view text(static_cast<const char*>(value), strnlen(static_cast<const char*>(value), length));
    const std::uint8_t index = tcp::cc::index_of(text);
    if (index == 0) return errno = ENOENT, -1;  // as on Linux
    return answer(sockets.set_option(socket.handle, Option::kTcpCongestion, index));
  }
  if (level == IPPROTO_TCP && name == TCP_FASTOPEN_KEY) return set_fast_open_keys(socket, value, length);
  if (level == IPPROTO_TCP && (name == TCP_MD5SIG || name == TCP_MD5SIG_EXT)) {
    return set_md5_key(socket, name, value, length);
  }
  if (const auto done = set_datagram_option(socket, level, name, value, length)) return *done;
  if (level == IPPROTO_TCP && name == TCP_INQ) return set_strict_flag(socket.settings.report_inq, value, length);
  if (level == SOL_SOCKET && name == SO_TIMESTAMPING && type_of(socket) == socket::Type::kStream) {
    return set_timestamping(socket, value, length);
  }
  if (level == SOL_SOCKET && name == SO_MAX_PACING_RATE && length >= sizeof(std::uint64_t)) {  // the wide form
    std::uint64_t rate = 0;
    memcpy(&rate, value, sizeof rate);
    const auto narrow = static_cast<std::int64_t>(std::min<std::uint64_t>(rate, UINT32_MAX));
    return answer(sockets.set_option(socket.handle, Option::kMaxPacingRate, narrow));
  }
  const auto option = int_option(level, name);
  if (!option || *option == Option::kError || *option == Option::kAcceptConnection || *option == Option::kIpMtu)
    return set_errno(Errno::kNoProtocolOption);
  int number = 0;
  if (level == IPPROTO_IP && length > 0 && length < sizeof number) {  // these may be given as one byte
    number = *static_cast<const unsigned char*>(value);
  } else if (length > 0 || (*option != Option::kIpReceiveErrors && *option != Option::kIpMtuDiscover)) {
    // for these two nothing is 0
    if (length < sizeof number) return set_errno(Errno::kInvalid);
    memcpy(&number, value, sizeof number);
  }
  return answer(sockets.set_option(socket.handle, *option, number));
}

int get_socket_option(const SocketRef& socket, int level, int name, void* value, socklen_t* length) {
  if (!has_level(socket, level)) return set_errno(is_packet(socket) ? Errno::kNoProtocolOption : Errno::kNotSupported);
  if (value == nullptr || length == nullptr) return errno = EFAULT, -1;
  sluice::socket::Sockets& sockets = socket.sockets;
  if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
    const std::int64_t us =
        (name == SO_RCVTIMEO ? socket.settings.seldom->receive_timeout : socket.settings.seldom->send_timeout)
            .to_micros();
    const timeval t{us / 1'000'000, us % 1'000'000};
    return store_value(&t, sizeof t, value, length);
  }
  if (level == SOL_SOCKET && name == SO_LINGER) {
    const auto seconds = sockets.get_option(socket.handle, Option::kLinger);
    if (!seconds) return set_errno(seconds.error());
    const linger l{*seconds >= 0, static_cast<int>(std::max<std::int64_t>(*seconds, 0))};
    return store_value(&l, sizeof l, value, length);
  }
  if (const auto done = get_datagram_option(socket, level, name, value, length)) return *done;
  if (const auto set = setting_of(socket, level, name)) return store_value(&*set, sizeof *set, value, length);
  if (const KeptRow* row = kept_option(socket, level, name)) {
    const int number = kept_value(socket.settings, *row);
    return store_value(&number, sizeof number, value, length);
  }
  if (const auto kind = kind_of(socket, level, name)) return store_value(&*kind, sizeof *kind, value, length);
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    const auto index = sockets.get_option(socket.handle, Option::kTcpCongestion);
    if (!index) return set_errno(index.error());
    std::array<char, kCongestionNameSize> text{};
    strncpy(text.data(), tcp::cc::name_at(static_cast<std::uint8_t>(*index)), text.size() - 1);
    return store_value(text.data(), text.size(), value, length);
  }
  if (level == IPPROTO_TCP && name == TCP_INFO) {
    const auto info = sockets.tcp_info(socket.handle);
    if (!info) return set_errno(info.error());
    const auto bytes = tcp_info_of(*info);
    return store_value(bytes.data(), bytes.size(), value, length);
  }
  if (level == IPPROTO_TCP && name == TCP_FASTOPEN_KEY) return store_fast_open_keys(socket, value, length);
  if (level == SOL_SOCKET && name == SO_MEMINFO) return store_memory(socket, value, length);
  if (level == IPPROTO_TCP && name == TCP_CC_INFO) return *length = 0, 0;  // no controller has a struct of its own
  const auto option = int_option(level, name);
  if (!option) return set_errno(Errno::kNoProtocolOption);
  const auto got = sockets.get_option(socket.handle, *option);
  if (!got) return set_errno(got.error());
  const int number = static_cast<int>(*got);
  if (level == IPPROTO_IP && *length > 0 && *length < sizeof number && number >= 0 && number <= 255) {
    const auto octet = static_cast<std::uint8_t>(number);  // these may be asked for as one byte
    return store_value(&octet, sizeof octet, value, length);
  }
  return store_value(&number, sizeof number, value, length);
}

int control_descriptor(SocketSettings& settings, int command, long argument) {
  if (command == F_GETFL) return O_RDWR | (settings.nonblocking ? O_NONBLOCK : 0);
  if (command == F_GETFD) return settings.close_on_exec ? FD_CLOEXEC : 0;
  if (command == F_SETFD) return settings.close_on_exec = (argument & FD_CLOEXEC) != 0, 0;
  if (command != F_SETFL) return set_errno(Errno::kInvalid);
  settings.nonblocking = (argument & O_NONBLOCK) != 0;
  return 0;
}

int control_device(const SocketRef& socket, unsigned long request, void* argument) {
  if (argument == nullptr && (request == FIONBIO || request == FIONREAD || request == SIOCATMARK))
    return set_errno(Errno::kFault);
  int number = 0;
  if (request == FIONBIO) {
    memcpy(&number, argument, sizeof number);
    socket.settings.nonblocking = number != 0;
    return 0;
  }
  if (request == SIOCATMARK) {
    const auto at_mark = socket.sockets.get_option(socket.handle, Option::kAtMark);
    if (!at_mark) return errno = ENOTTY, -1;
    number = static_cast<int>(*at_mark);
    memcpy(argument, &number, sizeof number);
    return 0;
  }
  if (request != FIONREAD && request != TIOCOUTQ && request != SIOCOUTQNSD) return errno = ENOTTY, -1;
  const auto bytes =
      request == FIONREAD ? socket.sockets.readable_bytes(socket.handle) : bytes_to_send(socket, request);
  if (!bytes) return set_errno(bytes.error());
  number = static_cast<int>(*bytes);
  memcpy(argument, &number, sizeof number);
  return 0;
}

}  // namespace sluice

namespace {

sluice::SocketRef socket_of(const sluice::Call& call) {
  return {call.sockets(), call.handle(), call.settings()};
}

}  // namespace

int sl_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  const sluice::Call call(fd);
  if (!call) return call.refuse();
  const int done = sluice::set_socket_option(socket_of(call), level, name, value, length);
  call.runtime().after_call();
  return done;
}

int sl_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  const sluice::Call call(fd);
  if (!call) return call.refuse();
  return sluice::get_socket_option(socket_of(call), level, name, value, length);
}

int sl_fcntl(int fd, int command, long argument) {
  if (fd < SL_FD_BASE) return ::fcntl(fd, command, argument);
  const sluice::Call call(fd);
  if (!call) return call.refuse();
  return sluice::control_descriptor(call.settings(), command, argument);
}

int sl_ioctl(int fd, unsigned long request, void* argument) {
  if (fd < SL_FD_BASE) return ::ioctl(fd, request, argument);
  const sluice::Call call(fd);
  if (!call) return call.refuse();
  if (sluice::is_interface_request(request)) {
    return sluice::answer_interface_request(call.runtime().stack->ip(), request, argument);
  }
  return sluice::control_device(socket_of(call), request, argument);
}
