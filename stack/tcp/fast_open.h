// TCP Fast Open: RFC 7413. What its two sides decide with, apart from any connection: the server's cookies and its
// limit of handshakes that are not complete; the client's memory of cookies, sizes and failures. What they do with it
// is in fast_open_io.cc.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

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

// --- the client

// What servers have said, and when none of it is used for a while. Bounded; its slots are chosen by a keyed hash, and
// of those that one server can have the longest unused gives way.
class FastOpenCache {
 public:
  static constexpr std::size_t kMost = 512;      // servers
  static constexpr std::uint8_t kPatience = 2;   // failures in a row before a server is left in peace
  static constexpr Duration kFirstRest = 120_s;  // then; twice as long with each that follows
  static constexpr int kMostDoublings = 6;

  explicit FastOpenCache(Context& context);

  // What a SYN to this server says: its cookie, the request for one, or nothing (RFC7413-04, -05).
  [[nodiscard]] FastOpenOption option_for(const ip::Address& server) const;
  [[nodiscard]] std::uint16_t mss_of(const ip::Address& server) const;  // in its last SYN-ACK; 0: not known
  // Whether data in a SYN has failed on the way to this server, or everywhere, of late.
  [[nodiscard]] bool resting(const ip::Address& server) const;

  enum class Outcome : std::uint8_t {
    kAnswered,
    kNoCookie,  // asked for, and not given: there is another way to ask
    kLost,      // the data in the SYN, it seems: the handshake came to its end without it
  };
  void on_syn_ack(const ip::Address& server, std::uint16_t mss, const FastOpenOption& sent, const FastOpenOption& got,
                  Outcome outcome);
  void on_failure(const ip::Address& server);  // no answer, or an error on the way
  // Several timeouts in a row: somebody near drops what has to do with it. `first`: for how long the first time; 0: not
  // at all.
  void on_black_hole(Duration first);
  void on_success();  // of data in a SYN
  void clear();

 private:
  enum class Form : std::uint8_t { kStandard, kExperimental, kOnlyStandard };  // of the next request
  struct Server {
    ip::Address address;
    std::uint16_t mss = 0;  // 0: free
    Form form = Form::kStandard;
    std::uint8_t failures = 0;
    FastOpenOption cookie{};  // kNone: none
    Instant failed_at{};
    Instant used_at{};
  };
  static constexpr std::size_t kWays = 4;

  [[nodiscard]] std::size_t set_of(const ip::Address& server) const;
  [[nodiscard]] const Server* find(const ip::Address& server) const;
  Server& obtain(const ip::Address& server);

  Context& context_;
  SipKey key_{};
  std::vector<Server> servers_;  // empty until something is known
  int black_holes_ = 0;
  Instant rest_until_ = Instant::past();
};

}  // namespace sluice::tcp
