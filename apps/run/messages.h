// The message of a trapped call: of sendto and recvfrom in its arguments, of sendmsg and recvmsg in a msghdr, of
// sendmmsg and recvmmsg in one of several. All in the caller's memory.
#pragma once

#include <array>
#include <vector>

#include "apps/run/call.h"
#include "stack/base/types.h"

namespace sluice::apps::run {

inline constexpr std::size_t kLargestDatagram = 65535;

// How many messages the call is about, and its flags.
std::size_t count_of_messages(const Call& call);
int flags_of_messages(const Call& call);
[[nodiscard]] bool takes_several(const Call& call);  // answers with how many instead of how long

// A message in our memory.
struct Datagram {
  static constexpr std::size_t kMostControl = 256;  // bytes
  Bytes bytes;
  SocketAddress name;  // whose it is, or where to; length 0: none
  alignas(cmsghdr) std::array<std::uint8_t, kMostControl> control{};
  std::size_t control_size = 0;

  // For the system's calls, until the datagram changes; `piece` is that of the header.
  [[nodiscard]] msghdr header(iovec& piece);
};

class ProgramMessage {
 public:
  // The one with this index. 0, or an errno.
  int find(const Call& call, std::size_t index);

  // To send. 0, or an errno; `bytes` becomes a part of `room`.
  int read(const Call& call, MutableBytes room, Datagram& datagram) const;
  int read_name(const Call& call, SocketAddress& name) const;                     // length 0: none
  int read_front(const Call& call, MutableBytes room, Datagram& datagram) const;  // no more than there is room for
  int set_sent(const Call& call, std::size_t bytes) const;                        // sendmmsg tells each length

  // Received: as much as there is room for. 0, or an errno.
  int store(const Call& call, const Datagram& datagram, int flags) const;
  [[nodiscard]] std::size_t room() const { return room_; }  // bytes

 private:
  int find_header(const Call& call, std::uint64_t address);
  int store_header(const Call& call, const Datagram& datagram, int flags) const;

  std::uint64_t header_ = 0;        // of its msghdr; 0: there is none
  std::uint64_t length_ = 0;        // where sendmmsg and recvmmsg want how long it was; 0: nowhere
  std::uint64_t name_ = 0;          // 0: none wanted
  std::uint64_t name_size_ = 0;     // bytes
  std::uint64_t name_size_at_ = 0;  // of recvfrom
  std::uint64_t control_ = 0;
  std::uint64_t control_size_ = 0;  // bytes
  std::vector<iovec> pieces_;
  std::size_t room_ = 0;
};

}  // namespace sluice::apps::run
