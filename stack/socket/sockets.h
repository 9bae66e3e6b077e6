// The BSD-like socket layer, non-blocking inside: handles, options, readiness, errno values as Linux gives them.
// The runtime adds blocking, system types and descriptors on top (sluice/socket.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/ip/error_queue.h"
#include "stack/ip/ip.h"
#include "stack/tcp/md5_keys.h"
#include "stack/tcp/tcp.h"
#include "stack/udp/udp.h"

namespace sluice::socket {

using ip::Address;
using ip::Endpoint;
using ip::Family;
using ip::ReceivedError;

using Handle = std::int32_t;  // >= 0, the lowest free number

enum class Type : std::uint8_t { kStream, kDatagram, kIcmpEcho, kRaw, kPacket, kPacketPayload };

// What a socket is ready for; a set of bits, as poll(2) reports them.
enum class Ready : std::uint8_t {
  kNone = 0,
  kIn = 1,           // data, end of stream, or a connection to accept
  kOut = 2,          // send space, or the connect has ended
  kError = 4,        // SO_ERROR is set
  kHangup = 8,       // both directions are over
  kReadHangup = 16,  // the peer has closed its side
  kUrgent = 32,      // there is an urgent byte
};
constexpr Ready operator|(Ready a, Ready b) {
  return static_cast<Ready>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr Ready operator&(Ready a, Ready b) {
  return static_cast<Ready>(static_cast<std::uint8_t>(a) & static_cast<std::uint8_t>(b));
}
constexpr bool any(Ready r) {
  return r != Ready::kNone;
}

// Told that the readiness of a socket may have changed. Called from within poll() or a call; must not call back.
class ReadyObserver {
 public:
  virtual ~ReadyObserver() = default;
  virtual void on_ready(Handle handle) = 0;
};

enum class Option : std::uint8_t {  // value and unit
  kReuseAddress,                    // 0/1
  kReusePort,                       // 0/1
  kBroadcast,                       // 0/1
  kKeepAlive,                       // 0/1
  kLinger,                          // -1 off, else seconds
  kUrgentInline,                    // 0/1
  kAtMark,                          // get only: 0/1
  kSendBuffer,                      // bytes
  kReceiveBuffer,                   // bytes
  kReceiveLowWater,                 // bytes from which on a stream has something to read
  kError,                           // get only; clears
  kProtocol,                        // get only: its number; raw sockets
  kType,                            // get only: Type
  kAcceptConnection,                // get only: 0/1
  kTcpNoDelay,                      // 0/1
  kTcpCork,                         // 0/1
  kTcpQuickAck,                     // 0/1
  kTcpMaxSegment,                   // bytes
  kTcpKeepIdle,                     // seconds
  kTcpKeepInterval,                 // seconds
  kTcpKeepCount,
  kTcpUserTimeout,  // milliseconds
  kTcpSynCount,
  kTcpLinger2,            // seconds; -1: no FIN-WAIT-2
  kTcpDeferAccept,        // seconds
  kTcpNotsentLowWater,    // bytes
  kTcpWindowClamp,        // bytes
  kZeroCopy,              // 0/1
  kMaxPacingRate,         // bytes/s, > 0; UINT32_MAX, which is also -1: no limit
  kTcpCongestion,         // index into tcp/cc/registry.h
  kTcpFastOpen,           // connections whose data came with their SYN, handshake incomplete; of a listener
  kTcpFastOpenConnect,    // 0/1
  kTcpFastOpenNoCookie,   // 0/1
  kIpTtl,                 // 1..255, -1: default
  kIpTos,                 // 0..255
  kIpMtuDiscover,         // ip::PathMtuUse
  kIpMulticastTtl,        // 0..255, -1: 1
  kIpMulticastLoop,       // 0/1
  kIpMulticastAll,        // 0/1
  kUdpSegment,            // bytes of each datagram that a large one is cut into; 0: it is not cut
  kUdpJoined,             // 0/1: datagrams that the device has joined are received as one
  kIpHeaderIncluded,      // 0/1; raw sockets
  kIcmpFilter,            // bits: types that are not wanted; raw sockets
  kIpReceiveErrors,       // 0/1; not of streams
  kIpMtu,                 // get only: bytes; not of streams
  kIpMulticastInterface,  // ip::InterfaceId; 0: the stack's choice
};

enum class Shutdown : std::uint8_t { kRead, kWrite, kBoth };

// Flags of send and receive; a set of bits.
struct SendFlags {
  bool more = false;                     // MSG_MORE
  bool end_of_record = false;            // MSG_EOR: on a stream, what follows shares no segment with it
  bool urgent = false;                   // MSG_OOB: the last byte is
  bool fast_open = false;                // MSG_FASTOPEN: a stream without a connection gets one
  const ip::LinkName* link = nullptr;    // where a packet socket sends to; null: as it is bound
  const ip::Choices* choices = nullptr;  // for this datagram; null: none
};
struct ReceiveFlags {
  bool peek = false;    // MSG_PEEK
  bool trunc = false;   // MSG_TRUNC: return the datagram's real size
  bool urgent = false;  // MSG_OOB: the urgent byte, apart from the stream
};

struct Received {
  std::size_t size = 0;    // bytes copied, or the datagram's size with trunc
  bool truncated = false;  // the datagram was larger than the buffer
  bool urgent = false;     // it is the urgent byte
  Endpoint source{};       // datagram sockets
  Endpoint destination{};
  ip::InterfaceId interface = ip::kNoInterface;
  std::uint8_t ttl = 0;
  std::uint8_t tos = 0;
  Instant at{};               // when it came
  std::uint32_t dropped = 0;  // datagrams of this socket, for want of room
  ip::LinkName link{};        // of a frame
  std::uint16_t segment = 0;  // > 0: several datagrams of this size, the last perhaps shorter
};

// Received bytes in the stack's own memory; the view is what there is to read.
struct Lent {
  buf::Buffer block{};  // empty: the end of the stream
  Endpoint source{};    // datagram sockets
};

// What became of data that was given to a stream, for MSG_ERRQUEUE.
struct Report {
  enum class Kind : std::uint8_t {
    kCopied,        // calls with MSG_ZEROCOPY: the data was copied, and the caller's memory is free again
    kQueued,        // a byte has left the send queue,
    kSent,          // was handed to the device,
    kAcknowledged,  // and has arrived
  };
  Kind kind = Kind::kCopied;
  std::uint32_t first = 0, last = 0;  // calls, counted from 0; or both: the byte's offset in the stream, modulo 2^32
  Instant at{};
};

class Sockets {
 public:
  Sockets(Context& context, ip::Ip& ip, udp::Udp& udp, tcp::Tcp& tcp);
  ~Sockets();
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  // Every call: kBadFile when the handle is not open. Others as on the Linux man page of the call.
  Result<Handle> open(Family family, Type type, std::uint16_t protocol = 0);  // kTooManyFiles
  Status bind(Handle handle, const Endpoint& local);
  Status bind_link(Handle handle, const ip::LinkName& name);  // packet sockets; others kInvalid
  Result<ip::LinkName> link_name(Handle handle) const;
  Status listen(Handle handle, int backlog);
  Result<Handle> accept(Handle handle, Endpoint* peer);  // kAgain
  Status connect(Handle handle, const Endpoint& peer);   // stream: kInProgress first
  Status disconnect(Handle handle);                      // datagram: AF_UNSPEC connect
  // With fast_open, and the first after a connect() that waited for data: how much went with the SYN, or kInProgress.
  Result<std::size_t> send(Handle handle, std::span<const Bytes> pieces, const Endpoint* destination,
                           SendFlags flags = {});
  Result<Received> receive(Handle handle, std::span<const MutableBytes> pieces, ReceiveFlags flags = {});
  // Without a copy, see tcp::ConnectionHandle. What is lent is the caller's, also beyond close(); give_back() tells
  // that it was freed, and does nothing when the handle is not open.
  Result<Lent> lend(Handle handle);  // streams and datagrams; others kNotSupported
  void give_back(Handle handle, std::size_t bytes);
  Status send(Handle handle, buf::Buffer& block, SendFlags flags);  // streams; others kNotSupported
  Result<ReceivedError> take_error(Handle handle);                  // of those kept for kIpReceiveErrors; kAgain: none
  // Datagram sockets; others kNoProtocolOption. See udp::Port.
  Status join_group(Handle handle, const ip::Membership& membership);
  Status leave_group(Handle handle, const ip::Membership& membership);
  [[nodiscard]] bool in_handshake(Handle handle) const;  // what connect() or a first send() began is not over
  // After a call that gave data to a stream: it is to be reported that it was copied, if kZeroCopy is set; that its
  // last byte is sent and acknowledged. Others have no reports.
  void report_copied(Handle handle);
  void report_progress(Handle handle);
  Result<Report> take_report(Handle handle);  // the oldest; kAgain: none
  Status shutdown(Handle handle, Shutdown how);
  Status close(Handle handle);
  Result<Endpoint> local_name(Handle handle) const;
  Result<Endpoint> peer_name(Handle handle) const;
  Status set_option(Handle handle, Option option, std::int64_t value);
  Result<std::int64_t> get_option(Handle handle, Option option);
  Status set_fast_open_keys(Handle handle, const tcp::FastOpenKeys& keys);  // of a listener; streams only
  Result<tcp::FastOpenKeys> fast_open_keys(Handle handle) const;            // those that count for it
  // TCP_MD5SIG, streams only: an empty secret takes the key for this prefix away, kNoSuchFile when there is none.
  Status set_md5_key(Handle handle, const tcp::Md5Key& key);
  [[nodiscard]] const ip::Ip& ip() const;
  [[nodiscard]] Ready ready(Handle handle) const;  // kNone when the handle is not open
  // A receive would give so many bytes at least, or less that nothing more is to be added to: datagrams, the bytes
  // before the urgent mark or the end, an error.
  [[nodiscard]] bool receives(Handle handle, std::size_t least) const;
  [[nodiscard]] Result<std::size_t> readable_bytes(Handle handle) const;  // FIONREAD
  [[nodiscard]] Result<tcp::Info> tcp_info(Handle handle) const;
  Status set_observer(Handle handle, ReadyObserver* observer);  // null: none
  [[nodiscard]] ReadyObserver* observer(Handle handle) const;   // null: none, or the handle is not open

  struct Impl;

 private:
  Impl* impl_;
};

}  // namespace sluice::socket
