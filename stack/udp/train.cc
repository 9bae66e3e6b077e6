#include "stack/udp/train.h"

namespace sluice::udp {

bool Train::add(const Way& way, std::span<const Bytes> pieces, std::size_t size) {
  if (count_ == 0) {
    way_ = way;
    size_ = size;
  } else {
    const bool ended = bytes_.size() != count_ * size_;  // by a shorter one
    const bool room = count_ < kMostDatagrams && bytes_.size() + size <= kMostBytes;
    if (ended || !room || size > size_ || !(way == way_)) return false;
  }
  for (const Bytes piece : pieces) bytes_.insert(bytes_.end(), piece.begin(), piece.end());
  ++count_;
  return true;
}

}  // namespace sluice::udp
