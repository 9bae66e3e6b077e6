// Loses the segment that carries the last byte of a write, the first time it is sent: the loss that no later segment
// reveals.
#pragma once

#include <cstdint>

#include "stack/base/types.h"

namespace sluice::sim {

class TailLoss {
 public:
  // Writes of so many bytes each, and the end of the stream after `total`. 0: there is none.
  TailLoss(std::uint64_t write, std::uint64_t total) : write_(write), total_(total) { find_next_end(); }

  // Looks at an IPv4 packet with a TCP segment of one direction of one connection.
  bool loses(Bytes packet);

 private:
  void find_next_end();

  std::uint64_t write_, total_;
  std::uint64_t end_ = 0;      // of the write whose tail is to be lost next, bytes of the stream; 0: none is left
  std::uint64_t highest_ = 0;  // byte of the stream seen, and so the high bits of sequence numbers
  std::uint32_t first_ = 0;    // sequence number of the stream's first byte
};

}  // namespace sluice::sim
