#include "stack/link/coalescer.h"

#include <algorithm>
#include <cstring>

#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace sluice::link {

namespace {

namespace ethernet = wire::ethernet;
namespace ipv4 = wire::ipv4;
namespace tcp = wire::tcp;

constexpr std::size_t kTcpFlags = 13;  // offset of the control bits in the header

// A frame whose one content is a good TCP segment with data. All borrowed from the frame.
struct Candidate {
  Bytes link_header;
  ipv4::Header ip;
  tcp::Segment segment;
};

bool equal(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// The IP packet of a frame, without what stands before it; empty when it is not for the coalescer.
Bytes ip_packet(Medium medium, Bytes frame) {
  if (medium == Medium::kIp) return frame;
  const auto parsed = ethernet::parse(frame);
  const bool plain = parsed && parsed->header.type == ethernet::kIpv4 && parsed->header_size == ethernet::kHeaderSize &&
                     !parsed->header.destination.is_group();
  return plain ? parsed->payload : Bytes();
}

bool examine(Medium medium, const buf::RxFrame& frame, Candidate& out) {
  const Bytes bytes = frame.buffer.bytes();
  if (frame.offload.gso != buf::GsoType::kNone || frame.offload.checksum == buf::ChecksumState::kPartial) return false;
  if (frame.wire_length > bytes.size()) return false;
  const Bytes packet = ip_packet(medium, bytes);
  const auto ip = ipv4::parse(packet);
  if (!ip || !ip->options.empty() || ip->header.is_fragment() || ip->header.protocol != 6) return false;
  const auto policy = frame.offload.checksum == buf::ChecksumState::kVerified ? wire::ChecksumPolicy::kTrust
                                                                              : wire::ChecksumPolicy::kVerify;
  const auto segment = tcp::parse(ip->payload, ip->header.source, ip->header.destination, policy);
  if (!segment || segment->payload.empty()) return false;
  const std::uint8_t flags = segment->header.flags.bits();
  if ((flags & ~tcp::Flags::kPsh) != tcp::Flags::kAck || segment->header.ae) return false;
  out = {bytes.first(bytes.size() - packet.size()), ip->header, *segment};
  return true;
}

// The same connection and the same words about it.
bool alike(const Candidate& a, const Candidate& b) {
  const ipv4::Header& i = a.ip;
  const ipv4::Header& j = b.ip;
  const tcp::Header& t = a.segment.header;
  const tcp::Header& u = b.segment.header;
  return equal(a.link_header, b.link_header) && i.source == j.source && i.destination == j.destination &&
         i.ttl == j.ttl && i.tos == j.tos && i.dont_fragment == j.dont_fragment && t.src_port == u.src_port &&
         t.dst_port == u.dst_port && t.ack == u.ack && t.window == u.window && t.urgent == u.urgent &&
         equal(a.segment.options, b.segment.options);
}

// A run that grows: the large segment is written as the frames are looked at.
class Run {
 public:
  Run(buf::RxFrame& frame, const Candidate& first) : frame_(frame), first_(first) {
    size_ = first.segment.payload.size();
    open_ = !first.segment.header.flags.psh();
  }

  [[nodiscard]] bool takes(const Candidate& next) const {
    const std::size_t added = next.segment.payload.size();
    const std::size_t headers = ipv4::kHeaderSize + tcp_header_size();
    return open_ && added <= unit() && headers + size_ + added <= ipv4::kMaxSize &&
           next.segment.header.seq == first_.segment.header.seq + size_ && alike(first_, next);
  }

  // False when there is no memory; nothing has happened then.
  bool take(buf::Pool& pool, const Candidate& next) {
    if (!large_) {
      large_ = pool.allocate(buf::Pool::kLarge);
      if (!large_ || !large_.append(frame_.buffer.bytes().first(header_size() + size_))) return false;
    }
    const Bytes payload = next.segment.payload;
    if (!large_.append(payload)) return false;
    size_ += payload.size();
    push_ = next.segment.header.flags.psh();
    open_ = !push_ && payload.size() == unit();
    return true;
  }

  // Puts the large segment in the place of the first frame.
  void finish() {
    if (!large_) return;
    const MutableBytes bytes = large_.writable();
    ipv4::Header ip = first_.ip;
    ip.total_length = static_cast<std::uint16_t>(ipv4::kHeaderSize + tcp_header_size() + size_);
    ipv4::emit(bytes.subspan(first_.link_header.size()), ip);
    const std::size_t transport = first_.link_header.size() + ipv4::kHeaderSize;
    if (push_) bytes[transport + kTcpFlags] |= tcp::Flags::kPsh;
    frame_.offload = {.checksum = buf::ChecksumState::kVerified, .gso = buf::GsoType::kTcp4};
    frame_.offload.gso_size = static_cast<std::uint16_t>(unit());
    frame_.offload.header_length = static_cast<std::uint16_t>(header_size());
    frame_.wire_length = static_cast<std::uint32_t>(bytes.size());
    frame_.buffer = std::move(large_);
  }

 private:
  [[nodiscard]] std::size_t unit() const { return first_.segment.payload.size(); }
  [[nodiscard]] std::size_t tcp_header_size() const { return tcp::kHeaderSize + first_.segment.options.size(); }
  [[nodiscard]] std::size_t header_size() const {
    return first_.link_header.size() + ipv4::kHeaderSize + tcp_header_size();
  }

  buf::RxFrame& frame_;
  Candidate first_;
  buf::Buffer large_;
  std::size_t size_ = 0;  // payload bytes
  bool open_ = false;     // another may follow
  bool push_ = false;
};

}  // namespace

std::size_t coalesce(buf::Pool& pool, Medium medium, std::span<buf::RxFrame> batch) {
  std::size_t joined = 0;
  for (std::size_t i = 0; i + 1 < batch.size();) {
    Candidate first;
    if (!examine(medium, batch[i], first)) {
      ++i;
      continue;
    }
    batch[i].offload.checksum = buf::ChecksumState::kVerified;
    Run run(batch[i], first);
    for (++i; i < batch.size(); ++i, ++joined) {
      Candidate next;
      if (!examine(medium, batch[i], next)) break;
      batch[i].offload.checksum = buf::ChecksumState::kVerified;
      if (!run.takes(next) || !run.take(pool, next)) break;
      batch[i].buffer = {};
    }
    run.finish();
  }
  return joined;
}

}  // namespace sluice::link
