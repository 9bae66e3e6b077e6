#include "stack/wire/igmp.h"

#include <cassert>

#include "stack/base/byte_order.h"
#include "stack/wire/checksum.h"

namespace sluice::wire::igmp {

Result<Message, Drop> parse(Bytes l4) {
  if (l4.size() < kSize) return fail(Drop::kIgmpMalformed);
  if (checksum(l4) != 0) return fail(Drop::kIgmpChecksum);
  return Message{l4[0], l4[1], Ipv4Address::load(l4.data() + 4)};
}

void emit(MutableBytes out, const Message& message) {
  assert(out.size() >= kSize);
  out[0] = message.type;
  out[1] = message.max_response;
  store_be16(out.data() + 2, 0);
  message.group.store(out.data() + 4);
  store_be16(out.data() + 2, checksum(out.first(kSize)));
}

}  // namespace sluice::wire::igmp
