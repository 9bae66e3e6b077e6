// The only place where bytes become numbers and numbers become bytes. Network order is big-endian.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace sluice {

inline std::uint16_t load_be16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>((p[0] << 8) | p[1]);
}
inline std::uint32_t load_be32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? __builtin_bswap32(v) : v;
}
inline std::uint64_t load_be64(const std::uint8_t* p) {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? __builtin_bswap64(v) : v;
}
inline void store_be16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
inline void store_be32(std::uint8_t* p, std::uint32_t v) {
  v = std::endian::native == std::endian::little ? __builtin_bswap32(v) : v;
  std::memcpy(p, &v, sizeof v);
}
inline void store_be64(std::uint8_t* p, std::uint64_t v) {
  v = std::endian::native == std::endian::little ? __builtin_bswap64(v) : v;
  std::memcpy(p, &v, sizeof v);
}
inline std::uint32_t load_le32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? v : __builtin_bswap32(v);
}
inline void store_le32(std::uint8_t* p, std::uint32_t v) {
  v = std::endian::native == std::endian::little ? v : __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}

}  // namespace sluice
