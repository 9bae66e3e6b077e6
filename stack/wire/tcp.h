// The TCP header and its options: RFC 9293 §3.1 and §3.2, RFC 7323, RFC 2018, RFC 7413, RFC 9768, RFC 2385.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/drop.h"
#include "stack/base/result.h"
#include "stack/base/types.h"
#include "stack/wire/checksum.h"

namespace sluice::wire::tcp {

inline constexpr std::size_t kHeaderSize = 20;  // without options
inline constexpr std::size_t kMaxHeaderSize = 60;
inline constexpr std::size_t kMaxOptionSize = 40;
inline constexpr std::size_t kChecksumOffset = 16;

// Control bits, as they stand in the header.
class Flags {
 public:
  static constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64, kCwr = 128;

  constexpr Flags() = default;
  constexpr Flags(int bits) : bits_(static_cast<std::uint8_t>(bits)) {}
  [[nodiscard]] constexpr std::uint8_t bits() const { return bits_; }
  [[nodiscard]] constexpr bool has(std::uint8_t mask) const { return (bits_ & mask) == mask; }
  [[nodiscard]] constexpr bool any(std::uint8_t mask) const { return (bits_ & mask) != 0; }
  [[nodiscard]] constexpr bool fin() const { return has(kFin); }
  [[nodiscard]] constexpr bool syn() const { return has(kSyn); }
  [[nodiscard]] constexpr bool rst() const { return has(kRst); }
  [[nodiscard]] constexpr bool psh() const { return has(kPsh); }
  [[nodiscard]] constexpr bool ack() const { return has(kAck); }
  [[nodiscard]] constexpr bool urg() const { return has(kUrg); }
  constexpr bool operator==(const Flags&) const = default;

 private:
  std::uint8_t bits_ = 0;
};

struct Header {
  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  Flags flags{};
  bool ae = false;           // RFC 9768: the bit before CWR, and with CWR and ECE the ACE field
  std::uint16_t window = 0;  // as in the header: unsigned, unscaled (RFC9293-MUST-1)
  std::uint16_t urgent = 0;
};

// CWR and ECE with the bit before them, as one number: 0 to 7.
inline std::uint8_t ace_of(const Header& h) {
  return static_cast<std::uint8_t>((h.ae ? 4 : 0) | h.flags.bits() >> 6);
}
inline void set_ace(Header& h, std::uint8_t ace) {
  h.ae = (ace & 4) != 0;
  h.flags = Flags((h.flags.bits() & 0x3f) | (ace & 3) << 6);
}

struct Timestamps {
  std::uint32_t value = 0;
  std::uint32_t echo = 0;
  bool operator==(const Timestamps&) const = default;
};

struct SackBlock {
  std::uint32_t left = 0;   // first sequence number of the block
  std::uint32_t right = 0;  // first after it
  bool operator==(const SackBlock&) const = default;
};

// The Fast Open option (RFC 7413 §4.1.1), or the experimental one that came before it (RFC 6994, magic number 0xF989).
struct FastOpenOption {
  static constexpr std::size_t kLeastCookie = 4;
  static constexpr std::size_t kMostCookie = 16;
  enum class Kind : std::uint8_t { kNone, kStandard, kExperimental };

  Kind kind = Kind::kNone;
  std::uint8_t size = 0;                           // of the cookie: 0 asks for one, else 4 to 16 bytes, an even number
  std::array<std::uint8_t, kMostCookie> cookie{};  // the first `size` bytes, others are zero

  [[nodiscard]] bool present() const { return kind != Kind::kNone; }
  bool operator==(const FastOpenOption&) const = default;
};

// Bytes of payload that came in packets of each codepoint, modulo 2^24 (RFC 9768 §3.2.3). Counts stand in this order
// (kind 172) or in the reverse one (kind 174), and those behind `count` are left out; written is the first order only.
struct AccurateEcnOption {
  static constexpr std::uint32_t kMask = 0xffffff;
  static constexpr std::uint8_t kCapable0 = 1, kCongestion = 2, kCapable1 = 4;

  bool present = false;
  std::uint8_t has = 0;  // which are there, a set
  std::uint32_t capable0 = 0, congestion = 0, capable1 = 0;

  bool operator==(const AccurateEcnOption&) const = default;
};

// Known options. Of one that stands there twice the first counts.
struct Options {
  static constexpr std::size_t kMaxSackBlocks = 4;

  bool has_mss = false;
  bool has_window_scale = false;
  bool has_timestamps = false;
  bool sack_permitted = false;
  std::uint16_t mss = 0;
  std::uint8_t window_scale = 0;  // as received; above 14 counts as 14 (RFC7323-09)
  Timestamps timestamps{};
  std::uint8_t sack_count = 0;
  std::array<SackBlock, kMaxSackBlocks> sack{};
  FastOpenOption fast_open{};  // means something in a SYN only
  AccurateEcnOption accurate_ecn{};
  // RFC 2385: where the digest begins, counted from the options; 0: there is none. Written is an empty one, at kMd5At.
  static constexpr std::uint8_t kMd5At = 4;
  static constexpr std::size_t kMd5Size = 16;
  std::uint8_t md5_at = 0;
  bool malformed = false;  // a length of 0, 1 or past the header ended the walk: what follows has no effect
};

struct Segment {
  Header header;
  Bytes options;  // borrowed; see parse_options
  Bytes payload;  // borrowed

  // Sequence numbers it takes (RFC9293-SEQ-03).
  [[nodiscard]] std::uint32_t length() const {
    return static_cast<std::uint32_t>(payload.size()) + (header.flags.syn() ? 1 : 0) + (header.flags.fin() ? 1 : 0);
  }
};

// kTcpMalformed: shorter than its header, or a data offset below 5 or past the end (RFC9293-HDR-01);
// kTcpChecksum (RFC9293-MUST-3).
Result<Segment, Drop> parse(Bytes l4, const Address& source, const Address& destination, ChecksumPolicy policy);

// Never fails and always ends: each step advances (RFC9293-MUST-7). Unknown options are skipped (RFC9293-MUST-6);
// end-of-list, no-operation and MSS are known among others (RFC9293-MUST-4), on any segment (RFC9293-MUST-5) and at any
// alignment (RFC9293-MUST-64).
Options parse_options(Bytes options);

// Bytes of an option list with padding, a multiple of 4.
std::size_t options_size(const Options& options);

// Writes header and options, options_size() more than kHeaderSize, with a checksum field of `checksum`.
// A signature first; SYN options in the usual order MSS, SACK-permitted, timestamps, NOP, window scale, Fast Open;
// others NOP NOP timestamps, NOP NOP SACK; accurate ECN last: each with its length (RFC9293-MUST-68), padded by NOP, so
// that the list fills the header (RFC9293-MUST-69). Reserved bits are zero (RFC9293-HDR-02), but for AE; all octets are
// written.
void emit(MutableBytes out, const Header& header, const Options& options, std::uint16_t checksum = 0);
void store_checksum(MutableBytes header, std::uint16_t checksum);
void store_md5(MutableBytes header, std::span<const std::uint8_t, Options::kMd5Size> digest);  // of one that has it

}  // namespace sluice::wire::tcp
