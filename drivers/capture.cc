#include "drivers/capture.h"

#include "stack/base/byte_order.h"
#include "stack/wire/checksum.h"

namespace sluice::drivers {

void Capture::record(Instant now, const buf::TxFrame& frame, std::size_t wire_length) {
  const buf::Offload& o = frame.offload;
  whole_.resize(frame.size());
  frame.copy_to(whole_);
  const std::size_t field = std::size_t{o.checksum_start} + o.checksum_offset;
  if (o.checksum == buf::ChecksumState::kPartial && field + 2 <= whole_.size()) {
    const std::uint16_t sum = wire::checksum(Bytes(whole_).subspan(o.checksum_start));
    store_be16(whole_.data() + field, sum == 0 ? 0xffff : sum);
  }
  writer_->write(now + offset_, whole_, static_cast<std::uint32_t>(wire_length));
}

std::size_t Capture::rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) {
  const std::size_t n = inner_.rx(now, pool, out);
  for (const buf::RxFrame& f : out.first(n)) record(now, {f.buffer.bytes(), {}, f.offload}, f.wire_length);
  if (n > 0) writer_->flush();
  return n;
}

std::size_t Capture::tx(Instant now, std::span<const buf::TxFrame> frames) {
  const std::size_t n = inner_.tx(now, frames);
  for (const buf::TxFrame& f : frames.first(n)) record(now, f, f.size());
  writer_->flush();
  return n;
}

}  // namespace sluice::drivers
