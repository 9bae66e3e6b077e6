#include "stack/link/address_guard.h"

#include <algorithm>

namespace sluice::link {
namespace {
// RFC 5227 §1.1.
constexpr Duration kProbeWait = 1_s;  // at random up to this before the first probe (RFC5227-07)
constexpr int kProbes = 3;
constexpr Duration kProbeSpacing = 1_s;  // PROBE_MIN; up to PROBE_MAX, 2 s, at random
constexpr Duration kAnnounceWait = 2_s;
constexpr int kAnnouncements = 2;
constexpr Duration kAnnounceInterval = 2_s;
constexpr Duration kDefendInterval = 10_s;
}  // namespace

AddressGuard::AddressGuard(Context& context, AddressGuardUser& user, const wire::MacAddress& mac)
    : context_(context),
      user_(user),
      mac_(mac),
      timer_([](void* self) { static_cast<AddressGuard*>(self)->on_timer(); }, this) {}

AddressGuard::Entry* AddressGuard::find(wire::Ipv4Address address) {
  for (Entry& e : entries_) {
    if (e.state != State::kFree && e.address == address) return &e;
  }
  return nullptr;
}

Status AddressGuard::add(wire::Ipv4Address address, Start start) {
  if (find(address) != nullptr) return fail(Errno::kExist);
  const auto free =
      std::find_if(entries_.begin(), entries_.end(), [](const Entry& e) { return e.state == State::kFree; });
  if (free == entries_.end()) return fail(Errno::kNoBuffers);
  *free = {.address = address, .state = State::kActive};
  if (start == Start::kQuiet) return {};
  if (start == Start::kAnnounce) return begin(*free, State::kAnnouncing, kAnnouncements, context_.now), Status();
  const auto longest = static_cast<std::uint32_t>(kProbeWait.to_micros());
  begin(*free, State::kProbing, kProbes, context_.now + Duration::micros(context_.rng.below(longest)));
  return {};
}

void AddressGuard::begin(Entry& entry, State state, int count, Instant first) {
  entry.state = state;
  entry.left = count;
  entry.next = first;
  if (first < timer_.deadline()) context_.timers.schedule(timer_, first);
}

void AddressGuard::announce_again() {
  for (Entry& e : entries_) {
    if (usable(e.address)) begin(e, State::kAnnouncing, kAnnouncements, context_.now);
  }
}

void AddressGuard::remove(wire::Ipv4Address address) {
  if (Entry* e = find(address); e != nullptr) *e = {};
}

bool AddressGuard::usable(wire::Ipv4Address address) const {
  return std::any_of(entries_.begin(), entries_.end(), [address](const Entry& e) {
    return e.address == address && (e.state == State::kActive || e.state == State::kAnnouncing);
  });
}

wire::Ipv4Address AddressGuard::source_for(wire::Ipv4Address target) const {
  wire::Ipv4Address best;
  for (const Entry& e : entries_) {
    if (e.state != State::kActive && e.state != State::kAnnouncing) continue;
    if (best.is_any() || (e.address.value ^ target.value) < (best.value ^ target.value)) best = e.address;
  }
  return best;
}

void AddressGuard::inspect(const wire::arp::Packet& packet) {
  if (packet.sender_mac == mac_) return;
  if (Entry* e = find(packet.sender_ip); e != nullptr) return on_conflict(*e);
  // Another station probing for the address that we are probing for (RFC5227-05).
  Entry* e = packet.sender_ip.is_any() ? find(packet.target_ip) : nullptr;
  if (e != nullptr && e->state == State::kProbing) on_conflict(*e);
}

void AddressGuard::on_conflict(Entry& entry) {
  context_.counters.add(Counter::kArpConflicts);
  context_.emit({.kind = EventKind::kAddressConflict, .a = entry.address.value});
  if (entry.state == State::kProbing) {
    entry.state = State::kLost;  // the address is another's: never used (RFC5227-04)
    return user_.on_usable_changed();
  }
  // RFC 5227 §2.4 (c): defend always, but not more often than every ten seconds (RFC5227-09, -10).
  if (entry.state == State::kLost) return;
  if (entry.defended != Instant::past() && context_.now - entry.defended < kDefendInterval) return;
  entry.defended = context_.now;
  context_.counters.add(Counter::kArpDefences);
  user_.send_announcement(entry.address);
}

void AddressGuard::run(Entry& entry) {
  if (entry.state == State::kProbing && entry.left == 0) {
    entry.state = State::kAnnouncing;  // nobody objected; answered for from now on (RFC5227-08, -12)
    entry.left = kAnnouncements;
    user_.on_usable_changed();
  }
  --entry.left;
  if (entry.state == State::kProbing) {
    user_.send_probe(entry.address);  // once for each address that is added (RFC5227-02)
    const Duration spacing = kProbeSpacing + Duration::millis(context_.rng.below(1000));
    entry.next = context_.now + (entry.left > 0 ? spacing : kAnnounceWait);
    return;
  }
  user_.send_announcement(entry.address);
  entry.next = context_.now + kAnnounceInterval;
  if (entry.left == 0) entry.state = State::kActive;
}

void AddressGuard::on_timer() {
  Instant next = Instant::never();
  for (Entry& e : entries_) {
    if (e.state != State::kProbing && e.state != State::kAnnouncing) continue;
    if (e.next <= context_.now) run(e);
    if (e.state == State::kProbing || e.state == State::kAnnouncing) next = std::min(next, e.next);
  }
  context_.timers.schedule(timer_, next);
}

}  // namespace sluice::link
