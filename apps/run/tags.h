// What is to be known of a datagram beside its bytes, in a form that travels with it through a kernel socket: a
// descriptor (SCM_RIGHTS) of a file whose offset is the tag, and whose content is the ancillary data. Whoever does not
// ask for it loses nothing.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "apps/run/call.h"
#include "apps/run/kernel_fd.h"
#include "stack/base/types.h"

namespace sluice::apps::run {

inline constexpr std::uint64_t kNoTag = 0;  // from the peer that the socket is connected to
std::uint64_t source_tag(const SocketAddress& source);
std::uint64_t error_tag(int error);
[[nodiscard]] bool names_source(std::uint64_t tag);
[[nodiscard]] SocketAddress source_of(std::uint64_t tag);
[[nodiscard]] int error_of(std::uint64_t tag);  // 0: it is none of an error

class Tags {
 public:
  // A descriptor that says so, until the next begin_batch(); -1 when there can be none.
  int descriptor_for(std::uint64_t tag, Bytes control);
  void begin_batch();
  static std::uint64_t read(int descriptor);
  static Bytes read_control(int descriptor, MutableBytes room);

 private:
  std::unordered_map<std::uint64_t, KernelFd> known_;  // without ancillary data
  std::vector<KernelFd> latest_;                       // with, of this batch
};

}  // namespace sluice::apps::run
