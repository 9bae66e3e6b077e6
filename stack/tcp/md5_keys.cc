#include "stack/tcp/md5_keys.h"

#include <algorithm>
#include <array>

#include "stack/base/byte_order.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

Status Md5Keys::set(const Md5Key& key) {
  const auto at = std::ranges::find(keys_, key.peers, &Md5Key::peers);
  const bool known = at != keys_.end();
  if (key.secret.empty() && !known) return fail(Errno::kNoSuchFile);
  if (key.secret.empty()) {
    keys_.erase(at);
  } else if (known) {
    at->secret = key.secret;
  } else {
    if (keys_.size() == kMost) return fail(Errno::kNoMemory);
    keys_.push_back(key);
  }
  return {};
}

const Md5Key* Md5Keys::find(const ip::Address& peer) const {
  const Md5Key* best = nullptr;
  for (const Md5Key& key : keys_) {
    if (key.peers.contains(peer) && (best == nullptr || key.peers.length > best->peers.length)) best = &key;
  }
  return best;
}

Md5::Digest sign(const ip::Address& source, const ip::Address& destination, Bytes header,
                 std::span<const Bytes> payload, const Md5Key& key) {
  constexpr std::uint8_t kProtocol = 6;
  constexpr std::size_t kChecksum = wire::tcp::kChecksumOffset;
  std::size_t size = header.size();
  for (const Bytes piece : payload) size += piece.size();
  std::array<std::uint8_t, 4> numbers{0, kProtocol, 0, 0};
  store_be16(numbers.data() + 2, static_cast<std::uint16_t>(size));
  constexpr std::array<std::uint8_t, 2> kNoChecksum{};
  Md5 digest;
  digest.add(source.octets()).add(destination.octets()).add(numbers);
  digest.add(header.first(kChecksum)).add(kNoChecksum).add(header.first(wire::tcp::kHeaderSize).subspan(kChecksum + 2));
  for (const Bytes piece : payload) digest.add(piece);
  return digest.add(key.secret).finish();
}

}  // namespace sluice::tcp
