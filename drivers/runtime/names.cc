// Addresses as text: sl_getaddrinfo() and sl_getnameinfo() for numbers. The system's calls do it; they are kept from
// asking the system's resolver, which would look through the kernel's network and not through ours.
#include "sluice/socket.h"

int sl_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  addrinfo wanted{};
  if (hints != nullptr) wanted = *hints;
  if (wanted.ai_family == AF_UNSPEC) wanted.ai_family = AF_INET;
  if (wanted.ai_family != AF_INET) return EAI_FAMILY;
  wanted.ai_flags |= AI_NUMERICHOST;
  wanted.ai_flags &= ~AI_ADDRCONFIG;
  return ::getaddrinfo(host, service, &wanted, found);
}

void sl_freeaddrinfo(addrinfo* found) {
  ::freeaddrinfo(found);
}

int sl_getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_room, char* service,
                   socklen_t service_room, int flags) {
  if ((flags & NI_NAMEREQD) != 0) return EAI_NONAME;
  return ::getnameinfo(address, length, host, host_room, service, service_room, flags | NI_NUMERICHOST);
}
