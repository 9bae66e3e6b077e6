// How large the send buffer should be. What is in flight stays in it until it is acknowledged, and a window more lets
// the application refill it meanwhile: twice the congestion window, and a margin for writes in large pieces.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "stack/tcp/options.h"

namespace sluice::tcp {

class SendTuning {
 public:
  explicit SendTuning(const BufferRange& range) : buffer_(to_32_bits(range.first)), most_(to_32_bits(range.most)) {}

  void on_cwnd(std::uint32_t cwnd) {
    const std::size_t wanted = 2 * std::size_t{cwnd} + kMargin;
    buffer_ = std::max(buffer_, std::min(to_32_bits(wanted), most_));
  }
  // As Linux counts: twice the window in segments, each with its share of headers and bookkeeping.
  void on_full_buffer(std::uint32_t segments, std::uint32_t mss) {
    constexpr std::uint32_t kHeaders = 640, kBookkeeping = 256;
    const std::size_t each = std::bit_ceil(mss + kHeaders) + std::size_t{kBookkeeping};
    buffer_ = std::max(buffer_, std::min(to_32_bits(2 * segments * each), most_));
  }
  [[nodiscard]] std::size_t buffer() const { return buffer_; }  // bytes; grows, and never shrinks

 private:
  static constexpr std::size_t kMargin = 64u << 10;  // bytes
  std::uint32_t buffer_;
  std::uint32_t most_;
};

}  // namespace sluice::tcp
