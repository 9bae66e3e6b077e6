// Counters of one stack: 64 bits each, never reset, one row a fact. Drops have their own table (drop.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"

// X(enumerator, "name in statistics")
#define SLUICE_COUNTERS(X)                             \
  X(kLinkRxFrames, "link.rx_frames")                   \
  X(kLinkRxBytes, "link.rx_bytes")                     \
  X(kLinkTxFrames, "link.tx_frames")                   \
  X(kLinkTxBytes, "link.tx_bytes")                     \
  X(kLinkSoftwareSegments, "link.software_segments")   \
  X(kLinkCoalesced, "link.coalesced")                  \
  X(kArpRequestsSent, "arp.requests_sent")             \
  X(kArpRepliesSent, "arp.replies_sent")               \
  X(kArpReceived, "arp.received")                      \
  X(kArpConflicts, "arp.conflicts")                    \
  X(kArpDefences, "arp.defences")                      \
  X(kIpReceived, "ip.received")                        \
  X(kIpDelivered, "ip.delivered")                      \
  X(kIpSent, "ip.sent")                                \
  X(kFragmentsReceived, "frag.received")               \
  X(kFragmentsReassembled, "frag.reassembled")         \
  X(kFragmentsSent, "frag.sent")                       \
  X(kIcmpReceived, "icmp.received")                    \
  X(kIcmpEchoReplies, "icmp.echo_replies_sent")        \
  X(kIcmpErrorsSent, "icmp.errors_sent")               \
  X(kPathMtuReduced, "ip.path_mtu_reduced")            \
  X(kUdpReceived, "udp.received")                      \
  X(kUdpSent, "udp.sent")                              \
  X(kUdpSentTogether, "udp.sent_together")             \
  X(kTcpSegmentsReceived, "tcp.segments_received")     \
  X(kTcpSegmentsSent, "tcp.segments_sent")             \
  X(kTcpBytesReceived, "tcp.bytes_received")           \
  X(kTcpBytesSent, "tcp.bytes_sent")                   \
  X(kTcpBytesCopied, "tcp.bytes_copied")               \
  X(kTcpActiveOpens, "tcp.active_opens")               \
  X(kTcpPassiveOpens, "tcp.passive_opens")             \
  X(kTcpSynCookiesSent, "tcp.syn_cookies_sent")        \
  X(kTcpSynCookiesTaken, "tcp.syn_cookies_taken")      \
  X(kTcpFastOpensSent, "tcp.fast_opens_sent")          \
  X(kTcpFastOpensFailed, "tcp.fast_opens_failed")      \
  X(kTcpFastOpensTaken, "tcp.fast_opens_taken")        \
  X(kTcpFastOpenCookies, "tcp.fast_open_cookies_sent") \
  X(kTcpFastOpenBad, "tcp.fast_open_cookies_bad")      \
  X(kTcpFastOpenFull, "tcp.fast_open_queue_full")      \
  X(kTcpRetransmits, "tcp.retransmits")                \
  X(kTcpFastRetransmits, "tcp.fast_retransmits")       \
  X(kTcpTimeouts, "tcp.timeouts")                      \
  X(kTcpTailProbes, "tcp.tail_probes")                 \
  X(kTcpMtuProbes, "tcp.mtu_probes")                   \
  X(kTcpMtuProbesLost, "tcp.mtu_probes_lost")          \
  X(kTcpBlackHoles, "tcp.mtu_black_holes")             \
  X(kTcpLostRetransmits, "tcp.lost_retransmits")       \
  X(kTcpUndos, "tcp.undos")                            \
  X(kTcpMarksReceived, "tcp.ce_marks_received")        \
  X(kTcpMarkReductions, "tcp.ce_mark_reductions")      \
  X(kTcpSpuriousTimeouts, "tcp.spurious_timeouts")     \
  X(kTcpDuplicatesReported, "tcp.duplicates_reported") \
  X(kTcpSackIgnored, "tcp.sack_blocks_ignored")        \
  X(kTcpReneged, "tcp.sack_reneged")                   \
  X(kTcpDuplicateAcks, "tcp.duplicate_acks_received")  \
  X(kTcpOutOfOrder, "tcp.out_of_order")                \
  X(kTcpChallengeAcks, "tcp.challenge_acks_sent")      \
  X(kTcpResetsSent, "tcp.resets_sent")                 \
  X(kTcpResetsReceived, "tcp.resets_received")         \
  X(kTcpZeroWindowProbes, "tcp.zero_window_probes")    \
  X(kTcpKeepAlives, "tcp.keep_alives_sent")            \
  X(kTcpFastPath, "tcp.fast_path")

namespace sluice {

enum class Counter : std::uint8_t {
#define X(enumerator, name) enumerator,
  SLUICE_COUNTERS(X)
#undef X
};

#define X(enumerator, name) +1
inline constexpr std::size_t kCounterCount = 0 SLUICE_COUNTERS(X);
#undef X

const char* name_of(Counter counter);

class Counters {
 public:
  void add(Counter c, std::uint64_t n = 1) { values_[static_cast<std::size_t>(c)] += n; }
  void add(Drop d) { ++drops_[static_cast<std::size_t>(d)]; }
  [[nodiscard]] std::uint64_t get(Counter c) const { return values_[static_cast<std::size_t>(c)]; }
  [[nodiscard]] std::uint64_t get(Drop d) const { return drops_[static_cast<std::size_t>(d)]; }

 private:
  std::array<std::uint64_t, kCounterCount> values_{};
  std::array<std::uint64_t, kDropCount> drops_{};
};

}  // namespace sluice
