// What a connection keeps while data is outstanding, and lets go of when it is idle and has learnt nothing worth
// keeping.
#pragma once

#include <cstdint>
#include <memory>

#include "stack/base/time.h"
#include "stack/tcp/delivery_rate.h"
#include "stack/tcp/prr.h"
#include "stack/tcp/rack.h"
#include "stack/tcp/scoreboard.h"
#include "stack/tcp/undo.h"

namespace sluice::tcp {

// Tail loss probe (RFC 8985 §7).
struct TailProbe {
  Instant at = Instant::never();  // the time for it, if nothing comes before
  Seq end;                        // SND.NXT when it had been sent
  bool outstanding = false;
  bool retransmission = false;  // not new data
  bool sampled = true;          // a round trip was measured since the last probe
};

// Forward RTO recovery (RFC 5682 §3.1).
enum class Frto : std::uint8_t {
  kOff,
  kFirstAck,   // of the retransmission is awaited
  kSecondAck,  // new data is out: what the next ACK covers decides
};

struct SendState {
  Scoreboard board;
  DeliveryRate rate;
  Rack rack;
  Prr prr;
  Undo undo;
  TailProbe probe;
  Frto frto = Frto::kOff;
  Seq short_end;                             // of the latest segment that was not full; SND.UNA or below: none is out
  Instant retransmit_at = Instant::never();  // RFC 6298
  Instant reorder_at = Instant::never();     // RFC 8985 §6.2 step 5
  bool send_one = false;                     // a fast retransmission, whatever the window
  bool rescued = false;                      // RFC 6675 §4 NextSeg rule 4 was used in this recovery
  std::unique_ptr<SendState> next_spare;     // of SendStates

  // Nothing is lost, late, doubtful or probed: an ACK in order needs no thought.
  [[nodiscard]] bool quiet() const {
    return board.sacked() == 0 && board.lost() == 0 && !probe.outstanding && reorder_at.is_never();
  }
  [[nodiscard]] bool worth_keeping() const {
    return !board.empty() || rack.has_learnt() || undo.armed() || probe.outstanding;
  }
};

// Those that are not in use, so that a connection that sends, waits and sends again allocates nothing.
class SendStates {
 public:
  std::unique_ptr<SendState> take() {
    if (first_ == nullptr) return std::make_unique<SendState>();
    std::unique_ptr<SendState> state = std::move(first_);
    first_ = std::move(state->next_spare);
    --count_;
    return state;
  }
  void give_back(std::unique_ptr<SendState> state) {
    if (count_ == kMost) return;
    Scoreboard board = std::move(state->board);
    board.clear();  // a connection may end with data in flight
    if (board.capacity() > kMostRecords) board = {};
    *state = {};
    state->board = std::move(board);
    state->next_spare = std::move(first_);
    first_ = std::move(state);
    ++count_;
  }
  ~SendStates() {  // one by one: a chain of destructors would be deep
    while (first_ != nullptr) first_ = std::move(first_->next_spare);
  }

 private:
  static constexpr std::uint32_t kMost = 1024;
  static constexpr std::uint32_t kMostRecords = 64;
  std::unique_ptr<SendState> first_;
  std::uint32_t count_ = 0;
};

}  // namespace sluice::tcp
