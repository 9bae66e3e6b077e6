#include "stack/ip/reassembly.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "stack/base/byte_order.h"

namespace sluice::ip {

namespace ipv4 = wire::ipv4;

struct Reassembler::Fragment {
  std::size_t begin = 0;  // first byte, counted in the payload of the whole datagram
  buf::Buffer buffer;     // view: the fragment's payload
  [[nodiscard]] std::size_t end() const { return begin + buffer.size(); }
};

struct Reassembler::Partial {
  wire::Ipv4Address source;
  wire::Ipv4Address destination;
  std::uint16_t identification = 0;
  std::uint8_t protocol = 0;
  InterfaceId interface = kNoInterface;
  bool poisoned = false;
  bool has_last = false;
  bool congestion = false;  // a fragment came with CE
  std::size_t total = 0;    // payload bytes, once has_last
  std::size_t held = 0;     // payload bytes held
  std::size_t charged = 0;  // memory
  Instant expires;
  std::vector<Fragment> fragments;  // in order
  buf::Buffer first_packet;         // a copy of fragment 0's header and first bytes, for the error on timeout
  Partial* next_in_bucket = nullptr;
  Partial* older = nullptr;
  Partial* newer = nullptr;

  [[nodiscard]] bool matches(const ipv4::Header& h) const {  // (RFC791-04)
    return source == h.source && destination == h.destination && protocol == h.protocol &&
           identification == h.identification;
  }
};

namespace {
constexpr std::uint8_t kEcnMask = 3;
constexpr std::uint8_t kCongestionExperienced = 3;
constexpr std::size_t kOverhead = 64;          // charged for a fragment beyond its bytes
constexpr std::size_t kMaxFragments = 1500;    // of one datagram: 65535 bytes at the smallest MTU, 68
constexpr std::size_t kMaxOfOneSource = 64;    // datagrams under way
constexpr std::size_t kQuoted = 576 - 20 - 8;  // most that an ICMP error quotes
}  // namespace

Reassembler::Reassembler(Context& context, buf::Pool& pool, ReassemblyUser& user, const IpConfig& config)
    : context_(context),
      pool_(pool),
      user_(user),
      config_(config),
      timer_([](void* self) { static_cast<Reassembler*>(self)->on_timer(); }, this) {
  context_.rng.fill(key_);
}

Reassembler::~Reassembler() {
  while (oldest_ != nullptr) destroy(oldest_);
}

std::size_t Reassembler::bucket(const ipv4::Header& h) const {
  std::array<std::uint8_t, 11> message{};
  h.source.store(message.data());
  h.destination.store(message.data() + 4);
  store_be16(message.data() + 8, h.identification);
  message[10] = h.protocol;
  return siphash24(key_, message) % kBuckets;
}

Reassembler::Partial* Reassembler::find(const ipv4::Header& h) const {
  for (Partial* p = buckets_[bucket(h)]; p != nullptr; p = p->next_in_bucket) {
    if (p->matches(h)) return p;
  }
  return nullptr;
}

// Whole partial datagrams are evicted, the oldest first: of the source that holds most of its share, else of all.
void Reassembler::make_room(const ipv4::Header& h) {
  std::size_t of_source = 0;
  Partial* oldest_of_source = nullptr;
  for (Partial* p = newest_; p != nullptr; p = p->older) {
    if (p->source != h.source) continue;
    ++of_source;
    oldest_of_source = p;
  }
  Partial* victim = of_source >= kMaxOfOneSource ? oldest_of_source : nullptr;
  if (victim == nullptr && count_ >= config_.reassembly_max_datagrams) victim = oldest_;
  if (victim == nullptr) return;
  context_.drop(Drop::kFragLimit, victim->first_packet.bytes());
  destroy(victim);
}

Reassembler::Partial* Reassembler::make(const ipv4::Header& h, InterfaceId interface) {
  make_room(h);
  auto* p = new Partial;
  p->source = h.source;
  p->destination = h.destination;
  p->identification = h.identification;
  p->protocol = h.protocol;
  p->interface = interface;
  p->expires = context_.now + config_.reassembly_timeout;  // a fixed time; later fragments do not renew it
  Partial*& head = buckets_[bucket(h)];
  p->next_in_bucket = head;
  head = p;
  p->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = p;
  newest_ = p;
  ++count_;
  if (!timer_.armed()) context_.timers.schedule(timer_, oldest_->expires);
  return p;
}

void Reassembler::release_fragments(Partial& p) {
  bytes_ -= p.charged;
  p.charged = p.held = 0;
  std::vector<Fragment>().swap(p.fragments);
}

void Reassembler::destroy(Partial* p) {
  release_fragments(*p);
  const ipv4::Header h{
      .identification = p->identification, .protocol = p->protocol, .source = p->source, .destination = p->destination};
  Partial** link = &buckets_[bucket(h)];
  while (*link != p) link = &(*link)->next_in_bucket;
  *link = p->next_in_bucket;
  (p->older != nullptr ? p->older->newer : oldest_) = p->newer;
  (p->newer != nullptr ? p->newer->older : newest_) = p->older;
  --count_;
  delete p;
}

void Reassembler::poison(Partial& p) {
  release_fragments(p);
  p.poisoned = true;
}

buf::Buffer Reassembler::add(buf::Buffer buffer, const ipv4::Packet& packet, InterfaceId interface) {
  context_.counters.add(Counter::kFragmentsReceived);
  const ipv4::Header& h = packet.header;
  const Bytes frame = buffer.bytes();
  const std::size_t end = h.fragment_offset + packet.payload.size();
  const bool misaligned = h.more_fragments && packet.payload.size() % 8 != 0;              // (RFC791-05)
  if (packet.payload.empty() || misaligned || end + ipv4::kHeaderSize > ipv4::kMaxSize) {  // (RFC791-06)
    context_.drop(Drop::kFragMalformed, frame);
    return {};
  }
  Partial* p = find(h);
  if (p == nullptr) p = make(h, interface);
  if (p->poisoned) {
    context_.drop(Drop::kFragOverlap, frame);
    return {};
  }
  if (!set_end(*p, end, !h.more_fragments)) {
    context_.drop(Drop::kFragOverlap, frame);
    poison(*p);
    return {};
  }
  p->congestion |= (h.tos & kEcnMask) == kCongestionExperienced;
  insert(*p, std::move(buffer), packet, frame);
  if (!p->poisoned && p->has_last && p->held == p->total) {
    buf::Buffer whole = assemble(*p);
    destroy(p);
    return whole;
  }
  while (bytes_ > config_.reassembly_max_bytes && oldest_ != nullptr) {
    context_.drop(Drop::kFragLimit, oldest_->first_packet.bytes());
    destroy(oldest_);
  }
  return {};
}

// A last fragment fixes the length once; nothing may lie beyond it.
bool Reassembler::set_end(Partial& p, std::size_t end, bool last) const {
  if (p.has_last && (end > p.total || (last && end != p.total))) return false;
  if (!last) return true;
  if (!p.fragments.empty() && p.fragments.back().end() > end) return false;
  p.has_last = true;
  p.total = end;
  return true;
}

void Reassembler::insert(Partial& p, buf::Buffer buffer, const ipv4::Packet& packet, Bytes frame) {
  const std::size_t begin = packet.header.fragment_offset;
  const auto at = std::upper_bound(p.fragments.begin(), p.fragments.end(), begin,
                                   [](std::size_t b, const Fragment& f) { return b < f.begin; });
  const auto index = static_cast<std::size_t>(at - p.fragments.begin());
  if (collides(p, index, begin, packet.payload, frame)) return;
  if (p.fragments.size() == kMaxFragments) {
    context_.drop(Drop::kFragLimit, frame);
    return poison(p);
  }
  if (begin == 0) p.first_packet = buf::Buffer::copy_of(frame.first(std::min(frame.size(), kQuoted)));
  const std::size_t header_size = static_cast<std::size_t>(packet.payload.data() - frame.data());
  const std::size_t size = packet.payload.size();
  // A small fragment does not pin a large block.
  buf::Buffer held = size * 4 < buffer.capacity() ? buf::Buffer::copy_of(packet.payload) : buf::Buffer();
  if (!held) {
    held = std::move(buffer);
    held.trim_front(header_size);
    held.truncate(size);
  }
  const std::size_t charge = held.capacity() + kOverhead;
  p.fragments.insert(at, Fragment{begin, std::move(held)});
  p.held += size;
  p.charged += charge;
  bytes_ += charge;
}

// Looks at the neighbours of place `at`, where a fragment from `begin` on would stand. True: it must not be inserted.
bool Reassembler::collides(Partial& p, std::size_t at, std::size_t begin, Bytes payload, Bytes frame) {
  const std::size_t end = begin + payload.size();
  const Fragment* before = at > 0 ? &p.fragments[at - 1] : nullptr;
  const Fragment* after = at < p.fragments.size() ? &p.fragments[at] : nullptr;
  if (before != nullptr && before->begin == begin && before->end() == end &&
      std::equal(payload.begin(), payload.end(), before->buffer.bytes().begin())) {
    context_.drop(Drop::kFragDuplicate, frame);
    return true;
  }
  if ((before != nullptr && before->end() > begin) || (after != nullptr && after->begin < end)) {
    context_.drop(Drop::kFragOverlap, frame);
    poison(p);
    return true;
  }
  return false;
}

// Copies the pieces behind fragment 0's IP header, which becomes that of the whole.
buf::Buffer Reassembler::assemble(Partial& p) {
  const Bytes first = p.first_packet.bytes();
  const std::size_t header_size = static_cast<std::size_t>(first[0] & 0xf) * 4;
  const std::size_t size = header_size + p.total;
  buf::Buffer whole = size <= ipv4::kMaxSize ? pool_.allocate(size) : buf::Buffer();
  if (!whole) {
    context_.drop(Drop::kBufferExhausted, first);
    return {};
  }
  whole.set_view(0, size);
  std::uint8_t* out = whole.writable().data();
  std::memcpy(out, first.data(), header_size);
  for (const Fragment& f : p.fragments) {
    std::memcpy(out + header_size + f.begin, f.buffer.bytes().data(), f.buffer.size());
  }
  if (p.congestion) out[1] |= kCongestionExperienced;  // (RFC3168-15)
  store_be16(out + 2, static_cast<std::uint16_t>(size));
  store_be16(out + 6, 0);
  store_be16(out + 10, 0);
  store_be16(out + 10, wire::checksum({out, header_size}));
  context_.counters.add(Counter::kFragmentsReassembled);
  return whole;
}

void Reassembler::on_timer() {
  while (oldest_ != nullptr && oldest_->expires <= context_.now) {
    const buf::Buffer first = std::move(oldest_->first_packet);
    const InterfaceId interface = oldest_->interface;
    const bool poisoned = oldest_->poisoned;
    destroy(oldest_);
    if (poisoned) continue;  // its drop was counted when it happened
    context_.drop(Drop::kFragTimeout, first.bytes());
    user_.on_reassembly_timeout(first.bytes(), interface);
  }
  if (oldest_ != nullptr) context_.timers.schedule(timer_, oldest_->expires);
}

}  // namespace sluice::ip
