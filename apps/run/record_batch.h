// Datagrams on their way between our end of a pair and the stack: one system call of the kernel's moves all of a batch,
// and the program, woken once, finds several.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>

#include "apps/run/messages.h"
#include "stack/base/types.h"

namespace sluice::apps::run {

class RecordBatch {
 public:
  static constexpr std::size_t kMost = 32;

  RecordBatch();

  // What the program has written, up to kMost, in the place of what was there before.
  void take(int pair);
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] bool full() const { return count_ == kMost; }
  [[nodiscard]] Bytes operator[](std::size_t index) const;
  [[nodiscard]] bool ended() const { return ended_; }  // nothing will be written after these

  // One to give: `bytes` are the caller's, or in room(), until all are given; the descriptor goes along unless it is
  // -1.
  void clear();
  [[nodiscard]] MutableBytes room();  // for the next
  void put(Bytes bytes, int descriptor);
  [[nodiscard]] int descriptor(std::size_t index) const { return descriptors_[index]; }
  // How many of them the pair had room for. A program that has closed its end takes them all, to nowhere.
  std::size_t give(int pair);

 private:
  // A record finds room for the largest datagram. The rest keeps the beginnings of the records, which is what most of
  // them are, from lying at the same places of the caches.
  static constexpr std::size_t kStride = kLargestDatagram + 1 + 33 * 64;

  // A control buffer for one descriptor.
  struct Control {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes;
  };

  std::unique_ptr<std::uint8_t[]> bytes_;  // kMost of kStride
  std::array<mmsghdr, kMost> headers_{};
  std::array<iovec, kMost> pieces_{};
  std::array<int, kMost> descriptors_{};
  std::array<Control, kMost> controls_{};
  std::size_t count_ = 0;
  bool ended_ = false;
};

}  // namespace sluice::apps::run
