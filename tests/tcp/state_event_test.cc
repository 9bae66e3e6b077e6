// State by event: every state against every combination of control bits, at the next sequence number, below and above
// the window (RFC 9293 §3.10.7, RFC 5961); before the connection is synchronised also with an acknowledgement of our
// SYN, of less and of more. What must come out is written from the documents.
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

std::string flags_of(unsigned bits) {
  std::string flags;
  for (std::size_t i = 0; i < 6; ++i) {
    if ((bits >> i & 1) != 0) flags += "FSRPAU"[i];
  }
  return flags;
}

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

// The flags of the one answer, "" for none.
std::string want_answer(const std::string& state, const std::string& flags, Place place) {
  const auto has = [&](char c) { return flags.find(c) != std::string::npos; };
  if (has('R')) return "";  // (RFC9293-RST-01, -RST-04)
  if (want_state(state, flags, place) == "SYN-RECEIVED") return "SA";
  if (place != Place::kNext) return "A";  // (RFC9293-SEQ-02)
  if (has('S')) return "A";               // a challenge (RFC5961-06)
  if (!has('A') || !has('F')) return "";  // nothing to acknowledge
  // A FIN after the FIN: nothing stands there, but in TIME-WAIT whatever comes is answered.
  return state == "CLOSE-WAIT" || state == "CLOSING" || state == "LAST-ACK" ? "" : "A";
}

// (RFC9293-SEQ-02, RFC9293-RST-01, -RST-04, -RST-05, -SEG-03, -SEG-10, -SEG-12; RFC5961-06) S37, S42, S43
TEST(StateEvent, EveryCombinationOfBits) {
  for (const StateRow& row : kStates) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      for (const Place place : {Place::kNext, Place::kBelow, Place::kAbove}) {
        Script h;
        row.reach(h);
        h.discard_tx();
        ASSERT_EQ(h.state(), row.name);
        Segment s;
        s.flags = flags_of(bits);
        SCOPED_TRACE(std::string(row.name) + " gets [" + s.flags + "] at place " +
                     std::to_string(static_cast<int>(place)));
        s.seq = place == Place::kNext ? row.seq : place == Place::kBelow ? row.seq - 1000 : row.seq + (64u << 20);
        s.ack = row.ack;
        h.rx(s);
        EXPECT_EQ(h.state(), want_state(row.name, s.flags, place));
        if (const std::string answer = want_answer(row.name, s.flags, place); !answer.empty()) {
          h.expect_tx({.flags = answer, .payload = ""});
        }
        h.expect_nothing();
      }
    }
  }
}

// --- before the connection is synchronised

// What a segment brings about: the state, and the one answer: its flags, "" for none, and its numbers.
struct Outcome {
  std::string state;
  std::string answer;
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;  // looked at when the answer has an ACK
};

enum class Acks : std::uint32_t { kLess = 0, kOurSyn = 1, kMore = 2 };

struct Event {
  bool fin, syn, rst, ack;
  Place place;
  std::uint32_t seq, ack_number;
  [[nodiscard]] bool acks_our_syn() const { return ack && ack_number == static_cast<std::uint32_t>(Acks::kOurSyn); }
};

// RFC 9293 §3.10.7.1; the reset stands where the peer takes it for valid.
Outcome want_in_closed(const Event& e) {
  if (e.rst) return {"CLOSED", ""};
  if (e.ack) return {"CLOSED", "R", e.ack_number};
  return {"CLOSED", "RA", 0, e.seq + (e.syn ? 1 : 0) + (e.fin ? 1 : 0)};
}

// RFC 9293 §3.10.7.2; the sequence number does not matter. DEVIATION: a SYN with FIN opens nothing: no host sends one.
Outcome want_in_listen(const Event& e) {
  if (e.rst) return {"CLOSED", ""};                                  // first
  if (e.ack) return {"CLOSED", "R", e.ack_number};                   // second
  if (e.syn && !e.fin) return {"SYN-RECEIVED", "SA", 0, e.seq + 1};  // third
  return {"CLOSED", ""};                                             // fourth, and FIN (RFC9293-SEG-11)
}

// RFC 9293 §3.10.7.3; the sequence number does not matter.
Outcome want_in_syn_sent(const Event& e) {
  if (e.ack && !e.acks_our_syn()) {  // first
    return e.rst ? Outcome{"SYN-SENT", ""} : Outcome{"SYN-SENT", "R", e.ack_number};
  }
  if (e.rst) return {e.ack ? "CLOSED" : "SYN-SENT", ""};    // second
  if (!e.syn) return {"SYN-SENT", ""};                      // fifth, with or without FIN (RFC9293-SEG-11)
  if (!e.ack) return {"SYN-RECEIVED", "SA", 0, e.seq + 1};  // fourth
  if (e.fin) return {"CLOSE-WAIT", "A", 1, e.seq + 2};      // fourth, and on with the sixth
  return {"ESTABLISHED", "A", 1, e.seq + 1};
}

// RFC 9293 §3.10.7.4 of a passive open. "CLOSED" is LISTEN as far as this 4-tuple goes.
Outcome want_in_syn_received(const Event& e) {
  if (e.place != Place::kNext) {  // first: outside the window
    return e.rst ? Outcome{"SYN-RECEIVED", ""} : Outcome{"SYN-RECEIVED", "A", 1, 1};
  }
  if (e.rst) return {"CLOSED", ""};                                   // second (RFC9293-SYNR-01)
  if (e.syn) return {"CLOSED", ""};                                   // fourth (RFC9293-SYNR-03)
  if (!e.ack) return {"SYN-RECEIVED", ""};                            // fifth
  if (!e.acks_our_syn()) return {"SYN-RECEIVED", "R", e.ack_number};  // fifth (RFC9293-SYNR-02)
  return e.fin ? Outcome{"CLOSE-WAIT", "A", 1, 2} : Outcome{"ESTABLISHED", ""};
}

// The same of an active open whose SYN crossed the peer's: a SYN is challenged. (The SYN-ACK that follows stands at the
// peer's SYN, just below the window, and is not in this sweep.)
Outcome want_in_crossing(const Event& e) {
  if (e.place == Place::kNext && e.syn && !e.rst) return {"SYN-RECEIVED", "A", 1, 1};
  return want_in_syn_received(e);
}

struct OpeningRow {
  const char* name;
  void (*reach)(Script& h);
  Outcome (*want)(const Event& e);
};

const OpeningRow kOpenings[] = {
    {"CLOSED", [](Script&) {}, want_in_closed},
    {"LISTEN", [](Script& h) { h.listen(); }, want_in_listen},
    {"SYN-SENT", [](Script& h) { h.connect(); }, want_in_syn_sent},
    {"SYN-RECEIVED, passive",
     [](Script& h) {
       h.listen();
       h.rx({.flags = "S", .seq = 0, .ack = 0});
     },
     want_in_syn_received},
    {"SYN-RECEIVED, active",
     [](Script& h) {
       h.connect();
       h.expect_tx({.flags = "S"});
       h.rx({.flags = "S", .seq = 0, .ack = 0});
     },
     want_in_crossing},
};

void check(const OpeningRow& row, const std::string& flags, Place place, Acks acks) {
  Script h;
  row.reach(h);
  h.discard_tx();
  SCOPED_TRACE(std::string(row.name) + " gets [" + flags + "] at place " + std::to_string(static_cast<int>(place)) +
               " acknowledging " + std::to_string(static_cast<int>(acks)));
  const auto has = [&](char c) { return flags.find(c) != std::string::npos; };
  Segment s;
  s.flags = flags;
  s.seq = place == Place::kNext ? 1 : place == Place::kBelow ? 1u - 1000 : 1 + (64u << 20);
  s.ack = static_cast<std::uint32_t>(acks);
  const Outcome want = row.want({has('F'), has('S'), has('R'), has('A'), place, s.seq, s.ack});
  h.rx(s);
  EXPECT_EQ(h.state(), want.state);
  if (!want.answer.empty()) {
    const Segment answer = h.expect_tx({.flags = want.answer, .seq = want.seq, .payload = ""});
    if (want.answer != "R") {
      EXPECT_EQ(answer.ack, want.ack);
    }
  }
  h.expect_nothing();
}

// (RFC9293-RST-01, -RST-02, -LIS-01, -LIS-02, -LIS-03, -LIS-04, -SYNS-01, -SYNS-02, -SYNS-03, -SYNS-04, -SYNS-05,
// -SYNR-01, -SYNR-02, -SYNR-03, -SEG-11, RFC5961-05)
TEST(StateEvent, BeforeEstablished) {
  for (const OpeningRow& row : kOpenings) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      for (const Place place : {Place::kNext, Place::kBelow, Place::kAbove}) {
        for (const Acks acks : {Acks::kLess, Acks::kOurSyn, Acks::kMore}) {
          check(row, flags_of(bits), place, acks);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice::test
