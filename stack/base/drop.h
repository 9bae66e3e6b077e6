// Why a packet went no further. One list: a reason, its name in the counters, and what it means. Each drop is
// counted once, under one reason (RFC1122-IP-04), by whoever drops it.
#pragma once

#include <cstddef>
#include <cstdint>

// X(enumerator, "name in statistics", "what it means")
#define SLUICE_DROP_REASONS(X)                                                                          \
  X(kDeviceTruncated, "device.truncated", "the device or capture holds fewer bytes than the frame had") \
  X(kDeviceOffload, "device.bad_offload", "offload metadata points outside the frame")                  \
  X(kDeviceFull, "device.tx_full", "the device took no more frames")                                    \
  X(kLinkDown, "link.down", "the link is switched off: nothing goes out or comes in")                   \
  X(kBufferExhausted, "buffer.exhausted", "no packet buffer left")                                      \
  X(kEthRunt, "eth.runt", "shorter than the smallest Ethernet frame")                                   \
  X(kEthGiant, "eth.giant", "longer than the MTU allows")                                               \
  X(kEthFcs, "eth.bad_fcs", "frame check sequence does not match")                                      \
  X(kEthSource, "eth.bad_source", "source is a group address or our own")                               \
  X(kEthNotForUs, "eth.not_for_us", "unicast to another station, or a group not joined")                \
  X(kEthType, "eth.unknown_type", "EtherType nobody handles")                                           \
  X(kEthLength, "eth.bad_length", "802.3 length field invalid or beyond the frame")                     \
  X(kEthVlan, "eth.vlan", "VLAN tag unexpected, foreign, nested or cut short")                          \
  X(kArpMalformed, "arp.malformed", "short, or wrong hardware or protocol type or length")              \
  X(kArpSender, "arp.bad_sender", "sender address is not a unicast host")                               \
  X(kArpIgnored, "arp.ignored", "not for us, and no entry to refresh")                                  \
  X(kArpHold, "arp.hold", "entry changed too recently to be changed again, or is permanent")            \
  X(kArpUnresolved, "arp.unresolved", "next hop did not answer")                                        \
  X(kArpQueueFull, "arp.queue_full", "too many packets wait for this next hop")                         \
  X(kArpCacheFull, "arp.cache_full", "no neighbour entry could be freed")                               \
  X(kIpTruncated, "ip.truncated", "shorter than its own header or total length says")                   \
  X(kIpVersion, "ip.bad_version", "version field is neither 4 nor 6")                                   \
  X(kIpHeaderLength, "ip.bad_header_length", "header length below 5 words or past the packet")          \
  X(kIpChecksum, "ip.bad_checksum", "header checksum does not match")                                   \
  X(kIpOptions, "ip.bad_options", "options malformed, or source routed")                                \
  X(kIpSource, "ip.bad_source", "martian source address")                                               \
  X(kIpDestination, "ip.bad_destination", "destination that cannot arrive on this interface")           \
  X(kIpNotForUs, "ip.not_for_us", "destination is no address of this host")                             \
  X(kIpLinkCast, "ip.unicast_in_broadcast", "unicast datagram in a link-layer broadcast")               \
  X(kIpProtocol, "ip.unknown_protocol", "no transport for this protocol number")                        \
  X(kIpNoRoute, "ip.no_route", "no route to the destination")                                           \
  X(kIpTooBig, "ip.too_big", "does not fit the MTU and must not be fragmented")                         \
  X(kIpv6Unsupported, "ip6.unsupported", "IPv6 is not configured on this interface")                    \
  X(kFragMalformed, "frag.malformed", "fragment empty, misaligned or ending past 65535")                \
  X(kFragOverlap, "frag.overlap", "fragments overlap with different extent or bytes")                   \
  X(kFragDuplicate, "frag.duplicate", "fragment already held")                                          \
  X(kFragTimeout, "frag.timeout", "datagram not complete in time")                                      \
  X(kFragLimit, "frag.limit", "evicted, or refused, to keep reassembly in its bounds")                  \
  X(kIcmpMalformed, "icmp.malformed", "message shorter than its type requires")                         \
  X(kIcmpChecksum, "icmp.bad_checksum", "checksum does not match")                                      \
  X(kIcmpIgnored, "icmp.ignored", "type or code that a host does not act on")                           \
  X(kIcmpQuote, "icmp.bad_quote", "quoted packet cut short or not one of ours")                         \
  X(kIcmpRateLimited, "icmp.rate_limited", "error or reply held back by the rate limit")                \
  X(kIcmpForbidden, "icmp.forbidden", "a case in which no error may be sent")                           \
  X(kIgmpMalformed, "igmp.malformed", "message shorter than 8 bytes")                                   \
  X(kIgmpChecksum, "igmp.bad_checksum", "checksum does not match")                                      \
  X(kRawQueueFull, "raw.queue_full", "receive queue of a raw socket is full")                           \
  X(kPacketQueueFull, "packet.queue_full", "receive queue of a packet socket is full")                  \
  X(kUdpMalformed, "udp.malformed", "length below 8 or beyond the IP payload, or port 0")               \
  X(kUdpChecksum, "udp.bad_checksum", "checksum does not match")                                        \
  X(kUdpNoPort, "udp.no_port", "nobody listens on this port")                                           \
  X(kUdpQueueFull, "udp.queue_full", "receive queue of the socket is full")                             \
  X(kTcpMalformed, "tcp.malformed", "data offset invalid or segment shorter than its header")           \
  X(kTcpChecksum, "tcp.bad_checksum", "checksum does not match")                                        \
  X(kTcpOptions, "tcp.bad_options", "option length 0, 1 or past the header")                            \
  X(kTcpCast, "tcp.not_unicast", "to or from a broadcast or multicast address")                         \
  X(kTcpNoPort, "tcp.no_port", "no connection and no listener")                                         \
  X(kTcpSequence, "tcp.out_of_window", "sequence number outside the receive window")                    \
  X(kTcpUnsigned, "tcp.md5_missing", "there is a key for the peer, and no signature")                   \
  X(kTcpSignature, "tcp.md5_wrong", "signature that does not go with the key")                          \
  X(kTcpSigned, "tcp.md5_unexpected", "a signature, and no key for the peer")                           \
  X(kTcpPaws, "tcp.paws", "timestamp older than the last one accepted")                                 \
  X(kTcpNoTimestamp, "tcp.no_timestamp", "negotiated timestamp option is missing")                      \
  X(kTcpRst, "tcp.bad_rst", "RST whose sequence number is not the next expected")                       \
  X(kTcpSyn, "tcp.bad_syn", "SYN on a synchronised connection")                                         \
  X(kTcpAck, "tcp.bad_ack", "acknowledgement of something never sent, or too old")                      \
  X(kTcpNoAck, "tcp.no_ack", "no ACK bit on a synchronised connection")                                 \
  X(kTcpState, "tcp.state", "not meaningful in this state")                                             \
  X(kTcpDuplicate, "tcp.duplicate", "all of its data was received before")                              \
  X(kTcpAfterFin, "tcp.after_fin", "data beyond the end of the stream")                                 \
  X(kTcpReassemblyFull, "tcp.reassembly_full", "out-of-order queue is full")                            \
  X(kTcpSynQueueFull, "tcp.syn_queue_full", "too many half-open connections")                           \
  X(kTcpDeferred, "tcp.deferred", "ends a handshake, but data is waited for (TCP_DEFER_ACCEPT)")        \
  X(kTcpCookie, "tcp.bad_cookie", "acknowledges no SYN cookie of ours")                                 \
  X(kTcpAcceptQueueFull, "tcp.accept_queue_full", "accept queue is full")                               \
  X(kTcpTableFull, "tcp.table_full", "connection table is full")

namespace sluice {

enum class Drop : std::uint8_t {
#define X(enumerator, name, meaning) enumerator,
  SLUICE_DROP_REASONS(X)
#undef X
};

#define X(enumerator, name, meaning) +1
inline constexpr std::size_t kDropCount = 0 SLUICE_DROP_REASONS(X);
#undef X

const char* name_of(Drop reason);     // "eth.bad_fcs"
const char* meaning_of(Drop reason);  // one line for people

}  // namespace sluice
