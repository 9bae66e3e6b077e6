// What travels between a device and the stack: bytes and what the device knows, or must do, about them.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "stack/base/types.h"
#include "stack/buf/buffer.h"

namespace sluice::buf {

// State of the transport checksum, carried with the frame.
enum class ChecksumState : std::uint8_t {
  kAbsent,    // rx: nobody has looked, check it. tx: the stack has computed it, nothing to do
  kVerified,  // rx only: the device vouches for it
  kPartial,   // the field holds the pseudo-header sum; whoever puts it on a wire completes it
};

enum class GsoType : std::uint8_t { kNone, kTcp4, kTcp6, kUdp };

// Checksum and segmentation metadata. Offsets count from the first byte of the frame.
// On receive nothing in here is to be trusted before it was compared with the frame (see link::validate).
struct Offload {
  ChecksumState checksum = ChecksumState::kAbsent;
  GsoType gso = GsoType::kNone;
  std::uint16_t checksum_start = 0;   // kPartial: first byte summed (the transport header)
  std::uint16_t checksum_offset = 0;  // kPartial: of the field, from checksum_start
  std::uint16_t gso_size = 0;         // gso != kNone: payload bytes of each segment, > 0
  std::uint16_t header_length = 0;    // gso != kNone: bytes before the payload
};

// A received frame. Owns its bytes.
struct RxFrame {
  Buffer buffer{};
  Offload offload{};
  std::uint32_t wire_length = 0;  // bytes the frame had on the wire; > buffer.size() when it was cut short
};

// A frame to be sent: header bytes, then pieces of the send queue. Everything is borrowed and valid only for the
// duration of the tx() call; a device that must keep the frame copies it.
struct TxFrame {
  Bytes header{};
  std::span<const Bytes> payload{};
  Offload offload{};

  [[nodiscard]] std::size_t size() const {
    std::size_t n = header.size();
    for (Bytes piece : payload) n += piece.size();
    return n;
  }
  // Copies all of the frame; out.size() >= size(). Returns the bytes written.
  std::size_t copy_to(MutableBytes out) const;
};

// A packet on its way down. The transport puts its header in front of borrowed payload pieces, and each layer below
// prepends its own header into the same small array, so that a device sees one header and one gather list.
// The object lives on the caller's stack for the duration of the send.
class TxPacket {
 public:
  static constexpr std::size_t kHeaderRoom = 192;
  static constexpr std::size_t kMaxPieces = 16;

  // Room for n more header bytes in front; contents undefined. n <= headroom().
  MutableBytes prepend(std::size_t n) {
    assert(n <= begin_);
    begin_ -= n;
    return {room_.data() + begin_, n};
  }
  void strip_front(std::size_t n) {  // takes header bytes off again
    assert(n <= header_size());
    begin_ += n;
  }
  // Adds borrowed payload; false when there are kMaxPieces already. Empty pieces are ignored.
  [[nodiscard]] bool append(Bytes piece) {
    if (piece.empty()) return true;
    if (count_ == kMaxPieces) return false;
    pieces_[count_++] = piece;
    payload_size_ += piece.size();
    return true;
  }

  [[nodiscard]] std::size_t headroom() const { return begin_; }
  [[nodiscard]] std::size_t header_size() const { return kHeaderRoom - begin_; }
  [[nodiscard]] std::size_t payload_size() const { return payload_size_; }
  [[nodiscard]] std::size_t size() const { return header_size() + payload_size_; }
  [[nodiscard]] Bytes header() const { return {room_.data() + begin_, header_size()}; }
  [[nodiscard]] MutableBytes header() { return {room_.data() + begin_, header_size()}; }
  [[nodiscard]] std::span<const Bytes> payload() const { return {pieces_.data(), count_}; }
  [[nodiscard]] TxFrame frame() const { return {header(), payload(), offload}; }

  // checksum: kAbsent when the transport has filled its checksum in, kPartial when it left the pseudo-header sum.
  // While the packet goes down, checksum_start counts from the first byte of the transport header (0), and the layer
  // that completes the frame adds what lies before it. A gso_size above 0 asks for segmentation below.
  Offload offload{};

 private:
  std::array<std::uint8_t, kHeaderRoom> room_;
  std::size_t begin_ = kHeaderRoom;
  std::array<Bytes, kMaxPieces> pieces_;
  std::size_t count_ = 0;
  std::size_t payload_size_ = 0;
};

}  // namespace sluice::buf
