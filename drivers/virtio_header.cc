#include "drivers/virtio_header.h"

#include <cassert>
#include <cstring>

namespace sluice::drivers {

namespace {

constexpr std::uint8_t kNeedsChecksum = 1;  // flags
constexpr std::uint8_t kChecksumValid = 2;

constexpr std::uint8_t kGsoNone = 0;  // kinds of segmentation
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoUdp = 5;     // cut into datagrams, as UDP_SEGMENT does; 3 would be IP fragments
constexpr std::uint8_t kGsoEcn = 0x80;  // a bit beside the kind: CWR on the first segment only, as we cut it anyway

constexpr std::size_t kGsoType = 1, kHeaderLength = 2, kGsoSize = 4, kStart = 6, kOffset = 8;  // fields

std::uint16_t load(Bytes header, std::size_t at) {
  std::uint16_t v = 0;
  std::memcpy(&v, header.data() + at, sizeof v);
  return v;
}
void store(MutableBytes header, std::size_t at, std::uint16_t v) {
  std::memcpy(header.data() + at, &v, sizeof v);
}

bool segmentation_of(std::uint8_t kind, buf::GsoType& out) {
  switch (kind & ~kGsoEcn) {
    case kGsoNone:
      out = buf::GsoType::kNone;
      return true;
    case kGsoTcp4:
      out = buf::GsoType::kTcp4;
      return true;
    case kGsoTcp6:
      out = buf::GsoType::kTcp6;
      return true;
    case kGsoUdp:
      out = buf::GsoType::kUdp;
      return true;
    default:
      return false;
  }
}

std::uint8_t kind_of(buf::GsoType type) {
  switch (type) {
    case buf::GsoType::kNone:
      return kGsoNone;
    case buf::GsoType::kTcp4:
      return kGsoTcp4;
    case buf::GsoType::kTcp6:
      return kGsoTcp6;
    case buf::GsoType::kUdp:
      return kGsoUdp;
  }
  return kGsoNone;
}

}  // namespace

ParsedVirtioHeader parse_virtio_header(Bytes header, std::size_t frame_size) {
  assert(header.size() >= kVirtioHeaderSize);
  ParsedVirtioHeader parsed;
  buf::Offload& o = parsed.offload;
  if (!segmentation_of(header[kGsoType], o.gso)) return {};
  if ((header[0] & kNeedsChecksum) != 0) {
    o.checksum = buf::ChecksumState::kPartial;
    o.checksum_start = load(header, kStart);
    o.checksum_offset = load(header, kOffset);
    if (std::size_t{o.checksum_start} + o.checksum_offset + 2 > frame_size) return {};
  } else if ((header[0] & kChecksumValid) != 0) {
    o.checksum = buf::ChecksumState::kVerified;
  }
  if (o.gso != buf::GsoType::kNone) {
    o.gso_size = load(header, kGsoSize);
    if (o.gso_size == 0 || o.checksum != buf::ChecksumState::kPartial) return {};
    // The kernel's header_length is a hint only; that the transport header begins at checksum_start is what counts.
    o.header_length = o.checksum_start;
  }
  parsed.valid = true;
  return parsed;
}

void emit_virtio_header(MutableBytes out, const buf::Offload& o) {
  std::memset(out.data(), 0, kVirtioHeaderSize);
  if (o.checksum == buf::ChecksumState::kPartial) {
    out[0] = kNeedsChecksum;
    store(out, kStart, o.checksum_start);
    store(out, kOffset, o.checksum_offset);
  }
  out[kGsoType] = kind_of(o.gso);
  if (o.gso == buf::GsoType::kNone) return;
  store(out, kHeaderLength, o.header_length);
  store(out, kGsoSize, o.gso_size);
}

}  // namespace sluice::drivers
