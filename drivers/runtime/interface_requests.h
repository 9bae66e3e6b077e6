// ioctl(2) about the interfaces of a stack; see netdevice(7).
#pragma once

#include <string>

#include "stack/stack.h"

namespace sluice {

std::string interface_name(ip::InterfaceId id);

bool is_interface_request(unsigned long request);
int answer_interface_request(const ip::Ip& ip, unsigned long request, void* argument);  // -1 and errno

}  // namespace sluice
