// The multicast groups that one socket has joined, and leaves at its end: ip(7).
#pragma once

#include <algorithm>
#include <vector>

#include "stack/ip/ip.h"

namespace sluice::ip {

struct Membership {
  Address group{};
  InterfaceId interface = kNoInterface;
  bool operator==(const Membership&) const = default;
};

class Memberships {
 public:
  explicit Memberships(Ip& ip) : ip_(ip) {}
  ~Memberships() {
    for (const Membership& m : all_) (void)ip_.leave_group(m.interface, m.group);
  }
  Memberships(const Memberships&) = delete;
  Memberships& operator=(const Memberships&) = delete;

  // kInvalid: no group, or no such interface; kAddressInUse: has joined already; kNoBuffers.
  Status join(const Membership& m) {
    if (has(m)) return fail(Errno::kAddressInUse);
    if (const Status joined = ip_.join_group(m.interface, m.group); !joined) return joined;
    all_.push_back(m);
    return {};
  }
  Status leave(const Membership& m) {  // kAddressNotAvailable: has not joined
    if (std::erase(all_, m) == 0) return fail(Errno::kAddressNotAvailable);
    return ip_.leave_group(m.interface, m.group);
  }
  [[nodiscard]] bool has(const Membership& m) const { return std::find(all_.begin(), all_.end(), m) != all_.end(); }

 private:
  Ip& ip_;
  std::vector<Membership> all_;
};

}  // namespace sluice::ip
