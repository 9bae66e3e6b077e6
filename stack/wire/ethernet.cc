#include "stack/wire/ethernet.h"

#include <cassert>

#include "stack/base/byte_order.h"
#include "stack/wire/crc32.h"

namespace sluice::wire::ethernet {
namespace {

constexpr std::size_t kSnapSize = 8;  // LLC AA AA 03, OUI 00 00 00, EtherType (RFC 1042)
constexpr std::uint16_t kReservedVid = 4095;

Result<std::uint16_t, Drop> read_tag(Bytes frame, Header& header) {
  if (frame.size() < kHeaderSize + kTagSize) return fail(Drop::kEthVlan);
  const std::uint16_t tci = load_be16(frame.data() + 14);
  header.tagged = true;
  header.tag = {static_cast<std::uint16_t>(tci & 0xfff), static_cast<std::uint8_t>(tci >> 13), (tci >> 12 & 1) != 0};
  const std::uint16_t inner = load_be16(frame.data() + 16);
  if (header.tag.vid == kReservedVid || inner == kVlan) return fail(Drop::kEthVlan);
  return inner;
}

bool is_snap(Bytes b) {
  return b.size() >= kSnapSize && b[0] == 0xaa && b[1] == 0xaa && b[2] == 3 && b[3] == 0 && b[4] == 0 && b[5] == 0;
}

}  // namespace

Result<Frame, Drop> parse(Bytes frame) {
  if (frame.size() < kHeaderSize) return fail(Drop::kEthRunt);
  Frame out;
  out.header.destination = MacAddress::load(frame.data());
  out.header.source = MacAddress::load(frame.data() + 6);
  std::uint16_t type = load_be16(frame.data() + 12);
  if (type == kVlan) {
    const auto inner = read_tag(frame, out.header);
    if (!inner) return fail(inner.error());
    type = *inner;
  }
  out.header_size = out.header.size();
  out.payload = frame.subspan(out.header_size);
  out.header.type = type;
  if (type >= kMinEtherType) return out;
  if (type > kMaxLengthField || type > out.payload.size()) return fail(Drop::kEthLength);
  out.payload = out.payload.first(type);
  out.header.type = 0;
  if (is_snap(out.payload)) {
    out.header.type = load_be16(out.payload.data() + 6);
    out.header_size += kSnapSize;
    out.payload = out.payload.subspan(kSnapSize);
  }
  return out;
}

void emit(MutableBytes out, const Header& header) {
  assert(out.size() >= header.size());
  header.destination.store(out.data());
  header.source.store(out.data() + 6);
  std::size_t at = 12;
  if (header.tagged) {
    const unsigned tci =
        static_cast<unsigned>(header.tag.priority) << 13 | (header.tag.drop_eligible ? 1u << 12 : 0u) | header.tag.vid;
    store_be16(out.data() + at, kVlan);
    store_be16(out.data() + at + 2, static_cast<std::uint16_t>(tci));
    at += kTagSize;
  }
  store_be16(out.data() + at, header.type);
}

bool fcs_matches(Bytes frame_with_fcs) {
  return frame_with_fcs.size() > kFcsSize && crc32(frame_with_fcs) == Crc32::kResidue;
}

void emit_fcs(MutableBytes out, std::uint32_t crc) {
  store_le32(out.data(), crc);
}

}  // namespace sluice::wire::ethernet
