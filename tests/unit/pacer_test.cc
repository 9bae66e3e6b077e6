// The pacer by itself.
#include <gtest/gtest.h>

#include "stack/tcp/pacer.h"

namespace sluice::test {
namespace {

using tcp::Pacer;

// A millisecond's worth, two segments at least, 64 KiB at most, whole segments.
TEST(Pacer, Quantum) {
  struct Row {
    std::uint64_t rate;
    std::uint32_t mss, want;
  };
  for (const Row& row : {Row{1, 1448, 2896}, Row{125'000, 1448, 2896}, Row{2'895'999, 1448, 2896},
                         Row{4'344'000, 1448, 4344}, Row{12'500'000, 1448, 11'584}, Row{125'000'000, 1448, 65'160},
                         Row{UINT64_MAX, 1448, 65'160}, Row{1000, 65'483, 130'966}}) {
    Pacer p;
    p.set_rate(row.rate);
    EXPECT_EQ(p.quantum(row.mss), row.want) << row.rate;
  }
}

// The rate is kept to in the long run, also when each timer is late; after silence there is no more credit than a
// millisecond.
TEST(Pacer, Rate) {
  for (const std::int64_t late : {0, 50, 900}) {
    for (const std::uint64_t rate : {100'000u, 12'500'000u, 125'000'000u}) {
      Pacer p;
      p.set_rate(rate);
      const Instant start = Instant::from_nanos(5'000'000'000);
      Instant now = start;
      std::uint64_t sent = 0;
      while (now - start < 1_s) {
        while (p.may_send(now)) {
          p.on_sent(now, p.quantum(1000));
          sent += p.quantum(1000);
        }
        now = std::max(now, p.next()) + Duration::micros(late);
      }
      EXPECT_GE(sent, rate * 99 / 100 - 2000);
      EXPECT_LE(sent, rate * 1002 / 1000 + p.quantum(1000) + 1);
    }
  }
}

TEST(Pacer, Off) {
  Pacer p;
  EXPECT_TRUE(p.may_send(Instant::past()));
  p.on_sent({}, 1'000'000);
  EXPECT_TRUE(p.may_send({}));
}

}  // namespace
}  // namespace sluice::test
