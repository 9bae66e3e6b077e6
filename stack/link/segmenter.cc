#include "stack/link/segmenter.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "stack/base/byte_order.h"
#include "stack/wire/checksum.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace sluice::link {

using wire::Checksum;
using wire::tcp::Flags;

void complete_checksum(MutableBytes header, std::span<const Bytes> payload, const buf::Offload& offload) {
  assert(offload.checksum_start + offload.checksum_offset + 2u <= header.size());
  Checksum sum;
  sum.add(header.subspan(offload.checksum_start));
  for (Bytes piece : payload) sum.add(piece);
  const std::uint16_t checksum = sum.finish();
  // A computed zero goes out as all ones: required for UDP (RFC1122-UDP-08), the same number for TCP.
  store_be16(header.data() + offload.checksum_start + offload.checksum_offset, checksum == 0 ? 0xffff : checksum);
}

Segmenter::Segmenter(const buf::TxPacket& packet, std::size_t ip_offset) : packet_(packet), ip_offset_(ip_offset) {
  assert(packet.offload.gso == buf::GsoType::kTcp4 || packet.offload.gso == buf::GsoType::kUdp);
  assert(packet.offload.gso_size > 0);
  assert(packet.header_size() <= kMaxHeader);
}

std::span<const buf::TxFrame> Segmenter::next() {
  std::size_t n = 0;
  while (n < kBatch && done_ < packet_.payload_size()) cut_one(n++);
  return {frames_.data(), n};
}

void Segmenter::cut_one(std::size_t slot) {
  const std::size_t wanted = std::min<std::size_t>(packet_.offload.gso_size, packet_.payload_size() - done_);
  const MutableBytes header(headers_[slot].data(), packet_.header_size());
  std::memcpy(header.data(), packet_.header().data(), header.size());
  const std::size_t before_piece = piece_;
  const std::size_t size = gather(slot, wanted);
  patch_header(header, size, done_ + size == packet_.payload_size());
  const std::size_t pieces = piece_ - before_piece + (piece_offset_ > 0 ? 1 : 0);
  frames_[slot] = {header, {pieces_[slot].data(), pieces}, {}};
  complete_checksum(header, frames_[slot].payload, packet_.offload);
  done_ += size;
  ++count_;
}

// Takes the next `size` payload bytes as spans; fewer when they lie in more pieces than a frame can have.
std::size_t Segmenter::gather(std::size_t slot, std::size_t size) {
  std::size_t taken = 0;
  for (std::size_t n = 0; n < kMaxPieces && taken < size; ++n) {
    const Bytes whole = packet_.payload()[piece_].subspan(piece_offset_);
    const Bytes part = whole.first(std::min(whole.size(), size - taken));
    pieces_[slot][n] = part;
    taken += part.size();
    piece_offset_ += part.size();
    if (part.size() == whole.size()) {
      ++piece_;
      piece_offset_ = 0;
    }
  }
  return taken;
}

// What differs between the segments of one packet: IP total length, identification and checksum; TCP sequence number
// and flags (CWR on the first only, FIN and PSH on the last only), or the UDP length; and the pseudo-header sum, which
// contains the length.
void Segmenter::patch_header(MutableBytes header, std::size_t size, bool last) const {
  std::uint8_t* ip = header.data() + ip_offset_;
  const std::size_t transport = packet_.offload.checksum_start;
  std::uint8_t* l4 = header.data() + transport;
  const std::size_t l4_before = packet_.size() - transport;
  const std::size_t l4_size = header.size() - transport + size;

  store_be16(ip + 2, static_cast<std::uint16_t>(header.size() - ip_offset_ + size));
  store_be16(ip + 4, static_cast<std::uint16_t>(load_be16(ip + 4) + count_));
  store_be16(ip + 10, 0);
  store_be16(ip + 10, wire::checksum({ip, transport - ip_offset_}));

  if (packet_.offload.gso == buf::GsoType::kUdp) {
    store_be16(l4 + 4, static_cast<std::uint16_t>(l4_size));
  } else {
    store_be32(l4 + 4, load_be32(l4 + 4) + static_cast<std::uint32_t>(done_));
    if (count_ > 0) l4[13] = static_cast<std::uint8_t>(l4[13] & ~Flags::kCwr);
    if (!last) l4[13] = static_cast<std::uint8_t>(l4[13] & ~(Flags::kFin | Flags::kPsh));
  }
  std::uint8_t* field = l4 + packet_.offload.checksum_offset;
  Checksum pseudo;
  pseudo.add_u16(load_be16(field))
      .add_u16(static_cast<std::uint16_t>(~l4_before))
      .add_u16(static_cast<std::uint16_t>(l4_size));
  store_be16(field, pseudo.sum());
}

}  // namespace sluice::link
