// Packets in words, for `sluice dump` and for people who read traces. One line a packet as tcpdump has it, or every
// field of every layer with indentation, so that encapsulation is visible.
#pragma once

#include <cstdint>
#include <string>

#include "stack/base/types.h"

namespace sluice::wire {

enum class Layer : std::uint8_t { kEthernet, kIp };  // what a frame begins with

std::string print_line(Bytes frame, Layer first);
std::string print_layers(Bytes frame, Layer first);  // several lines, each ended

// What a ladder diagram needs of a packet.
struct Summary {
  std::string source;       // "10.0.0.1", or a MAC
  std::string destination;
  std::string what;         // "SYN seq=0", "ARP who has 10.0.0.2?"
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::size_t payload = 0;  // bytes of TCP or UDP data
  bool plain_data = false;  // a TCP segment that only carries data or an ACK: a ladder may fold it
};
Summary summarize(Bytes frame, Layer first);

}  // namespace sluice::wire
