// Address values: MAC, IPv4, IPv6, the dual-stack Address that everything above stack/ip uses, and Endpoint.
// Plain values in network byte order, comparable, printable. Text forms: RFC 4291 §2.2, RFC 5952 §4.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "stack/base/byte_order.h"
#include "stack/base/result.h"
#include "stack/base/types.h"

namespace sluice::wire {

struct MacAddress {
  std::array<std::uint8_t, 6> octets{};

  static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  static MacAddress load(const std::uint8_t* p) {
    MacAddress m;
    std::memcpy(m.octets.data(), p, 6);
    return m;
  }
  void store(std::uint8_t* p) const { std::memcpy(p, octets.data(), 6); }
  [[nodiscard]] bool is_group() const { return (octets[0] & 1) != 0; }
  [[nodiscard]] bool is_broadcast() const { return *this == broadcast(); }
  [[nodiscard]] bool is_zero() const { return *this == MacAddress{}; }
  auto operator<=>(const MacAddress&) const = default;
};

struct Ipv4Address {
  std::uint32_t value = 0;  // host order: 192.0.2.1 is 0xc0000201

  static constexpr Ipv4Address of(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    return {static_cast<std::uint32_t>(a) << 24 | static_cast<std::uint32_t>(b) << 16 |
            static_cast<std::uint32_t>(c) << 8 | d};
  }
  static constexpr Ipv4Address any() { return {}; }
  static constexpr Ipv4Address broadcast() { return {0xffffffff}; }
  static constexpr Ipv4Address loopback() { return {0x7f000001}; }
  static Ipv4Address load(const std::uint8_t* p) { return {load_be32(p)}; }
  void store(std::uint8_t* p) const { store_be32(p, value); }

  [[nodiscard]] constexpr bool is_any() const { return value == 0; }
  [[nodiscard]] constexpr bool is_this_network() const { return (value >> 24) == 0; }  // 0/8
  [[nodiscard]] constexpr bool is_loopback() const { return (value >> 24) == 127; }
  [[nodiscard]] constexpr bool is_multicast() const { return (value >> 28) == 0xe; }
  [[nodiscard]] constexpr bool is_class_e() const { return (value >> 28) == 0xf; }  // includes the broadcast
  [[nodiscard]] constexpr bool is_broadcast() const { return value == 0xffffffff; }
  [[nodiscard]] constexpr bool is_link_local() const { return (value >> 16) == 0xa9fe; }
  auto operator<=>(const Ipv4Address&) const = default;
};

struct Ipv6Address {
  std::array<std::uint8_t, 16> octets{};

  static Ipv6Address load(const std::uint8_t* p) {
    Ipv6Address a;
    std::memcpy(a.octets.data(), p, 16);
    return a;
  }
  void store(std::uint8_t* p) const { std::memcpy(p, octets.data(), 16); }
  [[nodiscard]] bool is_any() const { return *this == Ipv6Address{}; }
  [[nodiscard]] bool is_loopback() const {
    return *this == Ipv6Address{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  }
  [[nodiscard]] bool is_multicast() const { return octets[0] == 0xff; }
  [[nodiscard]] bool is_link_local() const { return octets[0] == 0xfe && (octets[1] & 0xc0) == 0x80; }
  [[nodiscard]] bool is_v4_mapped() const {
    return std::all_of(octets.begin(), octets.begin() + 10, [](std::uint8_t b) { return b == 0; }) &&
           octets[10] == 0xff && octets[11] == 0xff;
  }
  auto operator<=>(const Ipv6Address&) const = default;
};

enum class Family : std::uint8_t { kV4, kV6 };

// Either family in one value. An IPv4 address sits in the last four octets of its IPv4-mapped form.
class Address {
 public:
  Address() : Address(Ipv4Address{}) {}
  Address(Ipv4Address v4) : family_(Family::kV4) {
    bytes_.octets[10] = bytes_.octets[11] = 0xff;
    v4.store(bytes_.octets.data() + 12);
  }
  Address(const Ipv6Address& v6) : bytes_(v6), family_(Family::kV6) {}

  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] bool is_v4() const { return family_ == Family::kV4; }
  [[nodiscard]] bool is_v6() const { return family_ == Family::kV6; }
  [[nodiscard]] Ipv4Address v4() const { return Ipv4Address::load(bytes_.octets.data() + 12); }  // is_v4() only
  [[nodiscard]] const Ipv6Address& v6() const { return bytes_; }
  // The octets as they stand in a header: 4 or 16.
  [[nodiscard]] Bytes octets() const {
    return is_v4() ? Bytes(bytes_.octets.data() + 12, 4) : Bytes(bytes_.octets.data(), 16);
  }
  static Address any(Family f) { return f == Family::kV4 ? Address(Ipv4Address{}) : Address(Ipv6Address{}); }

  [[nodiscard]] bool is_any() const { return is_v4() ? v4().is_any() : v6().is_any(); }
  [[nodiscard]] bool is_loopback() const { return is_v4() ? v4().is_loopback() : v6().is_loopback(); }
  [[nodiscard]] bool is_multicast() const { return is_v4() ? v4().is_multicast() : v6().is_multicast(); }
  auto operator<=>(const Address&) const = default;

 private:
  Ipv6Address bytes_;
  Family family_{};
};

struct Endpoint {
  Address address{};
  std::uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};

// An address with a prefix length, "192.0.2.1/24": an interface's address or a route's destination.
struct Prefix {
  Address address{};
  std::uint8_t length = 0;                                  // 0..32 or 0..128
  [[nodiscard]] bool contains(const Address& other) const;  // same family and same first `length` bits
  auto operator<=>(const Prefix&) const = default;
};

// Text in a fixed array, so that printing needs no heap: `to_text(a).view()`.
class Text {
 public:
  Text() = default;
  [[nodiscard]] std::string_view view() const { return {chars_.data(), size_}; }
  [[nodiscard]] const char* c_str() const { return chars_.data(); }
  void append(std::string_view s);  // cut at the capacity

 private:
  std::array<char, 72> chars_{};
  std::size_t size_ = 0;
};

Text to_text(const MacAddress& mac);       // 02:00:00:00:00:01
Text to_text(const Ipv4Address& address);  // 192.0.2.1
Text to_text(const Ipv6Address& address);  // 2001:db8::1 (RFC 5952)
Text to_text(const Address& address);
Text to_text(const Endpoint& endpoint);  // 192.0.2.1:80, [2001:db8::1]:80
Text to_text(const Prefix& prefix);      // 192.0.2.0/24

// kInvalid unless the whole text is exactly one value.
Result<MacAddress> parse_mac(std::string_view text);
Result<Ipv4Address> parse_ipv4(std::string_view text);
Result<Ipv6Address> parse_ipv6(std::string_view text);
Result<Address> parse_address(std::string_view text);
Result<Endpoint> parse_endpoint(std::string_view text);  // host:port, [v6]:port
Result<Prefix> parse_prefix(std::string_view text);      // without "/len": the host's own length

// Group addresses to MAC: RFC 1112 §6.4, RFC 2464 §7.
MacAddress multicast_mac(const Address& group);

}  // namespace sluice::wire
