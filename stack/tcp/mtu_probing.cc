// Path MTU discovery by probing: RFC 4821, in the form that RFC 8899 gives it. A probe is one larger segment of what
// waits in the send queue. MtuSearch says what to try; here is when, and what the outcome changes.
#include <algorithm>

#include "stack/tcp/connection.h"
#include "stack/tcp/impl.h"

namespace sluice::tcp {

using wire::tcp::Flags;

namespace {
constexpr std::uint32_t kFixedHeaders = 40;  // IPv4 and TCP without options: between an MSS and a packet
// Timeouts in a row that make it likely; and where a segment as large as that has got through before: where every third
// is lost three in a row come often.
constexpr std::uint32_t kBlackHole = 3;
constexpr std::uint32_t kNewBlackHole = 6;
constexpr Duration kLongestPause = 15_s;  // between lost probes
}  // namespace

// From the beginning. What the route has been given or ICMP has said is believed; where nothing is known a size that
// every path should carry comes first (RFC4821-05).
void Connection::start_mtu_search() {
  const auto route = tcp_.ip.route(tuple.peer.address, tuple.local.address);
  const bool known = route && (route->own_mtu || route->mtu < route->link_mtu);
  const std::uint32_t base = tcp_.config.mtu_base_mss + kFixedHeaders;
  const std::uint32_t limit = largest_packet();
  rare().mtu_search.start(base, known ? limit : base, limit);
  tell_path_mtu("search from the beginning");
  update_mss();
}

// The route is another one. If it may carry more than the one before, a probe goes first (RFC4821-08). That the link
// itself carries more needs no proof, where nothing was in doubt.
void Connection::follow_path_mtu(std::uint32_t before, std::uint32_t link_before) {
  const std::uint32_t limit = largest_packet();
  if (tcp_.config.mtu_probing == MtuProbing::kOff || limit <= before || route_.link_mtu > link_before) return;
  MtuSearch& search = rare().mtu_search;
  if (search.on()) return;  // it goes on from where it is, up to the new limit
  search.start(tcp_.config.mtu_base_mss + kFixedHeaders, before, limit);
  search.try_first(limit);
  tell_path_mtu("the route may carry more");
}

// Nothing came back, no ICMP message either, and what is sent again each time is a large segment: maybe the path
// swallows those (RFC4821-07). Below the base only if none of that size ever got through: many small segments make a
// path that loses much worse.
void Connection::suspect_black_hole() {
  if (tcp_.config.mtu_probing == MtuProbing::kOff) return;
  if (timeouts_in_row_ < (full_size_arrived_ ? kNewBlackHole : kBlackHole)) return;
  const std::uint32_t base = tcp_.config.mtu_base_mss + kFixedHeaders;
  const std::uint32_t floor = tcp_.config.mtu_floor_mss + kFixedHeaders;
  const std::uint32_t packet = std::min(snd_max_ - snd_una_, send_mss_) + header_bytes();
  const bool above = send_mss_ + header_bytes() > base;
  if (packet <= (above ? base : floor) || (!above && full_size_arrived_)) return;
  MtuSearch& search = rare().mtu_search;
  if (!search.on()) search.start(base, send_mss_ + header_bytes(), largest_packet());
  search.on_black_hole(base, floor);
  context_.counters.add(Counter::kTcpBlackHoles);
  tell_path_mtu("black hole: timeouts in a row");
  update_mss();
}

// Nothing is lost or doubtful, so that the probe's loss would stand alone (RFC4821-10); and DF may be set.
bool Connection::may_probe_mtu() const {
  const bool quiet = recovery_.phase() == cc::Phase::kOpen && recovery_.duplicates() == 0 && snd_nxt_ == snd_max_ &&
                     (out_ == nullptr || out_->quiet());
  return quiet && may_send_data() && !route_.below_floor && discovers_path_mtu() && !rare_->urgent_pointer.on() &&
         !reassembly_.something_to_report();
}

// As large as the search wants it (RFC4821-01, RFC9293-PMTU-01), when there is enough to send behind it to show its
// loss, and the windows have room for all of that (RFC4821-10).
Connection::MtuProbe Connection::send_mtu_probe() {
  if (rare_ == nullptr || !rare_->mtu_search.on() || !may_probe_mtu()) return MtuProbe::kNone;
  MtuSearch& search = rare_->mtu_search;
  const std::uint32_t packet = search.next(context_.now);
  if (packet == 0) return MtuProbe::kNone;
  const std::uint32_t size = packet - header_bytes();
  const std::uint32_t needed = size + (Recovery::kThreshold + 1) * send_mss_;
  const std::uint32_t sent = snd_nxt_ - snd_una_;
  if (unsent() < needed || until_boundary(snd_nxt_) < size || snd_wnd_ < sent + needed) return MtuProbe::kNone;
  if (congestion_window() < needed || !pacer_.may_send(context_.now)) return MtuProbe::kNone;
  // ACKs make room for ordinary segments, one or two at a time: until it is enough nothing else goes.
  if (usable_window() < size) return MtuProbe::kWaits;
  const Seq begin = snd_nxt_;
  context_.counters.add(Counter::kTcpMtuProbes);
  context_.emit({.kind = EventKind::kTcpProbe, .flow = number_, .a = begin.value(), .detail = "path MTU"});
  const std::uint32_t usual = std::exchange(send_mss_, size);  // one segment, and not to be cut below
  transmit(begin, size, Flags(Flags::kAck | (ends_push(begin + size) ? Flags::kPsh : 0)));
  send_mss_ = usual;
  search.on_sent(packet, begin, snd_nxt_);
  return MtuProbe::kSent;
}

// All that is lost, `lost` bytes newly so, is the probe; without SACK: what stands first is.
bool Connection::only_mtu_probe_lost(std::uint32_t lost) {
  if (!mtu_probe_out() || recovery_.phase() != cc::Phase::kOpen) return false;
  const MtuSearch& search = rare_->mtu_search;
  if (!negotiated_.sack) return snd_una_ == search.begin();
  return lost == search.end() - search.begin() && out_->board.lost() == lost &&
         out_->board.next_lost()->begin == search.begin();
}

void Connection::mtu_probe_acknowledged() {
  MtuSearch& search = rare_->mtu_search;
  search.on_acknowledged(context_.now);
  tell_path_mtu("a probe has arrived");
  update_mss();  // the window stays as it is, in bytes (RFC4821-04)
}

// The window stays (RFC4821-02, RFC8201-08). A loss that has no consequences must be rarer than those that have: the
// next probe waits as long as a window that was halved would take to grow back (RFC4821-03).
void Connection::mtu_probe_lost() {
  MtuSearch& search = rare_->mtu_search;
  const auto round_trips = static_cast<std::int64_t>(std::max(congestion_window() / send_mss_ / 2, 1u));
  search.on_lost(context_.now, std::min(rto_.srtt() * round_trips, kLongestPause));
  context_.counters.add(Counter::kTcpMtuProbesLost);
  tell_path_mtu("a probe alone was lost");
  // Others need not find out again.
  if (search.settled() && search.narrowed()) tcp_.ip.accept_path_mtu(tuple.peer.address, search.effective());
}

// Where SACK was not agreed: in ordinary segments.
void Connection::resend_mtu_probe() {
  for (Seq at = snd_una_; at < rare_->mtu_search.end();) {
    const std::uint32_t size = std::min(rare_->mtu_search.end() - at, send_mss_);
    retransmit(at, size, "was a probe");
    at += size;
  }
  start_retransmit_timer();
}

void Connection::tell_path_mtu(const char* why) {
  const MtuSearch& search = rare_->mtu_search;
  context_.emit(
      {.kind = EventKind::kTcpPathMtu, .flow = number_, .a = search.effective(), .b = search.limit(), .detail = why});
}

}  // namespace sluice::tcp
