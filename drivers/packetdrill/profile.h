// What the tool's --so_flags and the scripts' sysctls mean: addresses, MTU, and ordinary options of the stack.
#pragma once

#include <string>
#include <string_view>

#include "stack/stack.h"

namespace sluice::packetdrill {

struct Profile {
  enum class Kind : std::uint8_t {
    kLinux,  // as a Linux host with its usual sysctls
    kPlain,  // as the RFCs have it, with little that adapts: fixed window, delayed ACK from the first segment
  };
  Kind kind = Kind::kLinux;
  wire::Prefix local{wire::Ipv4Address::of(192, 168, 0, 1), 16};
  std::uint32_t mtu = 1500;
  StackConfig stack{};
};

// "profile=plain,local=192.168.0.1/16,mtu=1500", and sysctls by name, as in "tcp_timestamps=0". On an error the answer
// says which word it is about.
Result<Profile, std::string> parse_profile(std::string_view flags);

// One sysctl of net.ipv4, without that prefix. False: there is nothing of this name here; nothing has changed.
bool apply_sysctl(Profile& profile, std::string_view name, std::string_view value);

// Sets everything a sysctl can change back to the profile's own values.
void reset_sysctls(Profile& profile);

}  // namespace sluice::packetdrill
