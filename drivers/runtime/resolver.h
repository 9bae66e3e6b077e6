// A stub resolver on the stack's own sockets: the hosts file first, then the name servers of resolv.conf(5). RFC 1035,
// RFC 5452, RFC 7766. Nothing is cached.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "drivers/runtime/impl.h"
#include "stack/wire/dns.h"

namespace sluice {

// What resolv.conf(5) says of it.
struct ResolverConfig {
  std::vector<ip::Endpoint> servers;  // three at most
  std::vector<std::string> search;
  Duration timeout = 5_s;  // of the first try; doubled with each round
  int attempts = 2;        // rounds through the servers
  int ndots = 1;
};
ResolverConfig parse_resolver_config(const std::string& text);

// The first lines with the name, or with the address, of a hosts(5) file.
std::vector<wire::Ipv4Address> find_in_hosts(const std::string& text, std::string_view name);
std::optional<std::string> find_in_hosts(const std::string& text, wire::Ipv4Address address);

enum class LookUp : std::uint8_t { kNoSuchName, kNoAnswer };  // the second may pass

// With the runtime of this thread. Block.
struct FoundHost {
  std::string name;  // the one that the aliases led to
  std::vector<wire::Ipv4Address> addresses;
};
Result<FoundHost, LookUp> look_up_name(const Options& options, const std::string& name);
Result<std::string, LookUp> look_up_address(const Options& options, wire::Ipv4Address address);

}  // namespace sluice
