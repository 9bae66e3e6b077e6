// What is in flight: a record for each transmission, from SND.UNA to the end of what was sent (RFC 2018 §5, RFC 6675 §3
// and §4, RFC 8985 §4; RFC2018-10, RFC6675-01). It keeps facts and counts; which segment counts as lost is for others
// to say, by a rule on those facts.
//
// One record is one transmission, up to 64 KiB of it, and is cut when its parts fare differently; SACKed neighbours
// become one. So there are at most two records for each hole and one for each transmission beyond the last of them,
// and what an ACK costs is the number of records it changes, with the logarithm of their number to find them.
#pragma once

#include <cstdint>
#include <memory>

#include "stack/base/time.h"
#include "stack/tcp/seq.h"

namespace sluice::tcp {

// What the sender knew when it sent a segment; delivery rates are computed from it (delivery_rate.h).
struct SendStamp {
  Instant at{};                 // when
  Instant delivered_at{};       // when the latest byte had been delivered
  Instant burst_began_at{};     // when the latest delivered segment had been sent
  std::uint32_t delivered = 0;  // bytes, modulo 2^32
  std::uint32_t lost = 0;       // likewise
  bool app_limited = false;
};

struct Sent {
  enum class State : std::uint8_t { kInFlight, kLost, kSacked };

  SendStamp stamp{};  // of the latest transmission
  Seq begin{};
  std::uint32_t length = 0;          // sequence numbers: a FIN is one
  std::uint32_t sent_in_flight = 0;  // bytes in flight with it
  State state = State::kInFlight;
  bool retransmitted = false;
  bool pushed = false;  // PSH on its last byte
  bool twice = false;   // in flight twice: sent again while the first transmission was not known to be lost

  [[nodiscard]] Seq end() const { return begin + length; }
  [[nodiscard]] std::uint32_t in_flight() const {
    return state == State::kInFlight ? (twice ? 2 * length : length) : 0;
  }
  // Sent before the other; of one moment the lower numbers are the earlier (RFC8985-07).
  [[nodiscard]] bool sent_before(const Sent& other) const {
    return stamp.at < other.stamp.at || (stamp.at == other.stamp.at && end() < other.end());
  }
};

// What one ACK delivered.
struct Delivery {
  std::uint32_t bytes = 0;      // newly acknowledged or SACKed
  std::uint32_t sacked = 0;     // of these, by SACK
  Sent latest{};                // the one sent last of them; length 0: nothing was delivered
  Sent latest_fresh{};          // the same among those never retransmitted: round trips are measured with it
  Sent first_fresh{};           // the first one acknowledged in sequence and never retransmitted
  std::uint32_t reordered = 0;  // a first transmission came in after one that ends so far above (RFC8985-08); 0: none
  bool retransmission = false;  // some of it had been sent more than once
};

enum class Pushed : std::uint8_t { kNo, kYes };

class Scoreboard {
 public:
  static constexpr int kDupThresh = 3;

  // --- sending. A segment begins at end(), or is a retransmission of what is there.
  void start(Seq una);
  void clear();  // forgets all records, and keeps the memory
  void sent(Seq begin, std::uint32_t length, const SendStamp& stamp, Pushed pushed = Pushed::kNo);

  // --- what an ACK says. The blocks lie in [SND.UNA, end()]; pieces below `mss` are not told apart, so that their
  // number is bounded (S55).
  void acknowledge(Seq una, Delivery& delivery);
  void sack(Seq left, Seq right, std::uint32_t mss, Delivery& delivery);

  // --- what is lost. Each returns the bytes newly found lost.
  // RFC 6675 §4, IsLost: kDupThresh ranges, or more than kDupThresh - 1 full segments, are SACKed above (RFC6675-02).
  std::uint32_t lose_below_sacks(std::uint32_t mss);
  std::uint32_t lose_first(std::uint32_t most);  // at most so many bytes of what stands first
  // RFC 8985 §6.2 step 5: sent before `latest`, and not after `sent_until` (RFC8985-12).
  struct Found {
    std::uint32_t bytes = 0;
    bool waiting = false;         // something was sent before `latest`, but after `sent_until`
    bool retransmission = false;  // what is lost had been sent again
  };
  Found lose_sent_before(const Sent& latest, Instant sent_until);
  std::uint32_t lose_all();
  void forget_sacks();   // the peer may have dropped what it reported (RFC2018-11): in flight again
  void forget_losses();  // they were none: in flight again

  // --- what to send again.
  // The first lost record, null when there is none. RFC 6675 §4 NextSeg rule 1 (RFC6675-04).
  [[nodiscard]] const Sent* next_lost();
  // Not SACKed, not lost, never sent again, below the highest SACKed number: rule 3 (RFC6675-06).
  [[nodiscard]] const Sent* next_doubtful();
  [[nodiscard]] const Sent* last_unsacked() const;  // rule 4 and tail loss probes

  [[nodiscard]] bool pushed_at(Seq end) const;  // a transmission ended here with PSH

  // --- sums, bytes
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] Seq begin() const { return una_; }
  [[nodiscard]] Seq end() const { return end_; }
  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }  // RFC 6675 §4: pipe (RFC6675-03)
  [[nodiscard]] std::uint32_t sacked() const { return sacked_; }
  [[nodiscard]] std::uint32_t lost() const { return lost_; }  // and not sent again
  [[nodiscard]] bool first_is_sacked() const { return count_ > 0 && at(0).state == Sent::State::kSacked; }
  [[nodiscard]] std::uint32_t records() const { return count_; }
  [[nodiscard]] const Sent& record(std::uint32_t index) const { return at(index); }  // index < records()
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }

 private:
  [[nodiscard]] Sent& at(std::uint32_t index) { return ring_[(head_ + index) & (capacity_ - 1)]; }
  [[nodiscard]] const Sent& at(std::uint32_t index) const { return ring_[(head_ + index) & (capacity_ - 1)]; }
  [[nodiscard]] std::uint32_t find(Seq seq) const;  // the record with this number; count_ when there is none
  void grow();
  void open_gap(std::uint32_t index);                 // a record more, before `index`
  void close_gap(std::uint32_t index);                // a record less
  std::uint32_t cut(std::uint32_t index, Seq where);  // two records of one; the index of the second
  void resend(std::uint32_t index, const SendStamp& stamp);
  bool extend_last(Seq begin, std::uint32_t length, const SendStamp& stamp, Pushed pushed);
  void set_state(Sent& record, Sent::State state);
  void lose(Sent& record);
  void deliver(const Sent& record, Delivery& delivery);
  std::uint32_t mark_sacked(std::uint32_t index, Delivery& delivery);

  std::unique_ptr<Sent[]> ring_;
  std::uint32_t capacity_ = 0;  // a power of two, or 0
  std::uint32_t head_ = 0;
  std::uint32_t count_ = 0;
  Seq una_, end_;
  Seq highest_delivered_;  // RFC 8985: RACK.fack
  Seq highest_sacked_;     // meaningful while sacked_ > 0
  Seq first_lost_;         // no record below it is lost
  Seq doubtful_;           // next_doubtful() has looked at what is below
  std::uint32_t in_flight_ = 0;
  std::uint32_t sacked_ = 0;
  std::uint32_t lost_ = 0;
};

}  // namespace sluice::tcp
