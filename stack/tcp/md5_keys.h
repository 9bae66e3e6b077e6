// The MD5 signature option, RFC 2385: who signs with which key, and what a signature is. Each segment to and from a
// peer for whom there is a key carries a digest of it and of the key; what carries none, or a wrong one, is dropped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "stack/base/md5.h"
#include "stack/ip/types.h"

namespace sluice::tcp {

struct Md5Key {
  static constexpr std::size_t kLongest = 80;  // bytes, as on Linux

  ip::Prefix peers;
  std::vector<std::uint8_t> secret;
};

// Those of one socket.
class Md5Keys {
 public:
  static constexpr std::size_t kMost = 512;

  // One for the same prefix is replaced; without a secret it is taken away. kNoSuchFile: there is none; kNoMemory: too
  // many.
  Status set(const Md5Key& key);
  [[nodiscard]] bool empty() const { return keys_.empty(); }
  [[nodiscard]] const Md5Key* find(const ip::Address& peer) const;  // of the longest prefix; null: none

 private:
  std::vector<Md5Key> keys_;
};

// That which counts for the peer, of a socket's keys or none; null: there is none.
[[nodiscard]] inline const Md5Key* key_for(const std::shared_ptr<const Md5Keys>& keys, const ip::Address& peer) {
  return keys != nullptr ? keys->find(peer) : nullptr;
}

// RFC 2385 §2.0: over the pseudo-header, the header without its options and with a checksum of zero, the data, and the
// key. `header` has its options.
[[nodiscard]] Md5::Digest sign(const ip::Address& source, const ip::Address& destination, Bytes header,
                               std::span<const Bytes> payload, const Md5Key& key);

}  // namespace sluice::tcp
