// Datagrams of one size from one port to one peer, sent in a row, as one frame that the device cuts (UDP segmentation
// offload): one call of the device instead of many. The last one may be shorter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/base/types.h"
#include "stack/ip/types.h"

namespace sluice::udp {

// How a datagram goes, but for what is in it.
struct Way {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  ip::SendOptions options{};  // with the addresses
  ip::Path path{};

  bool operator==(const Way&) const = default;
};

class Train {
 public:
  static constexpr std::size_t kMostDatagrams = 64;  // that Linux cuts one frame into

  // What could go in a train at all: more than nothing, to one host, in one packet of the path.
  static bool suits(const Way& way, std::size_t size) {
    return way.path.udp_segmentation && way.path.cast == ip::Cast::kUnicast && size > 0 &&
           size + kHeaders <= way.path.mtu_for(way.options.path_mtu);
  }

  // Copies the datagram to the end of the train, or makes it the first of an empty one. False when it is not like those
  // before it, or there is no room: they are to be sent first.
  bool add(const Way& way, std::span<const Bytes> pieces, std::size_t size);

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t size() const { return size_; }  // of each payload but the last, bytes
  [[nodiscard]] const Way& way() const { return way_; }
  [[nodiscard]] Bytes payload() const { return bytes_; }
  void clear() {
    bytes_.clear();
    count_ = 0;
  }

 private:
  static constexpr std::size_t kHeaders = 28;       // IPv4 and UDP
  static constexpr std::size_t kMostBytes = 65507;  // payload of one IP packet

  Way way_;
  std::size_t size_ = 0;
  std::size_t count_ = 0;
  std::vector<std::uint8_t> bytes_;
};

class Udp;

// While one exists, datagrams may wait for others like them; they go when the last one ends, or the stack is polled.
class Hold {
 public:
  explicit Hold(Udp& udp);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  Udp& udp_;
};

}  // namespace sluice::udp
