// The multicast groups that an interface takes part in: RFC 1112 §7.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/result.h"
#include "stack/ip/types.h"

namespace sluice::ip {

class Groups {
 public:
  static constexpr std::size_t kMost = 32;

  // Counts the users of each group. True: this one is the first, or was the last. join(): kNoBuffers; leave():
  // kAddressNotAvailable.
  Result<bool> join(const Address& group);
  Result<bool> leave(const Address& group);
  [[nodiscard]] bool has(const Address& group) const;

 private:
  struct Entry {
    Address address{};
    std::uint32_t users = 0;  // 0: the place is free
  };
  std::array<Entry, kMost> entries_{};
};

}  // namespace sluice::ip
