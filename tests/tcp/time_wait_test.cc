// TIME-WAIT: who may begin anew (RFC 6191), and what shall not end it (RFC 1337).
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using Timestamps = std::optional<Segment::Timestamps>;

constexpr std::uint32_t kLastValue = 1000;  // of the peer's clock; its next sequence number is 2

Timestamps clock_at(std::uint32_t value) {
  return Segment::Timestamps{value, 0};
}

void enter_time_wait(Script& h, bool timestamps) {
  const Timestamps ts = timestamps ? clock_at(kLastValue) : std::nullopt;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .ts = ts});
  h.close();
  h.rx({.flags = "FA", .seq = 1, .ack = 2, .ts = ts});
  h.discard_tx();
  ASSERT_EQ(h.state(), "TIME-WAIT");
}

// (RFC6191-01, -02, -03, -04, -05; RFC9293-SHLD-4, -MAY-2)
TEST(TimeWait, WhichSynReopens) {
  struct Row {
    bool had_timestamps;
    Timestamps ts;
    std::uint32_t seq;
    bool reopens;
  };
  const Row rows[] = {
      {true, clock_at(kLastValue + 1), 0, true},
      {true, clock_at(kLastValue), 3, true},
      {true, clock_at(kLastValue), 2, false},
      {true, clock_at(kLastValue - 1), 1000, false},
      {true, std::nullopt, 3, true},
      {true, std::nullopt, 2, false},
      {false, clock_at(1), 0, true},
      {false, std::nullopt, 3, true},
      {false, std::nullopt, 2, false},
      {false, std::nullopt, 0x80000003, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(&row - rows);
    Script h;
    enter_time_wait(h, row.had_timestamps);
    h.rx({.flags = "S", .seq = row.seq, .ack = 0, .mss = 1460, .ts = row.ts});
    EXPECT_EQ(h.state(), row.reopens ? "SYN-RECEIVED" : "TIME-WAIT");
    h.expect_tx({.flags = row.reopens ? "SA" : "A", .ack = row.reopens ? row.seq + 1 : 2});
  }
}

// (RFC9293-MAY-2): our numbers go on beyond those of the old connection, also when it was faster than the clock from
// which initial numbers come.
TEST(TimeWait, NewNumbersLieBeyondTheOldOnes) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460, .scale = 10});
  constexpr std::uint32_t kBytes = 200'000;
  std::uint32_t sent = 0;
  while (sent < kBytes) {
    h.write(std::string(10'000, 'x'));
    sent += 10'000;
    h.rx({.seq = 1, .ack = sent + 1});
    h.device().from_stack.clear();
  }
  const std::uint32_t old = h.info().snd_nxt;  // absolute
  h.close();
  h.rx({.flags = "FA", .seq = 1, .ack = sent + 2});
  h.discard_tx();
  ASSERT_EQ(h.state(), "TIME-WAIT");
  h.rx({.flags = "S", .seq = 5000, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA"});
  const std::uint32_t ahead = h.info().snd_una - old;
  EXPECT_GT(ahead, 0xffffu);
  EXPECT_LT(ahead, 1u << 30);
  h.rx({.seq = 5001, .ack = 1});
  h.accept();
}

// (RFC1337-01): RFC 1337 §2: H1 old data, H2 an old ACK, H3 an old RST shorten nothing.
TEST(TimeWait, NothingOldEndsIt) {
  const Segment old[] = {
      {.flags = "R", .seq = 2}, {.flags = "RA", .seq = 2, .ack = 2}, {.seq = 1, .ack = 1, .payload = "old"},
      {.seq = 2, .ack = 1},     {.flags = "R", .seq = 500},          {.flags = "SA", .seq = 1000, .ack = 2},
  };
  for (const Segment& segment : old) {
    Script h;
    enter_time_wait(h, false);
    h.after(30_s);
    h.rx(segment);
    EXPECT_EQ(h.state(), "TIME-WAIT") << describe(segment);
    while (const auto answer = h.next_tx()) EXPECT_EQ(answer->flags, "A") << describe(segment);
    h.after(29_s);
    EXPECT_EQ(h.state(), "TIME-WAIT") << describe(segment);
    h.after(1_s);
    EXPECT_EQ(h.state(), "CLOSED") << describe(segment);
  }
}

}  // namespace
}  // namespace sluice::test
