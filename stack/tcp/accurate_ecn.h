// The counts of accurate ECN (RFC 9768 §3.2) of one connection: what has come in marked and is told to the peer, and
// what the peer tells of what we have sent. It counts; the connection acts (ecn.cc).
#pragma once

#include <cstdint>
#include <optional>

#include "stack/wire/tcp.h"

namespace sluice::tcp {

// How a SYN-ACK, or the ACK of one, says with which codepoint the SYN, or the SYN-ACK, came in (RFC9768-02, -10).
std::uint8_t reflected(std::uint8_t codepoint);

class AccurateEcn {
 public:
  // --- of what the peer sends
  // The SYN-ACK, with this codepoint: the next ACK says so (RFC9768-10).
  void on_syn_ack(std::uint8_t codepoint);
  // `packets` acceptable ones with this codepoint and so much payload in all, SYNs not (RFC9768-09).
  void count(std::uint8_t codepoint, std::uint32_t packets, std::uint32_t bytes);
  // So many marks that an ACK should go at once; or the marks have begun (RFC9768-11, -12).
  [[nodiscard]] bool ack_due(bool data_waits) const;
  [[nodiscard]] bool seen() const { return seen_; }  // something ECN-capable has come in

  // --- of what we say
  // Of the next segment (RFC9768-08); that which answers the SYN-ACK never has data.
  [[nodiscard]] std::uint8_t ace();
  [[nodiscard]] std::uint8_t ace_next() const { return static_cast<std::uint8_t>(marks_ & 7); }
  [[nodiscard]] bool option_due() const { return option_due_; }  // (RFC9768-14)
  [[nodiscard]] wire::tcp::AccurateEcnOption option() const;
  void on_option_sent() { option_due_ = false; }
  void on_ack_sent() { marks_since_ack_ = 0; }

  // --- of what the peer says
  // The ACK of our SYN-ACK, or the first segment without SYN. Zero there: somebody clears the bits (RFC 9768 §3.2.2.4).
  void on_first(std::uint8_t ace, bool bare);
  // A SYN that went out without a codepoint came in with another one, as the answer says: somebody sets them.
  void on_answer(std::uint8_t ace);
  [[nodiscard]] bool first_seen() const { return first_seen_; }
  [[nodiscard]] bool mangled() const { return mangled_; }  // nothing is sent ECN-capable then, and no mark believed

  struct News {
    std::uint32_t packets = 0;  // marked, since the last time
    std::uint32_t bytes = 0;
  };
  // An ACK that delivers so many bytes, in segments of at most `mss`.
  void on_ack(std::uint8_t ace, const wire::tcp::AccurateEcnOption& option, std::uint32_t bytes, std::uint32_t mss);
  [[nodiscard]] const News& news() const { return news_; }  // of the segment at hand
  void forget_news() { news_ = {}; }

  struct Totals {  // for people
    std::uint32_t received_marks = 0, received_capable0 = 0, received_capable1 = 0, received_marked = 0;
    std::uint32_t delivered_marks = 0, delivered_capable0 = 0, delivered_capable1 = 0, delivered_marked = 0;
    bool option_seen = false;
  };
  [[nodiscard]] Totals totals() const;

 private:
  void take_option(const wire::tcp::AccurateEcnOption& option);

  static constexpr std::uint32_t kFirst = 5;  // (RFC9768-07)

  std::uint32_t marks_ = kFirst;  // packets that came in marked
  std::uint32_t capable0_ = 1, congestion_ = 0, capable1_ = 1;
  std::uint32_t marks_since_ack_ = 0;
  std::optional<std::uint8_t> reply_;  // to the SYN-ACK, until it is sent
  bool seen_ = false;
  bool last_marked_ = false;
  bool begun_ = false;  // the marks have, with the last packet
  bool option_due_ = true;

  std::uint32_t peer_marks_ = kFirst;
  std::uint32_t peer_capable0_ = 1, peer_congestion_ = 0, peer_capable1_ = 1;
  std::uint32_t estimated_ = 0;  // bytes already taken for marked, which no option has confirmed
  News news_;
  bool first_seen_ = false;
  bool mangled_ = false;
  bool option_seen_ = false;
  bool option_bad_ = false;
};

}  // namespace sluice::tcp
