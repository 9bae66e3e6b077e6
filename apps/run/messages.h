// The message of a trapped call: of sendto and recvfrom in its arguments, of sendmsg and recvmsg in a msghdr, of
// sendmmsg and recvmmsg in one of several. All in the caller's memory.
#pragma once

#include <vector>

#include "apps/run/call.h"
#include "stack/base/types.h"

namespace sluice::apps::run {

inline constexpr std::size_t kLargestDatagram = 65535;

// How many messages the call is about, and its flags.
std::size_t count_of_messages(const Call& call);
int flags_of_messages(const Call& call);
[[nodiscard]] bool takes_several(const Call& call);  // answers with how many instead of how long

class ProgramMessage {
 public:
  // The one with this index. 0, or an errno.
  int find(const Call& call, std::size_t index);

  // To send. 0, or an errno; `bytes` becomes a part of `room`, `name` has length 0 when there is none.
  int read(const Call& call, MutableBytes room, Bytes& bytes, SocketAddress& name) const;
  int set_sent(const Call& call, std::size_t bytes) const;  // sendmmsg tells each length

  // Received: as much as there is room for. 0, or an errno.
  int store(const Call& call, Bytes bytes, const SocketAddress& from, int flags) const;
  [[nodiscard]] std::size_t room() const { return room_; }  // bytes

 private:
  int find_header(const Call& call, std::uint64_t address);
  int store_header(const Call& call, const SocketAddress& from, int flags) const;

  std::uint64_t header_ = 0;        // of its msghdr; 0: there is none
  std::uint64_t length_ = 0;        // where sendmmsg and recvmmsg want how long it was; 0: nowhere
  std::uint64_t name_ = 0;          // 0: none wanted
  std::uint64_t name_size_ = 0;     // bytes
  std::uint64_t name_size_at_ = 0;  // of recvfrom
  std::vector<iovec> pieces_;
  std::size_t room_ = 0;
};

}  // namespace sluice::apps::run
