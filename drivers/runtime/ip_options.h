// Options about datagrams that need more than a number of the stack: what is told with each (ancillary.h), and
// multicast groups; see ip(7) and socket(7).
#pragma once

#include <sys/socket.h>

#include <optional>

#include "drivers/runtime/system_types.h"

namespace sluice {

// The result of the call; nothing: it is another option.
std::optional<int> set_datagram_option(const SocketRef& socket, int level, int name, const void* value,
                                       socklen_t length);
std::optional<int> get_datagram_option(const SocketRef& socket, int level, int name, void* value, socklen_t* length);

// What `index` is to a program: 0 is no choice. kNoDevice: there is none like that.
Result<ip::InterfaceId> interface_number(const ip::Ip& ip, int index);

}  // namespace sluice
