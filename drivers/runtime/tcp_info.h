// struct tcp_info, as getsockopt(TCP_INFO) gives it on Linux.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/socket/sockets.h"

namespace sluice {

inline constexpr std::size_t kTcpInfoSize = 280;  // of Linux 6.18

// Fields of what is not measured are 0.
std::array<std::uint8_t, kTcpInfoSize> tcp_info_of(const tcp::Info& info);

}  // namespace sluice
