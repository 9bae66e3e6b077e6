#include "stack/wire/ipv4.h"

#include <algorithm>
#include <cassert>

#include "stack/base/byte_order.h"

namespace sluice::wire::ipv4 {
namespace {

constexpr std::uint16_t kDontFragment = 0x4000;
constexpr std::uint16_t kMoreFragments = 0x2000;
constexpr std::uint16_t kOffsetMask = 0x1fff;

constexpr std::uint8_t kEndOfList = 0;
constexpr std::uint8_t kNoOperation = 1;
constexpr std::uint8_t kLooseSourceRoute = 131;
constexpr std::uint8_t kStrictSourceRoute = 137;

}  // namespace

Result<Packet, Drop> parse(Bytes p, ChecksumPolicy policy) {
  if (p.empty()) return fail(Drop::kIpTruncated);
  if (p[0] >> 4 != 4) return fail(Drop::kIpVersion);
  if (p.size() < kHeaderSize) return fail(Drop::kIpTruncated);
  const std::size_t header_size = static_cast<std::size_t>(p[0] & 0xf) * 4;
  if (header_size < kHeaderSize || header_size > p.size()) return fail(Drop::kIpHeaderLength);
  const std::uint16_t total = load_be16(p.data() + 2);
  if (total < header_size || total > p.size()) return fail(Drop::kIpTruncated);
  if (policy == ChecksumPolicy::kVerify && checksum(p.first(header_size)) != 0) return fail(Drop::kIpChecksum);
  const std::uint16_t fragment = load_be16(p.data() + 6);
  Packet out;
  out.header = {.tos = p[1],
                .total_length = total,
                .identification = load_be16(p.data() + 4),
                .dont_fragment = (fragment & kDontFragment) != 0,
                .more_fragments = (fragment & kMoreFragments) != 0,
                .fragment_offset = static_cast<std::uint16_t>((fragment & kOffsetMask) * 8),
                .ttl = p[8],
                .protocol = p[9],
                .source = Ipv4Address::load(p.data() + 12),
                .destination = Ipv4Address::load(p.data() + 16)};
  out.options = p.subspan(kHeaderSize, header_size - kHeaderSize);
  out.payload = p.subspan(header_size, total - header_size);
  return out;
}

void emit(MutableBytes out, const Header& h, Bytes options) {
  const std::size_t size = kHeaderSize + options.size();
  assert(out.size() >= size && size % 4 == 0 && h.fragment_offset % 8 == 0);
  out[0] = static_cast<std::uint8_t>(0x40 | size / 4);
  out[1] = h.tos;
  store_be16(out.data() + 2, h.total_length);
  store_be16(out.data() + 4, h.identification);
  store_be16(out.data() + 6,  // the reserved flag is 0 (RFC791-12)
             static_cast<std::uint16_t>((h.dont_fragment ? kDontFragment : 0) |
                                        (h.more_fragments ? kMoreFragments : 0) | h.fragment_offset / 8));
  out[8] = h.ttl;
  out[9] = h.protocol;
  store_be16(out.data() + 10, 0);
  h.source.store(out.data() + 12);
  h.destination.store(out.data() + 16);
  std::copy(options.begin(), options.end(), out.begin() + kHeaderSize);
  store_be16(out.data() + 10, checksum(out.first(size)));  // (RFC791-10)
}

Ecn ecn_of(Bytes packet) {
  return static_cast<Ecn>(packet[1] & 3);
}

bool mark_congestion(MutableBytes packet) {
  if (ecn_of(packet) == Ecn::kNotCapable) return false;
  const std::uint16_t before = load_be16(packet.data());
  packet[1] |= static_cast<std::uint8_t>(Ecn::kCongestion);
  const std::uint16_t sum = load_be16(packet.data() + 10);
  store_be16(packet.data() + 10, update_checksum(sum, before, load_be16(packet.data())));
  return true;
}

OptionResult check_options(Bytes options) {
  std::size_t i = 0;
  while (i < options.size() && options[i] != kEndOfList) {  // (RFC791-11)
    if (options[i] == kNoOperation) {
      ++i;
      continue;
    }
    if (i + 1 >= options.size() || options[i + 1] < 2 || i + options[i + 1] > options.size()) {
      return {OptionCheck::kMalformed, static_cast<std::uint8_t>(kHeaderSize + i)};
    }
    if (options[i] == kLooseSourceRoute || options[i] == kStrictSourceRoute) return {OptionCheck::kSourceRoute, 0};
    i += options[i + 1];
  }
  return {};
}

}  // namespace sluice::wire::ipv4
