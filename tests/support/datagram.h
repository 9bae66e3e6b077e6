// A UDP packet as bytes, for tests of what carries packets.
#pragma once

#include <vector>

#include "stack/base/byte_order.h"
#include "stack/wire/ipv4.h"

namespace sluice::test {

struct DatagramFields {
  std::uint16_t source_port = 1;
  std::size_t size = 1500;  // of the IP packet, at least 28
  wire::ipv4::Ecn ecn = wire::ipv4::Ecn::kNotCapable;
};

inline std::vector<std::uint8_t> datagram(const DatagramFields& fields) {
  std::vector<std::uint8_t> bytes(fields.size);
  wire::ipv4::emit(bytes, {.tos = static_cast<std::uint8_t>(fields.ecn),
                           .total_length = static_cast<std::uint16_t>(fields.size),
                           .ttl = 64,
                           .protocol = 17,
                           .source = wire::Ipv4Address::of(10, 1, 0, 1),
                           .destination = wire::Ipv4Address::of(10, 2, 0, 1)});
  store_be16(bytes.data() + 20, fields.source_port);
  store_be16(bytes.data() + 22, 9);
  store_be16(bytes.data() + 24, static_cast<std::uint16_t>(fields.size - 20));
  return bytes;
}

}  // namespace sluice::test
