#include "stack/wire/address.h"

#include <charconv>
#include <optional>

namespace sluice::wire {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void append_number(Text& text, std::uint32_t value, int base = 10) {
  std::array<char, 12> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
  text.append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

// The whole of `text` as a number of at most `most`, without sign; empty text is none.
std::optional<std::uint32_t> number(std::string_view text, std::uint32_t most, int base = 10) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return {};
  return value;
}

std::uint16_t group_of(const Ipv6Address& a, std::size_t i) {
  return load_be16(a.octets.data() + 2 * i);
}

struct Run {
  std::size_t begin = 8;
  std::size_t length = 0;
};

// The run of zero groups that "::" stands for: the longest, the first among equals, at least two (RFC 5952 §4.2).
Run longest_zero_run(const Ipv6Address& a) {
  Run best;
  for (std::size_t i = 0; i < 8;) {
    std::size_t end = i;
    while (end < 8 && group_of(a, end) == 0) ++end;
    if (end - i >= 2 && end - i > best.length) best = {i, end - i};
    i = end + 1;
  }
  return best;
}

// Groups of one side of "::"; the last may be a dotted IPv4 address. Returns how many, or nothing if malformed.
std::optional<std::size_t> parse_groups(std::string_view text, std::array<std::uint16_t, 8>& groups) {
  std::size_t count = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view part = text.substr(0, colon);
    if (colon == std::string_view::npos && part.find('.') != std::string_view::npos) {
      const auto v4 = parse_ipv4(part);
      if (!v4 || count > 6) return {};
      groups[count++] = static_cast<std::uint16_t>(v4->value >> 16);
      groups[count++] = static_cast<std::uint16_t>(v4->value);
      return count;
    }
    const auto value = part.size() <= 4 ? number(part, 0xffff, 16) : std::nullopt;
    if (!value || count == 8) return {};
    groups[count++] = static_cast<std::uint16_t>(*value);
    if (colon == std::string_view::npos) return count;
    text.remove_prefix(colon + 1);
    if (text.empty()) return {};  // ends with a colon
  }
  return count;
}

}  // namespace

bool Prefix::contains(const Address& other) const {
  if (other.family() != address.family()) return false;
  const Bytes a = address.octets();
  const Bytes b = other.octets();
  const std::size_t whole = length / 8u;
  if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) return false;
  const unsigned rest = length % 8u;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

void Text::append(std::string_view s) {
  const std::size_t n = std::min(s.size(), chars_.size() - 1 - size_);
  std::copy_n(s.begin(), n, chars_.begin() + static_cast<std::ptrdiff_t>(size_));
  size_ += n;
}

Text to_text(const MacAddress& mac) {
  Text text;
  for (std::size_t i = 0; i < 6; ++i) {
    if (i > 0) text.append(":");
    text.append(kHexDigits.substr(mac.octets[i] >> 4, 1));
    text.append(kHexDigits.substr(mac.octets[i] & 15, 1));
  }
  return text;
}

Text to_text(const Ipv4Address& address) {
  Text text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (shift < 24) text.append(".");
    append_number(text, address.value >> shift & 0xff);
  }
  return text;
}

Text to_text(const Ipv6Address& address) {
  Text text;
  if (address.is_v4_mapped()) {
    text.append("::ffff:");
    text.append(to_text(Ipv4Address::load(address.octets.data() + 12)).view());
    return text;
  }
  const Run zeros = longest_zero_run(address);
  for (std::size_t i = 0; i < 8;) {
    if (i == zeros.begin) {
      text.append("::");
      i += zeros.length;
      continue;
    }
    if (i > 0 && i != zeros.begin + zeros.length) text.append(":");
    append_number(text, group_of(address, i), 16);
    ++i;
  }
  return text;
}

Text to_text(const Address& address) {
  return address.is_v4() ? to_text(address.v4()) : to_text(address.v6());
}

Text to_text(const Endpoint& endpoint) {
  Text text;
  if (endpoint.address.is_v6()) text.append("[");
  text.append(to_text(endpoint.address).view());
  text.append(endpoint.address.is_v6() ? "]:" : ":");
  append_number(text, endpoint.port);
  return text;
}

Text to_text(const Prefix& prefix) {
  Text text = to_text(prefix.address);
  text.append("/");
  append_number(text, prefix.length);
  return text;
}

Result<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac;
  if (text.size() != 17) return fail(Errno::kInvalid);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto octet = number(text.substr(3 * i, 2), 0xff, 16);
    if (!octet || (i < 5 && text[3 * i + 2] != ':')) return fail(Errno::kInvalid);
    mac.octets[i] = static_cast<std::uint8_t>(*octet);
  }
  return mac;
}

Result<Ipv4Address> parse_ipv4(std::string_view text) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const std::size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos || dot > 3) return fail(Errno::kInvalid);
    const auto octet = number(text.substr(0, dot), 255);
    if (!octet || (dot > 1 && text[0] == '0')) return fail(Errno::kInvalid);  // a leading zero reads as octal to some
    value = value << 8 | *octet;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return Ipv4Address{value};
}

Result<Ipv6Address> parse_ipv6(std::string_view text) {
  std::array<std::uint16_t, 8> head{};
  std::array<std::uint16_t, 8> tail{};
  const std::size_t gap = text.find("::");
  const auto heads = parse_groups(text.substr(0, gap), head);
  std::optional<std::size_t> tails = 0;
  if (gap != std::string_view::npos) tails = parse_groups(text.substr(gap + 2), tail);
  if (!heads || !tails) return fail(Errno::kInvalid);
  const bool complete = gap == std::string_view::npos ? *heads == 8 : *heads + *tails <= 7;
  if (!complete) return fail(Errno::kInvalid);
  std::copy_n(tail.begin(), *tails, head.end() - static_cast<std::ptrdiff_t>(*tails));
  Ipv6Address address;
  for (std::size_t i = 0; i < 8; ++i) store_be16(address.octets.data() + 2 * i, head[i]);
  return address;
}

Result<Address> parse_address(std::string_view text) {
  if (text.find(':') != std::string_view::npos) {
    const auto v6 = parse_ipv6(text);
    if (!v6) return fail(v6.error());
    return Address(*v6);
  }
  const auto v4 = parse_ipv4(text);
  if (!v4) return fail(v4.error());
  return Address(*v4);
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(Errno::kInvalid);
  const auto port = number(text.substr(colon + 1), 65535);
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = parse_address(host);
  if (!port || !address || address->is_v6() != bracketed) return fail(Errno::kInvalid);
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

Result<Prefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return fail(Errno::kInvalid);
  const std::uint32_t bits = address->is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return Prefix{*address, static_cast<std::uint8_t>(bits)};
  const auto length = number(text.substr(slash + 1), bits);
  if (!length) return fail(Errno::kInvalid);
  return Prefix{*address, static_cast<std::uint8_t>(*length)};
}

MacAddress multicast_mac(const Address& group) {
  if (group.is_v6()) {  // RFC 2464 §7 (RFC2464-01)
    const auto& o = group.v6().octets;
    return {{0x33, 0x33, o[12], o[13], o[14], o[15]}};
  }
  const std::uint32_t v = group.v4().value;  // RFC 1112 §6.4: the low 23 bits
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(v >> 16 & 0x7f), static_cast<std::uint8_t>(v >> 8),
           static_cast<std::uint8_t>(v)}};
}

}  // namespace sluice::wire
