// Cuts what one call sends into datagrams of one size, in place (UDP_SEGMENT).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "stack/base/types.h"
#include "stack/buf/frame.h"

namespace sluice::udp {

class Cutter {
 public:
  static constexpr std::size_t kMostPieces = buf::TxPacket::kMaxPieces;

  explicit Cutter(std::span<const Bytes> pieces) : left_(pieces) {}  // kMostPieces at most
  // The next `size` bytes, or all that is left; valid until the next call.
  std::span<const Bytes> next(std::size_t size) {
    std::size_t count = 0;
    while (size > 0 && !left_.empty()) {
      const Bytes rest = left_.front().subspan(taken_);
      const Bytes part = rest.first(std::min(size, rest.size()));
      part_[count++] = part;
      size -= part.size();
      taken_ += part.size();
      if (part.size() < rest.size()) break;
      left_ = left_.subspan(1);
      taken_ = 0;
    }
    return std::span(part_).first(count);
  }

 private:
  std::span<const Bytes> left_;
  std::size_t taken_ = 0;  // of the first of them, bytes
  std::array<Bytes, kMostPieces> part_{};
};

}  // namespace sluice::udp
