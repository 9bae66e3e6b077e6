// The search for the path MTU by itself, over paths that are a number: RFC 4821 §7.
#include <gtest/gtest.h>

#include <algorithm>

#include "stack/tcp/mtu_search.h"

namespace sluice::tcp {
namespace {

constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

struct Outcome {
  int probes = 0;
  std::uint32_t effective = 0;
};

// Every probe is answered at once.
Outcome run(MtuSearch& search, std::uint32_t path, Instant& now) {
  Outcome o;
  for (std::uint32_t size = search.next(now); size != 0 && o.probes < 100; size = search.next(now)) {
    ++o.probes;
    EXPECT_GT(size, search.effective());  // (RFC4821-01)
    EXPECT_LE(size, search.limit());
    search.on_sent(size, Seq(1), Seq(1 + size));
    EXPECT_EQ(search.next(now), 0u);  // one at a time
    if (size <= path) {
      search.on_acknowledged(now);
      EXPECT_EQ(search.effective(), size);
    } else {
      search.on_lost(now, 1_s);
      EXPECT_EQ(search.next(now), 0u);
      now = now + 1_s;
    }
  }
  o.effective = search.effective();
  return o;
}

// Sends what is to be tried next.
std::uint32_t send_next(MtuSearch& search) {
  const std::uint32_t size = search.next(kStart);
  search.on_sent(size, Seq(1), Seq(1 + size));
  return size;
}

// The same, and it is lost; there is no pause then.
std::uint32_t lose_next(MtuSearch& search) {
  const std::uint32_t size = send_next(search);
  search.on_lost(kStart, {});
  return size;
}

// (RFC4821-01): never above what passes, and within kFinest of it, in a number of probes that grows with its logarithm.
TEST(MtuSearch, FindsWhatThePathCarries) {
  for (std::uint32_t path = 1064; path <= 9000; path += 37) {
    MtuSearch search;
    search.start(1064, 1064, 9000);
    Instant now = kStart;
    const Outcome o = run(search, path, now);
    EXPECT_LE(o.effective, path);
    EXPECT_GT(o.effective + 2 * MtuSearch::kFinest, path);
    EXPECT_LE(o.probes, 22);
    EXPECT_TRUE(search.settled());
    EXPECT_EQ(search.narrowed(), path + MtuSearch::kFinest < 9000) << path;
  }
}

// What is in effect to begin with may lie above what is taken to pass, or below; nothing below it is tried, and the
// limit is above both.
TEST(MtuSearch, BeginsFromWhatIsKnown) {
  struct Row {
    std::uint32_t base, effective, limit, first;
  };
  for (const Row& r :
       {Row{1064, 1064, 1500, 1282}, Row{552, 640, 1500, 1026}, Row{552, 1400, 1500, 1450}, Row{1064, 1500, 1500, 0},
        Row{1064, 600, 600, 0}, Row{1064, 600, 1500, 1050}, Row{1064, 1064, 600, 0}}) {
    MtuSearch search;
    search.start(r.base, r.effective, r.limit);
    EXPECT_EQ(search.effective(), std::min(r.effective, r.limit));
    EXPECT_EQ(search.next(kStart), r.first);
  }
}

// (RFC4821-07): the base, then halves down to the floor; and from there first what was there before.
TEST(MtuSearch, BlackHole) {
  MtuSearch search;
  search.start(1064, 1500, 1500);
  for (const std::uint32_t effective : {1064u, 532u, 266u, 133u, 88u, 88u}) {
    search.on_black_hole(1064, 88);
    EXPECT_EQ(search.effective(), effective);
  }
  EXPECT_EQ(search.next(kStart), 1500u);
  Instant now = kStart;
  const Outcome o = run(search, 700, now);
  EXPECT_LE(o.effective, 700u);
  EXPECT_GT(o.effective, 680u);
}

// What was known of larger packets, and what is under way, counts no longer.
TEST(MtuSearch, BlackHoleBeginsTheSearchAgain) {
  MtuSearch search;
  search.start(1064, 1064, 1500);
  EXPECT_EQ(lose_next(search), 1282u);
  EXPECT_EQ(lose_next(search), 1282u);
  EXPECT_EQ(send_next(search), 1172u);
  search.on_black_hole(1064, 88);
  EXPECT_FALSE(search.outstanding());
  EXPECT_EQ(search.effective(), 532u);
  EXPECT_FALSE(search.narrowed());
  EXPECT_EQ(lose_next(search), 1064u);  // what was there before
  EXPECT_EQ(lose_next(search), 1064u);
  EXPECT_EQ(lose_next(search), (532u + 1063) / 2);
}

TEST(MtuSearch, BlackHoleRaisesNothing) {
  MtuSearch search;
  search.start(1064, 80, 1500);
  search.on_black_hole(1064, 88);
  EXPECT_EQ(search.effective(), 80u);
}

// Two losses narrow the search when nothing has come between them that makes the first one say nothing.
TEST(MtuSearch, CountsLossesOfOneSize) {
  struct Row {
    const char* name;
    void (*between)(MtuSearch&);
  };
  const Row rows[] = {{"one arrives", [](MtuSearch& s) { send_next(s), s.on_acknowledged(kStart); }},
                      {"another limit", [](MtuSearch& s) { s.set_limit(1400); }},
                      {"a black hole", [](MtuSearch& s) { s.on_black_hole(1064, 88); }}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    MtuSearch search;
    search.start(1064, 1064, 1500);
    (void)lose_next(search);
    row.between(search);
    const std::uint32_t size = lose_next(search);
    EXPECT_EQ(lose_next(search), size);
    EXPECT_LT(search.next(kStart), size);
  }
}

// Once, if there is more than that to be gained.
TEST(MtuSearch, TriesAGivenSizeFirst) {
  MtuSearch search;
  search.start(1064, 1064, 1500);
  search.try_first(1300);
  EXPECT_EQ(send_next(search), 1300u);
  search.on_acknowledged(kStart);
  EXPECT_EQ(search.next(kStart), 1400u);
}

// (RFC4821-06): when all is tried, whether the last one has arrived or not, not again for ten minutes; then up to the
// limit.
TEST(MtuSearch, SearchesAgain) {
  static_assert(MtuSearch::kSearchAgain >= 300_s);
  for (const std::uint32_t path : {1420u, 1404u}) {
    MtuSearch search;
    search.start(1400, 1400, 1500);
    Instant now = kStart;
    (void)run(search, path, now);
    EXPECT_EQ(search.effective() > 1400, path == 1420);
    EXPECT_EQ(search.next(now + MtuSearch::kSearchAgain - 2_s), 0u);
    now = now + MtuSearch::kSearchAgain;
    EXPECT_GT(search.next(now), search.effective());
    EXPECT_GT(run(search, 1500, now).effective, 1500 - MtuSearch::kFinest);
    EXPECT_EQ(search.next(now + MtuSearch::kSearchAgain), 0u);  // there is no more
  }
}

// (RFC4821-08): another limit lowers what is in effect at once, or is a reason to search.
TEST(MtuSearch, FollowsTheRoute) {
  MtuSearch search;
  search.start(1064, 1500, 1500);
  search.set_limit(1300);
  EXPECT_EQ(search.effective(), 1300u);
  EXPECT_EQ(search.next(kStart), 0u);
  search.set_limit(1500);
  EXPECT_EQ(search.effective(), 1300u);
  EXPECT_GT(search.next(kStart), 1300u);
  search.on_sent(search.next(kStart), Seq(1), Seq(1401));
  search.set_limit(1350);  // lower than the probe that is out
  search.on_acknowledged(kStart);
  EXPECT_EQ(search.effective(), 1350u);
}

// Half-way between what is taken to pass and what may.
TEST(MtuSearch, AnotherLimitKeepsWhatIsKnown) {
  MtuSearch search;
  search.start(1064, 1064, 9000);
  (void)lose_next(search);
  EXPECT_EQ(lose_next(search), 5032u);
  search.set_limit(6000);
  EXPECT_EQ(search.next(kStart), (1064u + 5031) / 2);

  search.start(1400, 1400, 1500);
  search.set_limit(1300);
  search.set_limit(1500);
  EXPECT_EQ(search.next(kStart), 1400u);

  search.start(552, 552, 1500);
  search.try_first(1500);
  (void)send_next(search);
  search.on_acknowledged(kStart);
  search.set_limit(9000);
  EXPECT_EQ(search.next(kStart), (1500u + 9000) / 2);
}

}  // namespace
}  // namespace sluice::tcp
