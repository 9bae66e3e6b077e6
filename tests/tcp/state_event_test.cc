// State by event: every state of a synchronised connection against every combination of control bits, at the next
// sequence number, below and above the window (RFC 9293 §3.10.7.4, RFC 5961). What must come out is written from the
// documents.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

struct StateRow {
  const char* name;
  void (*reach)(Script& h);
  std::uint32_t seq;  // the next number expected from the peer
  std::uint32_t ack;  // all that we have sent
};

void to_fin_wait_1(Script& h) {
  h.establish();
  h.shutdown_write();
}
void to_close_wait(Script& h) {
  h.establish();
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
}

const StateRow kStates[] = {
    {"ESTABLISHED", [](Script& h) { h.establish(); }, 1, 1},
    {"FIN-WAIT-1", to_fin_wait_1, 1, 1},
    {"FIN-WAIT-2",
     [](Script& h) {
       to_fin_wait_1(h);
       h.rx({.seq = 1, .ack = 2});
     },
     1, 2},
    {"CLOSE-WAIT", to_close_wait, 2, 1},
    {"CLOSING",
     [](Script& h) {
       to_fin_wait_1(h);
       h.rx({.flags = "FA", .seq = 1, .ack = 1});
     },
     2, 1},
    {"LAST-ACK",
     [](Script& h) {
       to_close_wait(h);
       h.shutdown_write();
     },
     2, 1},
    {"TIME-WAIT",
     [](Script& h) {
       to_fin_wait_1(h);
       h.rx({.flags = "FA", .seq = 1, .ack = 2});
     },
     2, 2},
};

enum class Place { kNext, kBelow, kAbove };

// The state after a segment whose ACK, if it has one, acknowledges nothing new.
std::string want_state(const std::string& state, const std::string& flags, Place place) {
  const auto has = [&](char c) { return flags.find(c) != std::string::npos; };
  // A SYN beyond the old connection's numbers opens a new one (RFC 9293 §3.6.1).
  const bool reopens = has('S') && !has('A') && !has('F') && !has('R') && place == Place::kAbove;
  if (state == "TIME-WAIT" && reopens) return "SYN-RECEIVED";
  if (place != Place::kNext) return state;
  if (state == "TIME-WAIT") return state;
  if (has('R')) return "CLOSED";                         // exactly the next number (RFC9293-RST-05)
  if (has('S') || !has('A') || !has('F')) return state;  // (RFC9293-SEG-03); a SYN only draws a challenge
  if (state == "ESTABLISHED") return "CLOSE-WAIT";
  if (state == "FIN-WAIT-1") return "CLOSING";
  if (state == "FIN-WAIT-2") return "TIME-WAIT";
  return state;
}

// (RFC9293-SEQ-02, RFC9293-RST-01, -RST-04, -RST-05, -SEG-03, -SEG-10, -SEG-12) S37, S42, S43
TEST(StateEvent, EveryCombinationOfBits) {
  for (const StateRow& row : kStates) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      for (const Place place : {Place::kNext, Place::kBelow, Place::kAbove}) {
        Script h;
        row.reach(h);
        h.discard_tx();
        ASSERT_EQ(h.state(), row.name);
        Segment s;
        s.flags.clear();
        for (std::size_t i = 0; i < 6; ++i) {
          if ((bits >> i & 1) != 0) s.flags += "FSRPAU"[i];
        }
        SCOPED_TRACE(std::string(row.name) + " gets [" + s.flags + "] at place " +
                     std::to_string(static_cast<int>(place)));
        s.seq = place == Place::kNext ? row.seq : place == Place::kBelow ? row.seq - 1000 : row.seq + (64u << 20);
        s.ack = row.ack;
        h.rx(s);
        EXPECT_EQ(h.state(), want_state(row.name, s.flags, place));
        while (const auto answer = h.next_tx()) {
          const bool was_reset = s.flags.find('R') != std::string::npos;
          EXPECT_EQ(answer->flags.find('R'), std::string::npos) << "a reset in a synchronised state";
          EXPECT_FALSE(was_reset && place != Place::kNext) << "an answer to a reset outside the window";
          EXPECT_EQ(answer->payload, "");
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
