// How large the send buffer should be. What is in flight stays in it until it is acknowledged, and a window more lets
// the application refill it meanwhile: twice the congestion window, and a margin for writes in large pieces.
#pragma once

#include <algorithm>
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
  [[nodiscard]] std::size_t buffer() const { return buffer_; }  // bytes; grows, and never shrinks

 private:
  static constexpr std::size_t kMargin = 64u << 10;  // bytes
  std::uint32_t buffer_;
  std::uint32_t most_;
};

}  // namespace sluice::tcp
