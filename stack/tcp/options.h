// What can be chosen about TCP, per stack and per connection. Each mechanism that can be studied has its switch here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "stack/base/siphash.h"
#include "stack/base/time.h"
#include "stack/ip/types.h"

namespace sluice::tcp {

class Md5Keys;

enum class Switch : std::uint8_t { kOff, kOn };
enum class SynCookieUse : std::uint8_t { kNever, kWhenFull, kAlways };  // full: the SYN queue
// Congestion marks instead of losses: RFC 3168, or RFC 9768, which says how many marks came and falls back to the
// other.
enum class EcnUse : std::uint8_t { kOff, kClassic, kAccurate };
// When the path MTU is found out by probes (RFC 4821): once full segments seem to vanish; or from the beginning, with
// small segments until a probe has arrived.
enum class MtuProbing : std::uint8_t { kOff, kBlackHole, kAlways };

// Why two may have the same address and port.
struct PortSharing {
  Switch address = Switch::kOff;  // SO_REUSEADDR: beside connections, TIME-WAIT included, and others who do not listen
  Switch port = Switch::kOff;     // SO_REUSEPORT: those who listen share what comes
  bool operator==(const PortSharing&) const = default;
};

// What a server makes its Fast Open cookies with; the second is the one before, whose cookies are still taken.
struct FastOpenKeys {
  std::array<SipKey, 2> key{};
  std::uint8_t count = 0;  // 0: none was chosen
  bool operator==(const FastOpenKeys&) const = default;
};

// Chosen by socket option; a listener's are inherited. Every connection has them: the members stand by size.
struct ConnectionOptions {
  static constexpr std::uint32_t kUnlimited = UINT32_MAX;
  static constexpr std::int16_t kNoFinWait2 = -1;

  std::uint32_t send_buffer = 0;  // bytes; 0: TcpConfig's, and tuned
  std::uint32_t receive_buffer = 0;
  std::uint32_t max_segment = 0;   // 0: from the path; else a lower MSS, 88..65495 bytes
  std::uint32_t user_timeout = 0;  // ms; 0: TcpConfig's limits decide (RFC 9293 §3.8.3, RFC 5482)
  std::uint32_t notsent_low = 0;   // bytes that may wait unsent in the queue (TCP_NOTSENT_LOWAT); 0: TcpConfig's
  std::uint32_t window_clamp = kUnlimited;     // bytes: the largest window offered
  std::uint32_t max_pacing_rate = kUnlimited;  // bytes/s, > 0
  std::uint16_t keep_idle = 7200;              // s before the first probe (RFC9293-MUST-28)
  std::uint16_t keep_interval = 75;            // s
  std::uint16_t linger_time = 0;               // s
  std::int16_t fin_wait2_time = 0;             // s; 0: TcpConfig's; kNoFinWait2: close() ends the connection at once
  std::uint8_t keep_count = 9;                 // unanswered probes before ETIMEDOUT
  std::uint8_t syn_count = 0;                  // SYNs sent again; 0: as many as fit into TcpConfig's r2_syn
  std::uint8_t defer_accept = 0;  // of a listener: SYN-ACKs sent again while nothing but ACKs has come; 0: no deferring
  std::uint8_t ttl = 0;           // 0: the stack's default
  std::uint8_t tos = 0;
  ip::PathMtuUse path_mtu = ip::PathMtuUse::kWant;
  std::uint8_t congestion = 0;          // index into the table of tcp/cc/registry.h; 0: the stack's default
  Switch no_delay = Switch::kOff;       // on: no Nagle (RFC9293-MUST-17)
  Switch cork = Switch::kOff;           // on: only full segments
  Switch zero_copy = Switch::kOff;      // SO_ZEROCOPY: the user may ask to be told when its memory is free again
  Switch keep_alive = Switch::kOff;     // RFC 9293 §3.8.4: off by default
  Switch urgent_inline = Switch::kOff;  // SO_OOBINLINE: reading does not leave the urgent byte out (RFC6093-03)
  // RFC 7413, also off by default: connect() waits for the first data, if that may stand in the SYN; and no cookie is
  // needed for it, with a listener: asked for.
  Switch fast_open_connect = Switch::kOff;
  Switch fast_open_no_cookie = Switch::kOff;
  // SO_LINGER: off: close() returns and data is still delivered; on with 0: close() resets.
  Switch linger = Switch::kOff;
  std::shared_ptr<const Md5Keys> md5_keys;  // RFC 2385; null: none

  bool operator==(const ConnectionOptions&) const = default;
};

struct TcpConfig {
  Switch timestamps = Switch::kOn;      // RFC 7323 §3
  Switch window_scaling = Switch::kOn;  // RFC 7323 §2
  Switch sack = Switch::kOn;            // RFC 2018; without it RFC 6582, and none of those below
  Switch dsack = Switch::kOn;           // RFC 2883, of what we receive
  Switch rack = Switch::kOn;            // RFC 8985 §6; off: RFC 6675 decides what is lost
  Switch tail_probe = Switch::kOn;      // RFC 8985 §7
  Switch prr = Switch::kOn;             // RFC 9937
  Switch frto = Switch::kOn;            // RFC 5682
  Switch undo = Switch::kOn;            // of a reduction that D-SACKs or timestamps prove needless (RFC 3708, RFC 3522)
  Switch delayed_ack = Switch::kOn;
  Switch limited_transmit = Switch::kOn;   // RFC 3042
  Switch initial_window_10 = Switch::kOn;  // RFC 6928; off: RFC 5681 §3.1 (RFC6928-06)
  Switch idle_restart = Switch::kOn;       // RFC 5681 §4.1: a small window after silence
  Switch hystart = Switch::kOn;            // RFC 9406, where the controller can
  Switch slow_start_limit = Switch::kOn;   // an ACK adds 8 segments at most in slow start; off: all it acknowledges
  // The window grows by what an ACK acknowledges; off: by what it delivers, without what was SACKed before.
  Switch count_sacked = Switch::kOn;
  EcnUse ecn = EcnUse::kOff;             // what we ask for
  EcnUse ecn_answer = EcnUse::kClassic;  // and what we agree to when the peer asks
  // What a reduction halves: what was in flight; off: the window, as RFC 9438 §4.6 allows where windows that are not
  // used do not grow.
  Switch reduce_flight = Switch::kOn;
  Switch pacing = Switch::kOff;  // also for controllers that do not ask for it
  // RFC 5927 §7.2: when full segments have arrived already, a message that they are too large is believed only once
  // they do no longer.
  Switch doubt_path_mtu = Switch::kOn;
  Switch answer_unsent_ack =
      Switch::kOn;  // an ACK for what was never sent is answered with an ACK (RFC 9293 §3.10.7.4)
  // A burst is what the path takes in a millisecond at the present rate, and at most half of the window; off: as much
  // as the device cuts at once.
  Switch burst_sizing = Switch::kOff;
  // The send queue is filled in blocks as large as a burst may be and half of the peer's window at most. One that is
  // begun is filled, even beyond the buffer's size; no segment goes across an end of one. Off: byte by byte.
  Switch send_blocks = Switch::kOff;
  // What fills the send buffer. Off: bytes. On: memory, with what Linux spends on each transmission and block; then the
  // buffer grows only when it is what keeps the window from being filled, and the user is told of room in it only after
  // a call that found none.
  Switch count_memory = Switch::kOff;
  // Nagle's rule as Minshall has changed it, and Linux: a short end waits only while another short segment is
  // outstanding, not for full ones.
  Switch minshall = Switch::kOff;
  Switch require_timestamps = Switch::kOn;  // on every segment once agreed (RFC 7323 §3.2); off: it may lack them
  Switch probe_with_data = Switch::kOn;     // of a closed window; off: with an empty segment below it
  // RFC 7413. Data in a SYN is sent and taken only where the application asked for it, for a connection or a listener
  // (RFC7413-01, -09); these allow it for the stack.
  Switch fast_open_client = Switch::kOn;
  Switch fast_open_server = Switch::kOn;
  Switch fast_open_client_no_cookie = Switch::kOff;    // for closed networks: as if every server wanted no cookie,
  Switch fast_open_server_no_cookie = Switch::kOff;    // and the server wants none
  Switch fast_open_all_listeners = Switch::kOff;       // as if each listener had asked, with its backlog as limit
  SynCookieUse syn_cookies = SynCookieUse::kWhenFull;  // RFC 4987 §3.6
  MtuProbing mtu_probing = MtuProbing::kBlackHole;
  std::uint16_t mtu_base_mss = 1024;  // bytes of a segment that is taken to pass every path (RFC4821-05)
  // And of the smallest to fall back to. DEVIATION(RFC 4821 §7.7): packets of 68 bytes would get through links that are
  // not there any more, and after an outage with losses the window would be too small for a probe to come back.
  std::uint16_t mtu_floor_mss = 512;
  std::uint8_t congestion = 2;  // default controller, index into tcp/cc/registry.h; 2: cubic

  std::uint8_t unpaced_segments = 0;  // data segments at the beginning that pacing lets go at once
  std::uint8_t least_burst = 2;       // segments, where burst_sizing is on
  // Challenge ACKs (RFC 5961 §7) of a connection in an interval; of one half-open or in TIME-WAIT in all. UINT32_MAX:
  // no limit.
  std::uint32_t challenge_acks = 10;
  Duration challenge_interval = 5_s;
  std::uint8_t quick_acks = 8;                        // segments acknowledged at once when a connection begins
  Duration delayed_ack_time = 40_ms;                  // below 500 ms (RFC9293-MUST-40)
  Duration initial_rto = 1_s;                         // RFC 6298 §2.1
  Duration min_rto = 200_ms;                          // RFC 6298 §2.4 has 1 s; all hosts use less
  Duration max_rto = 60_s;                            // RFC 6298 §2.5: 60 s or more
  Duration rto_margin{};                              // the RTO is at least so much above SRTT, however steady the path
  Duration timer_slack{};                             // tail loss probes and reordering timers wait so much longer
  Duration msl = 30_s;                                // TIME-WAIT lasts twice this
  Duration fin_wait2_time = 60_s;                     // after close(), for a peer that never closes
  Duration fast_open_rest = Duration::seconds(3600);  // no data in SYNs after a black hole, the first time; 0: never
  // DEVIATION(RFC9293-TMO-04): data is given up after 15.4 minutes without progress, as on Linux, not after five.
  Duration r2 = 924_s;      // at least 100 s
  Duration r2_syn = 180_s;  // the same for SYN: 3 minutes at least (RFC9293-MUST-23)

  // Buffers, bytes. They begin with the first value and grow with what the path carries, up to the second. A tuning
  // that is off, or a size chosen for the connection, leaves one value. The window scale lets all of it be offered.
  Switch receive_tuning = Switch::kOn;
  Switch send_tuning = Switch::kOn;
  std::size_t receive_buffer = 256u << 10;
  std::size_t max_receive_buffer = 32u << 20;
  std::size_t send_buffer = 256u << 10;
  std::size_t max_send_buffer = 16u << 20;
  std::uint32_t notsent_low = ConnectionOptions::kUnlimited;  // bytes that may wait unsent in a queue
  FastOpenKeys fast_open_keys{};                              // none: drawn, and changed from time to time
  std::size_t max_connections = 262144;                       // TIME-WAIT included
  std::size_t max_syn_queue = 1024;                           // half-open connections of one listener
  std::uint16_t port_first = 1024;                            // ephemeral range: all that is not reserved (RFC6056-02)
  std::uint16_t port_last = 65535;
};

inline std::uint32_t notsent_limit(const ConnectionOptions& o, const TcpConfig& c) {
  return o.notsent_low != 0 ? o.notsent_low : c.notsent_low;
}

// Between which sizes a buffer moves, bytes; first <= most.
struct BufferRange {
  std::size_t first = 0;
  std::size_t most = 0;
};
// Of a size in bytes, for what every connection keeps: no window is larger than 1 GiB (RFC 7323 §2.3).
constexpr std::uint32_t to_32_bits(std::size_t bytes) {
  return bytes < UINT32_MAX ? static_cast<std::uint32_t>(bytes) : UINT32_MAX;
}
inline BufferRange receive_range(const ConnectionOptions& o, const TcpConfig& c) {
  if (o.receive_buffer != 0) return {o.receive_buffer, o.receive_buffer};
  const bool tuned = c.receive_tuning == Switch::kOn && c.max_receive_buffer > c.receive_buffer;
  return {c.receive_buffer, tuned ? c.max_receive_buffer : c.receive_buffer};
}
inline BufferRange send_range(const ConnectionOptions& o, const TcpConfig& c) {
  if (o.send_buffer != 0) return {o.send_buffer, o.send_buffer};
  const bool tuned = c.send_tuning == Switch::kOn && c.max_send_buffer > c.send_buffer;
  return {c.send_buffer, tuned ? c.max_send_buffer : c.send_buffer};
}

}  // namespace sluice::tcp
