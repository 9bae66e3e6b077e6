// Late segmentation: cuts one large TCP or UDP packet into frames of the MTU directly before the device, when the
// device cannot do it itself. Headers are replicated, payload is not copied (docs/adr/0003). Also completes partial
// checksums.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"
#include "stack/buf/frame.h"

namespace sluice::link {

// Sums the bytes from checksum_start on and stores the complement: what a device with tx_checksum would do.
// The field holds the pseudo-header sum; `checksum_start` lies within the header.
void complete_checksum(MutableBytes header, std::span<const Bytes> payload, const buf::Offload& offload);

class Segmenter {
 public:
  static constexpr std::size_t kBatch = 64;  // frames handed out at a time

  // `packet` is a frame with link header in place: offload.gso_size > 0, offsets from the first byte of the frame.
  // `ip_offset` is where the IP header begins. The packet must outlive the segmenter's use.
  Segmenter(const buf::TxPacket& packet, std::size_t ip_offset);

  // The next batch of frames, valid until the next call; empty when all are out.
  std::span<const buf::TxFrame> next();

 private:
  void cut_one(std::size_t slot);
  std::size_t gather(std::size_t slot, std::size_t size);
  void patch_header(MutableBytes header, std::size_t size, bool last) const;

  static constexpr std::size_t kMaxHeader = 160;
  static constexpr std::size_t kMaxPieces = 8;

  const buf::TxPacket& packet_;
  std::size_t ip_offset_;
  std::size_t done_ = 0;   // payload bytes cut so far
  std::size_t piece_ = 0;  // of the gather list
  std::size_t piece_offset_ = 0;
  std::size_t count_ = 0;  // segments cut so far
  std::array<buf::TxFrame, kBatch> frames_;
  std::array<std::array<std::uint8_t, kMaxHeader>, kBatch> headers_;
  std::array<std::array<Bytes, kMaxPieces>, kBatch> pieces_;
};

}  // namespace sluice::link
