#include "stack/wire/icmp.h"

#include <algorithm>
#include <cassert>

#include "stack/base/byte_order.h"

namespace sluice::wire::icmp {

Result<Message, Drop> parse(Bytes l4, ChecksumPolicy policy) {
  if (l4.size() < kHeaderSize) return fail(Drop::kIcmpMalformed);
  if (policy == ChecksumPolicy::kVerify && checksum(l4) != 0) return fail(Drop::kIcmpChecksum);
  return Message{l4[0], l4[1], load_be32(l4.data() + 4), l4.subspan(kHeaderSize)};
}

void emit(MutableBytes out, const Message& message) {
  assert(out.size() >= kHeaderSize);
  out[0] = message.type;
  out[1] = message.code;
  store_be16(out.data() + 2, 0);
  store_be32(out.data() + 4, message.rest);
  store_be16(out.data() + 2, Checksum().add(out.first(kHeaderSize)).add(message.body).finish());
}

Result<Quote, Drop> parse_quote(Bytes body) {
  constexpr std::size_t kMinTransport = 8;  // (RFC1122-ICMP-02)
  if (body.size() < ipv4::kHeaderSize || body[0] >> 4 != 4) return fail(Drop::kIcmpQuote);
  const std::size_t header_size = static_cast<std::size_t>(body[0] & 0xf) * 4;
  if (header_size < ipv4::kHeaderSize || body.size() < header_size + kMinTransport) return fail(Drop::kIcmpQuote);
  const std::uint16_t fragment = load_be16(body.data() + 6);
  const std::uint16_t total = load_be16(body.data() + 2);
  if ((fragment & 0x1fff) != 0 || total < header_size + kMinTransport) return fail(Drop::kIcmpQuote);
  Quote quote;
  quote.header = {.tos = body[1],
                  .total_length = total,
                  .identification = load_be16(body.data() + 4),
                  .dont_fragment = (fragment & 0x4000) != 0,
                  .more_fragments = (fragment & 0x2000) != 0,
                  .fragment_offset = 0,
                  .ttl = body[8],
                  .protocol = body[9],
                  .source = Ipv4Address::load(body.data() + 12),
                  .destination = Ipv4Address::load(body.data() + 16)};
  quote.transport = body.subspan(header_size, std::min(body.size(), std::size_t{total}) - header_size);
  return quote;
}

}  // namespace sluice::wire::icmp
