#include "stack/ip/groups.h"

#include <algorithm>

namespace sluice::ip {

Result<bool> Groups::join(const Address& group) {
  Entry* free = nullptr;
  for (Entry& e : entries_) {
    if (e.users > 0 && e.address == group) return ++e.users, false;
    if (e.users == 0) free = &e;
  }
  if (free == nullptr) return fail(Errno::kNoBuffers);
  *free = {group, 1};
  return true;
}

Result<bool> Groups::leave(const Address& group) {
  for (Entry& e : entries_) {
    if (e.users > 0 && e.address == group) return --e.users == 0;
  }
  return fail(Errno::kAddressNotAvailable);
}

bool Groups::has(const Address& group) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.users > 0 && e.address == group; });
}

}  // namespace sluice::ip
