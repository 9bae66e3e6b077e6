// TCP Fast Open: RFC 7413. What its two sides decide with, apart from any connection: the server's cookies and its
// limit of handshakes that are not complete; the client's memory of cookies, sizes and failures. What they do with it
// is in fast_open_io.cc.
#pragma once

#include <cstdint>
#include <memory>

#include "stack/base/context.h"
#include "stack/base/ring.h"
#include "stack/base/siphash.h"
#include "stack/ip/types.h"
#include "stack/tcp/options.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

using wire::tcp::FastOpenOption;

// A message authentication code of both addresses, 8 bytes (RFC7413-03). Linux computes the same, so servers of either
// kind with one key can stand behind one address.
FastOpenOption fast_open_cookie(const SipKey& key, const ip::Address& client, const ip::Address& server);

enum class FastOpenVerdict : std::uint8_t {
  kGood,
  kOld,  // made with the key before: good, but the client should have a new one
  kBad,
};
FastOpenVerdict judge_cookie(const FastOpenOption& shown, const FastOpenKeys& keys, const ip::Address& client,
                             const ip::Address& server);

// Keys of the stack's own, for listeners that were given none. A cookie is good for one to two lifetimes of a key
// (RFC7413-03).
class FastOpenSecret {
 public:
  static constexpr Duration kLifetime = Duration::seconds(24 * 3600);

  explicit FastOpenSecret(Context& context) : context_(context) {}
  const FastOpenKeys& keys();  // at this time

 private:
  Context& context_;
  FastOpenKeys keys_{};
  Instant next_ = Instant::past();
};

// How many connections of one listener have taken data from a SYN while their handshake is not complete (RFC7413-06).
// One that the peer resets still counts for a while: else who opens and resets would never meet the limit (RFC 7413
// §5.1).
class FastOpenQueue {
 public:
  static constexpr Duration kResetCounts = 60_s;

  std::uint32_t limit = 0;  // 0: no data is taken from a SYN (RFC7413-01)

  [[nodiscard]] bool has_room(Instant now);
  void enter() { ++pending_; }
  void leave() { --pending_; }
  void leave_after_reset(Instant now);

 private:
  std::size_t pending_ = 0;
  Ring<Instant> resets_;  // until when each counts
};

}  // namespace sluice::tcp
