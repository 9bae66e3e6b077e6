// Names and numbers: getaddrinfo(3) and what belongs to it. Hosts are looked up by the stack itself (resolver.h); ports
// have their names from the system's files.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "drivers/runtime/resolver.h"
#include "sluice/socket.h"
#include "sluice/socket.hpp"

using sluice::LookUp;
using sluice::wire::Ipv4Address;

namespace {

constexpr std::size_t kMostAddresses = 64;  // of one host

int eai_of(LookUp why) {
  return why == LookUp::kNoSuchName ? EAI_NONAME : EAI_AGAIN;
}

// An entry of a list, with the memory that it points at.
struct Node {
  addrinfo info;
  sockaddr_in address;
};

// Appends an entry as `like` with another address.
void append(addrinfo**& end, const addrinfo& like, Ipv4Address address) {
  auto* node = new Node{like, {}};
  memcpy(&node->address, like.ai_addr, sizeof node->address);
  node->address.sin_addr.s_addr = htonl(address.value);
  node->info.ai_addr = sluice::net::generic(node->address);
  node->info.ai_canonname = nullptr;
  node->info.ai_next = nullptr;
  *end = &node->info;
  end = &node->info.ai_next;
}

// The addresses of what is a number, or nothing, or a name.
int find_addresses(const char* host, int flags, sluice::FoundHost& found) {
  if (host == nullptr) {
    found.addresses = {Ipv4Address{(flags & AI_PASSIVE) != 0 ? INADDR_ANY : INADDR_LOOPBACK}};
    return 0;
  }
  found.name = host;
  in_addr number{};
  if (::inet_aton(host, &number) != 0) {
    found.addresses = {Ipv4Address{ntohl(number.s_addr)}};
    return 0;
  }
  if ((flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
  const auto* runtime = sluice::current_runtime();
  if (runtime == nullptr) return EAI_AGAIN;
  auto answer = sluice::look_up_name(runtime->options, host);
  if (!answer) return eai_of(answer.error());
  found = std::move(*answer);
  return 0;
}

}  // namespace

int sl_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  if (host == nullptr && service == nullptr) return EAI_NONAME;
  addrinfo wanted{};
  if (hints != nullptr) wanted = *hints;
  if (wanted.ai_family != AF_UNSPEC && wanted.ai_family != AF_INET) return EAI_FAMILY;
  if ((wanted.ai_flags & AI_CANONNAME) != 0 && host == nullptr) return EAI_BADFLAGS;
  // The system has the kinds of sockets and the ports, for a number in the place of the host.
  addrinfo model = wanted;
  model.ai_family = AF_INET;
  model.ai_flags = (wanted.ai_flags & ~(AI_ADDRCONFIG | AI_CANONNAME)) | AI_NUMERICHOST;
  addrinfo* kinds = nullptr;
  if (const int bad = ::getaddrinfo("0.0.0.0", service, &model, &kinds); bad != 0) return bad;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(kinds, ::freeaddrinfo);
  sluice::FoundHost host_found;
  if (const int bad = find_addresses(host, wanted.ai_flags, host_found); bad != 0) return bad;
  *found = nullptr;
  addrinfo** end = found;
  for (const Ipv4Address address : host_found.addresses) {
    for (const addrinfo* kind = kinds; kind != nullptr; kind = kind->ai_next) append(end, *kind, address);
  }
  if ((wanted.ai_flags & AI_CANONNAME) != 0) (*found)->ai_canonname = ::strdup(host_found.name.c_str());
  return 0;
}

void sl_freeaddrinfo(addrinfo* found) {
  while (found != nullptr) {
    addrinfo* next = found->ai_next;
    ::free(found->ai_canonname);
    delete reinterpret_cast<Node*>(found);
    found = next;
  }
}

int sl_getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_room, char* service,
                   socklen_t service_room, int flags) {
  const auto endpoint = sluice::to_endpoint(address, length);
  if (!endpoint) return EAI_FAMILY;
  const auto* runtime = sluice::current_runtime();
  const bool by_name = host != nullptr && host_room > 0 && (flags & NI_NUMERICHOST) == 0 && runtime != nullptr;
  if (by_name) {
    const auto name = sluice::look_up_address(runtime->options, endpoint->address.v4());
    if (name) {
      if (name->size() >= host_room) return EAI_OVERFLOW;
      memcpy(host, name->c_str(), name->size() + 1);
      host = nullptr;
      host_room = 0;
      if (service == nullptr || service_room == 0) return 0;
    } else if ((flags & NI_NAMEREQD) != 0) {
      return eai_of(name.error());
    }
  }
  return ::getnameinfo(address, length, host, host_room, service, service_room,
                       (flags & ~NI_NAMEREQD) | NI_NUMERICHOST);
}

hostent* sl_gethostbyname(const char* name) {
  thread_local sluice::FoundHost found;
  thread_local std::array<in_addr, kMostAddresses> addresses;
  thread_local std::array<char*, kMostAddresses + 1> list;
  thread_local hostent entry;
  static char* no_aliases = nullptr;
  found = {};
  if (const int bad = find_addresses(name, 0, found); bad != 0) {
    h_errno = bad == EAI_AGAIN ? TRY_AGAIN : HOST_NOT_FOUND;
    return nullptr;
  }
  const std::size_t count = std::min(found.addresses.size(), kMostAddresses);
  for (std::size_t i = 0; i < count; ++i) {
    addresses[i].s_addr = htonl(found.addresses[i].value);
    list[i] = reinterpret_cast<char*>(&addresses[i]);
  }
  list[count] = nullptr;
  entry = {found.name.data(), &no_aliases, AF_INET, sizeof(in_addr), list.data()};
  return &entry;
}

servent* sl_getservbyname(const char* name, const char* protocol) {
  return ::getservbyname(name, protocol);
}
servent* sl_getservbyport(int port, const char* protocol) {
  return ::getservbyport(port, protocol);
}
int sl_gethostname(char* name, size_t room) {
  return ::gethostname(name, room);
}
int sl_eventfd(unsigned count, int flags) {
  return ::eventfd(count, flags);
}
