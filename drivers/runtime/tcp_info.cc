#include "drivers/runtime/tcp_info.h"

#include <linux/tcp.h>
#include <string.h>

#include <algorithm>

namespace sluice {
namespace {

constexpr std::size_t kOldSize = 232;  // of Linux 6.1, whose headers are old enough for every system that builds this
static_assert(sizeof(tcp_info) >= kOldSize);

struct Newer {  // what has come since, behind it
  std::uint32_t rcv_wnd;
  std::uint32_t rehash;
  std::uint16_t total_rto;
  std::uint16_t total_rto_recoveries;
  std::uint32_t total_rto_time;               // ms
  std::array<std::uint32_t, 8> accurate_ecn;  // RFC 9768
};
static_assert(kOldSize + sizeof(Newer) == kTcpInfoSize);

constexpr std::uint32_t kInfiniteThreshold = 0x7fffffff;  // segments
constexpr int kEcnSeen = 16;                              // TCPI_OPT_ECN_SEEN
constexpr std::uint32_t kReordering = 3;                  // duplicate ACKs that mean a loss

// Linux's numbers: include/net/tcp_states.h.
std::uint8_t number_of(tcp::State state) {
  constexpr std::array<std::uint8_t, 11> kNumbers = {7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6};
  return kNumbers[static_cast<std::size_t>(state)];
}

enum CaState : std::uint8_t { kOpen = 0, kDisorder = 1, kCwr = 2, kRecovery = 3, kLoss = 4 };
CaState congestion_state(const tcp::Info& i) {
  switch (i.phase) {
    case tcp::cc::Phase::kReducing:
      return kCwr;
    case tcp::cc::Phase::kRecovery:
      return kRecovery;
    case tcp::cc::Phase::kLoss:
      return kLoss;
    case tcp::cc::Phase::kOpen:
      break;
  }
  return i.sacked > 0 ? kDisorder : kOpen;
}

std::uint32_t segments(std::uint64_t bytes, std::uint32_t mss) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>((bytes + mss - 1) / mss, UINT32_MAX));
}

std::uint32_t micros(Duration d) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(d.to_micros(), 0, UINT32_MAX));
}
std::uint32_t millis(Duration d) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(d.to_millis(), 0, UINT32_MAX));
}

void put_path(tcp_info& t, const tcp::Info& i) {
  t.tcpi_rto = micros(i.rto);
  t.tcpi_ato = i.state == tcp::State::kListen ? 0 : 40'000;
  t.tcpi_rtt = micros(i.srtt);
  t.tcpi_rttvar = micros(i.rttvar);
  t.tcpi_min_rtt = i.min_rtt == Duration() ? UINT32_MAX : micros(i.min_rtt);
  t.tcpi_rcv_rtt = micros(i.receive_rtt);
  t.tcpi_pmtu = i.path_mtu;
  t.tcpi_advmss = i.advertised_mss;
  t.tcpi_reordering = std::max(kReordering, segments(i.reordering, std::max(i.send_mss, 1u)));
  t.tcpi_reord_seen = i.reordering_events;
}

void put_window(tcp_info& t, const tcp::Info& i) {
  const std::uint32_t mss = std::max(i.send_mss, 1u);
  t.tcpi_unacked = segments(i.flight, mss);
  t.tcpi_sacked = segments(i.sacked, mss);
  t.tcpi_lost = segments(i.lost + i.repaired, mss);  // Linux counts what was sent again until it is acknowledged
  t.tcpi_retrans = segments(i.retransmitted, mss);
  t.tcpi_snd_cwnd = i.cwnd / mss;
  t.tcpi_snd_ssthresh = i.ssthresh >= kInfiniteThreshold ? kInfiniteThreshold : i.ssthresh / mss;
  t.tcpi_snd_wnd = i.snd_wnd;
  t.tcpi_rcv_ssthresh = i.rcv_wnd;
  t.tcpi_rcv_space = static_cast<std::uint32_t>(i.receive_buffer);
  t.tcpi_notsent_bytes = i.unsent;
  t.tcpi_pacing_rate = i.pacing_rate != 0 ? i.pacing_rate : UINT64_MAX;
  t.tcpi_max_pacing_rate = i.max_pacing_rate != UINT32_MAX ? i.max_pacing_rate : UINT64_MAX;
  t.tcpi_delivery_rate = i.delivery_rate;
  t.tcpi_delivery_rate_app_limited = i.delivery_app_limited ? 1 : 0;
}

void put_counts(tcp_info& t, const tcp::Info& i) {
  t.tcpi_retransmits = static_cast<std::uint8_t>(std::min(i.timeouts_in_row, 255u));
  t.tcpi_probes = static_cast<std::uint8_t>(std::min(i.probes, 255u));
  t.tcpi_backoff = static_cast<std::uint8_t>(std::min(i.backoff, 255u));
  t.tcpi_total_retrans = i.retransmits;
  t.tcpi_segs_in = i.segments_in;
  t.tcpi_segs_out = i.segments_out;
  t.tcpi_data_segs_in = i.data_segments_in;
  t.tcpi_data_segs_out = i.data_segments_out;
  t.tcpi_bytes_acked = i.bytes_acked;
  t.tcpi_bytes_received = i.bytes_received;
  t.tcpi_bytes_sent = i.bytes_sent;
  t.tcpi_bytes_retrans = i.bytes_retransmitted;
  const bool handshake_done = i.state >= tcp::State::kEstablished;  // and so our SYN delivered
  t.tcpi_delivered = segments(i.delivered, std::max(i.send_mss, 1u)) + (handshake_done ? 1 : 0);
  t.tcpi_delivered_ce = i.ecn_counts.delivered_marks;
  t.tcpi_dsack_dups = i.duplicates_reported;
  t.tcpi_rcv_ooopack = i.out_of_order;
  t.tcpi_busy_time = static_cast<std::uint64_t>(i.busy_time.to_micros());
  t.tcpi_rwnd_limited = static_cast<std::uint64_t>(i.peer_limited_time.to_micros());
  t.tcpi_sndbuf_limited = static_cast<std::uint64_t>(i.buffer_limited_time.to_micros());
}

// Bits of the last word: mode (0 off, 1 RFC 3168, 2 accurate) and whether the peer's option was seen.
std::array<std::uint32_t, 8> ecn_words(const tcp::Info& i) {
  const auto& c = i.ecn_counts;
  const std::uint32_t mode = i.accurate_ecn ? 2 : i.ecn ? 1 : 0;
  return {c.received_marks,    c.delivered_capable1, c.delivered_capable0, c.delivered_marked,
          c.received_capable1, c.received_capable0,  c.received_marked,    mode | (c.option_seen ? 1u << 2 : 0)};
}

}  // namespace

std::array<std::uint8_t, kTcpInfoSize> tcp_info_of(const tcp::Info& i) {
  tcp_info t{};
  t.tcpi_state = number_of(i.state);
  t.tcpi_ca_state = congestion_state(i);
  t.tcpi_options = static_cast<std::uint8_t>((i.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (i.sack ? TCPI_OPT_SACK : 0) |
                                             (i.window_scaling ? TCPI_OPT_WSCALE : 0) | (i.ecn ? TCPI_OPT_ECN : 0) |
                                             (i.ecn_seen ? kEcnSeen : 0) | (i.syn_data_acked ? TCPI_OPT_SYN_DATA : 0));
  t.tcpi_fastopen_client_fail = static_cast<unsigned>(i.fast_open_failure) & 3;
  t.tcpi_snd_wscale = i.send_scale & 0xf;
  t.tcpi_rcv_wscale = i.receive_scale & 0xf;
  t.tcpi_snd_mss = i.send_mss;
  t.tcpi_rcv_mss = i.receive_mss;
  t.tcpi_last_data_sent = millis(i.since_data_sent);
  t.tcpi_last_data_recv = millis(i.since_data_received);
  t.tcpi_last_ack_recv = millis(i.since_ack_received);
  put_path(t, i);
  put_window(t, i);
  put_counts(t, i);
  if (i.state == tcp::State::kListen) {  // the accept queue, and its limit
    t.tcpi_unacked = static_cast<std::uint32_t>(i.receive_queued);
    t.tcpi_sacked = static_cast<std::uint32_t>(i.send_queued);
  }
  std::array<std::uint8_t, kTcpInfoSize> out{};
  const Newer newer{.rcv_wnd = i.rcv_wnd,
                    .rehash = 0,
                    .total_rto = static_cast<std::uint16_t>(std::min(i.timeouts, 0xffffu)),
                    .total_rto_recoveries = 0,
                    .total_rto_time = 0,
                    .accurate_ecn = ecn_words(i)};
  memcpy(out.data(), &t, kOldSize);
  memcpy(out.data() + kOldSize, &newer, sizeof newer);
  return out;
}

}  // namespace sluice
