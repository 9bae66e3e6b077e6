// Explicit congestion notification of one connection, once both ends have agreed to it: RFC 3168 §6.1, and the exact
// echo of RFC 8257 §3.2 where the controller wants that. It keeps what is to be echoed and answered; the connection
// acts (ecn.cc). The counts of RFC 9768 are in accurate_ecn.h.
#pragma once

#include <cstdint>

#include "stack/tcp/options.h"
#include "stack/wire/tcp.h"

namespace sluice::tcp {

inline constexpr std::uint8_t kEcnMask = 3;  // of an IP header's TOS byte
inline constexpr std::uint8_t kEcnCapable0 = 2;
inline constexpr std::uint8_t kEcnCongestion = 3;

enum class EcnMode : std::uint8_t { kNone, kClassic, kAccurate };  // RFC 3168, RFC 9768

// What our SYN asks for, and what we agree to when one comes.
EcnUse ecn_wanted(const ConnectionOptions& options, const TcpConfig& config);
EcnMode ecn_agreed(const wire::tcp::Header& syn, const ConnectionOptions& options, const TcpConfig& config);
// The ACE field of a SYN-ACK for a SYN that came in with this codepoint.
std::uint8_t ecn_answer(EcnMode agreed, std::uint8_t codepoint);

enum class EcnEcho : std::uint8_t {
  kUntilReduced,  // RFC 3168: on every segment until CWR comes
  kExact,         // RFC 8257: on the ACKs of marked segments only
};

class Ecn {
 public:
  // --- of what the peer sends
  // True: what was to be echoed has changed.
  bool on_data(std::uint8_t codepoint, bool reduced, EcnEcho how) {
    const bool before = echo_;
    const bool marked = codepoint == kEcnCongestion;
    if (how == EcnEcho::kExact) {
      echo_ = marked;
    } else {
      if (reduced) echo_ = false;  // CWR
      if (marked) echo_ = true;    // (RFC3168-10)
    }
    seen_ |= codepoint != 0;
    return echo_ != before;
  }
  [[nodiscard]] bool echo() const { return echo_; }
  [[nodiscard]] bool seen() const { return seen_; }  // the peer sends ECN-capable packets

  // --- of what we send
  void on_reduction() { reduced_ = true; }
  // Whether new data has to carry CWR: once after each reduction (RFC3168-09).
  bool take_reduced() {
    const bool reduced = reduced_;
    reduced_ = false;
    return reduced;
  }

 private:
  bool echo_ = false;
  bool reduced_ = false;
  bool seen_ = false;
};

}  // namespace sluice::tcp
