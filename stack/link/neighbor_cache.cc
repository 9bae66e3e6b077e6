#include "stack/link/neighbor_cache.h"

#include <algorithm>
#include <array>

#include "stack/buf/frame.h"

namespace sluice::link {

struct NeighborCache::Entry {
  wire::Address address;
  wire::MacAddress mac;
  NeighborState state = NeighborState::kFree;
  std::int16_t next = -1;  // in its bucket
  int attempts = 0;        // requests sent since the last answer
  Instant confirmed = Instant::past();
  Instant used = Instant::past();  // by a packet of ours
  Instant asked = Instant::past();
  Instant changed = Instant::past();  // when the MAC was set
  buf::Queue waiting;
};

namespace {
constexpr Duration kTick = 100_ms;   // how often the table is looked at while an answer is awaited
constexpr Duration kSlowTick = 5_s;  // and while entries only age
constexpr Duration kInUse = 30_s;    // an entry used within this is evicted last
constexpr std::int16_t kNone = -1;
constexpr int kPermanentWorth = 4;
}  // namespace

const char* name_of(NeighborState state) {
  constexpr std::array kNames = {"free", "incomplete", "reachable", "stale", "probe", "permanent"};
  return kNames[static_cast<std::size_t>(state)];
}

NeighborCache::NeighborCache(Context& context, buf::Pool& pool, NeighborUser& user, const NeighborConfig& config)
    : context_(context),
      pool_(pool),
      user_(user),
      config_(config),
      timer_([](void* self) { static_cast<NeighborCache*>(self)->on_tick(); }, this),
      entries_(new Entry[kCapacity]) {
  context_.rng.fill(key_);
  buckets_.fill(kNone);
}

NeighborCache::~NeighborCache() {
  delete[] entries_;
}

std::size_t NeighborCache::bucket(const wire::Address& address) const {
  return siphash24(key_, address.octets()) % kBuckets;
}

NeighborCache::Entry* NeighborCache::find(const wire::Address& address) {
  if (latest_found_ != nullptr && latest_found_->address == address) return latest_found_;
  for (std::int16_t i = buckets_[bucket(address)]; i != kNone; i = entries_[i].next) {
    if (entries_[i].address == address) return latest_found_ = &entries_[i];
  }
  return nullptr;
}

// What the loss of an entry would cost: 0 it was never used by us, 1 not for long, 2 it is not resolved, 3 it is in
// use, 4 it is not ours to remove.
int NeighborCache::worth(const Entry& e) const {
  if (e.state == NeighborState::kPermanent) return kPermanentWorth;
  if (e.used == Instant::past()) return 0;
  if (e.state == NeighborState::kIncomplete) return 2;
  return context_.now - e.used > kInUse ? 1 : 3;
}

// A free slot; or the entry whose loss costs least, among equals the one longest unused. Null: none can be had.
NeighborCache::Entry* NeighborCache::victim(Beneficiary beneficiary) {
  constexpr int kWorthLittle = 1;
  const auto before = [this](const Entry& a, const Entry& b) {
    const int worth_a = worth(a);
    const int worth_b = worth(b);
    return worth_a != worth_b ? worth_a < worth_b : std::max(a.used, a.confirmed) < std::max(b.used, b.confirmed);
  };
  Entry* best = entries_;
  for (Entry* e = entries_; e != entries_ + kCapacity; ++e) {
    if (e->state == NeighborState::kFree) return e;
    if (before(*e, *best)) best = e;
  }
  const int most = beneficiary == Beneficiary::kOwnTraffic ? kPermanentWorth - 1 : kWorthLittle;
  return worth(*best) <= most ? best : nullptr;
}

NeighborCache::Entry* NeighborCache::make(const wire::Address& address, Beneficiary beneficiary) {
  Entry* entry = victim(beneficiary);
  if (entry == nullptr) {
    context_.drop(Drop::kArpCacheFull);
    return nullptr;
  }
  if (entry->state != NeighborState::kFree) release(*entry);
  entry->address = address;
  entry->attempts = 0;
  entry->asked = entry->changed = entry->confirmed = entry->used = Instant::past();
  std::int16_t& head = buckets_[bucket(address)];
  entry->next = head;
  head = static_cast<std::int16_t>(entry - entries_);
  set_state(*entry, NeighborState::kIncomplete);
  ++used_;
  return entry;
}

void NeighborCache::release(Entry& entry) {
  const auto index = static_cast<std::int16_t>(&entry - entries_);
  std::int16_t* link = &buckets_[bucket(entry.address)];
  while (*link != index) link = &entries_[*link].next;
  *link = entry.next;
  while (!entry.waiting.empty()) {
    const buf::Buffer packet = entry.waiting.pop();
    context_.drop(Drop::kArpUnresolved, packet.bytes());
    --waiting_;
  }
  if (latest_found_ == &entry) latest_found_ = nullptr;
  set_state(entry, NeighborState::kFree);
  --used_;
}

void NeighborCache::set_state(Entry& entry, NeighborState state) {
  if (entry.state == state) return;
  context_.emit({.kind = EventKind::kNeighborState,
                 .a = static_cast<std::int64_t>(entry.state),
                 .b = static_cast<std::int64_t>(state),
                 .detail = name_of(state)});
  entry.state = state;
}

const wire::MacAddress* NeighborCache::resolve(const wire::Address& address) {
  Entry* entry = find(address);
  if (entry == nullptr || entry->state == NeighborState::kIncomplete) return nullptr;
  entry->used = context_.now;
  if (entry->state == NeighborState::kStale) {
    set_state(*entry, NeighborState::kProbe);
    entry->attempts = 0;
    ask(*entry);
  }
  return &entry->mac;
}

void NeighborCache::drop_oldest(Entry& entry) {
  const buf::Buffer oldest = entry.waiting.pop();
  context_.drop(Drop::kArpQueueFull, oldest.bytes());
  --waiting_;
}

// The newest packets are kept (RFC1122-LNK-05): when an address has its share, or all have theirs, its oldest goes.
void NeighborCache::enqueue(const wire::Address& address, Bytes header, std::span<const Bytes> payload) {
  Entry* entry = find(address);
  if (entry == nullptr) entry = make(address, Beneficiary::kOwnTraffic);
  if (entry == nullptr) return;
  entry->used = context_.now;
  const bool full = entry->waiting.size() >= config_.max_waiting || waiting_ >= config_.max_waiting_total;
  if (full && !entry->waiting.empty()) drop_oldest(*entry);
  const buf::TxFrame frame{header, payload, {}};
  buf::Buffer copy = waiting_ < config_.max_waiting_total ? pool_.allocate(frame.size()) : buf::Buffer();
  if (!copy) {
    context_.drop(Drop::kArpQueueFull, header);
  } else {
    copy.set_view(0, frame.copy_to(copy.storage()));
    entry->waiting.push(std::move(copy));
    ++waiting_;
  }
  solicit(address);
}

void NeighborCache::solicit(const wire::Address& address) {
  Entry* entry = find(address);
  if (entry == nullptr) entry = make(address, Beneficiary::kOwnTraffic);
  if (entry == nullptr) return;
  entry->used = context_.now;
  if (entry->asked == Instant::past() || context_.now - entry->asked >= config_.retry) ask(*entry);
}

void NeighborCache::ask(Entry& entry) {
  entry.asked = context_.now;
  ++entry.attempts;
  arm(kTick);
  user_.send_solicitation(entry.address, entry.state == NeighborState::kIncomplete ? nullptr : &entry.mac);
}

void NeighborCache::set_mac(Entry& entry, const wire::MacAddress& mac) {
  if (entry.mac == mac && entry.state != NeighborState::kIncomplete) return;
  entry.mac = mac;
  entry.changed = context_.now;
}

void NeighborCache::learn(const wire::Address& address, const wire::MacAddress& mac, Learn how) {
  Entry* entry = find(address);
  if (entry == nullptr && how == Learn::kCreate) entry = make(address, Beneficiary::kStranger);
  if (entry == nullptr) {
    if (how != Learn::kCreate) context_.drop(Drop::kArpIgnored);
    return;
  }
  // A claim that moves a live entry to another station is believed at most once in a while (RFC 826 lets any packet
  // update an entry, which is what ARP poisoning uses).
  const bool permanent = entry->state == NeighborState::kPermanent;
  const bool moves = entry->state != NeighborState::kIncomplete && entry->mac != mac;
  const bool held = entry->changed != Instant::past() && context_.now - entry->changed < config_.hold;
  if (moves && (permanent || held)) return context_.drop(Drop::kArpHold);
  if (permanent) return void(entry->confirmed = context_.now);
  const bool answered = how == Learn::kAnswer || entry->state == NeighborState::kIncomplete || how == Learn::kCreate;
  set_mac(*entry, mac);
  if (answered || moves) {
    entry->confirmed = context_.now;
    entry->attempts = 0;
    set_state(*entry, NeighborState::kReachable);
    arm(kSlowTick);
  }
  flush(*entry);
}

void NeighborCache::confirm(const wire::Address& address) {
  Entry* entry = find(address);
  if (entry == nullptr || entry->state == NeighborState::kIncomplete) return;
  entry->confirmed = entry->used = context_.now;
  if (entry->state == NeighborState::kPermanent) return;
  entry->attempts = 0;
  set_state(*entry, NeighborState::kReachable);
}

void NeighborCache::doubt(const wire::Address& address) {
  Entry* entry = find(address);
  if (entry != nullptr && entry->state == NeighborState::kReachable) set_state(*entry, NeighborState::kStale);
}

Status NeighborCache::set_permanent(const wire::Address& address, const wire::MacAddress& mac) {
  Entry* entry = find(address);
  if (entry == nullptr) entry = make(address, Beneficiary::kOwnTraffic);
  if (entry == nullptr) return fail(Errno::kNoBuffers);
  set_mac(*entry, mac);
  set_state(*entry, NeighborState::kPermanent);
  flush(*entry);
  return {};
}

bool NeighborCache::forget(const wire::Address& address) {
  Entry* entry = find(address);
  if (entry == nullptr) return false;
  release(*entry);
  return true;
}

void NeighborCache::forget_learned() {
  for (Entry* e = entries_; e != entries_ + kCapacity; ++e) {
    if (e->state != NeighborState::kFree && e->state != NeighborState::kPermanent) release(*e);
  }
}

void NeighborCache::flush(Entry& entry) {
  while (!entry.waiting.empty()) {
    const buf::Buffer packet = entry.waiting.pop();
    --waiting_;
    user_.send_resolved(entry.mac, packet.bytes());
  }
}

// The next hop does not answer: whoever waits is told, the entry goes.
void NeighborCache::give_up(Entry& entry) {
  const wire::Address address = entry.address;
  buf::Queue waiting = std::move(entry.waiting);
  waiting_ -= waiting.size();
  release(entry);
  while (!waiting.empty()) {
    const buf::Buffer packet = waiting.pop();
    context_.drop(Drop::kArpUnresolved, packet.bytes());
    user_.on_unreachable(address, packet.bytes());
  }
}

void NeighborCache::arm(Duration from_now) {
  const Instant at = context_.now + from_now;
  if (at < timer_.deadline()) context_.timers.schedule(timer_, at);
}

void NeighborCache::on_tick() {
  bool awaited = false;
  for (Entry* e = entries_; e != entries_ + kCapacity; ++e) {
    tend(*e);
    awaited |= e->state == NeighborState::kIncomplete || e->state == NeighborState::kProbe;
  }
  if (used_ > 0) arm(awaited ? kTick : kSlowTick);
}

void NeighborCache::tend(Entry& entry) {
  const Instant now = context_.now;
  switch (entry.state) {
    case NeighborState::kFree:
    case NeighborState::kPermanent:
      return;
    case NeighborState::kIncomplete:
    case NeighborState::kProbe:
      if (now - entry.asked < config_.retry) return;
      if (entry.attempts >= config_.attempts) return give_up(entry);
      return ask(entry);
    case NeighborState::kReachable:
      if (now - entry.confirmed >= config_.lifetime) set_state(entry, NeighborState::kStale);
      return;
    case NeighborState::kStale:
      if (now - std::max(entry.used, entry.confirmed) >= config_.lifetime * 10)
        release(entry);  // forgotten (RFC1122-LNK-02)
      return;
  }
}

bool NeighborCache::row(std::size_t i, Row& out) const {
  const Entry& e = entries_[i];
  if (e.state == NeighborState::kFree) return false;
  out = {e.address, e.mac, e.state, e.confirmed};
  return true;
}

}  // namespace sluice::link
