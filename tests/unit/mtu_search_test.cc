// The search for the path MTU by itself, over paths that are a number: RFC 4821 §7.
#include <gtest/gtest.h>

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

// What is in effect to begin with may lie above what is taken to pass; nothing below it is tried.
TEST(MtuSearch, BeginsFromWhatIsKnown) {
  struct Row {
    std::uint32_t base, effective, limit, first;
  };
  for (const Row& r : {Row{1064, 1064, 1500, 1282}, Row{552, 640, 1500, 1026}, Row{552, 1400, 1500, 1450},
                       Row{1064, 1500, 1500, 0}, Row{1064, 600, 600, 0}}) {
    MtuSearch search;
    search.start(r.base, r.effective, r.limit);
    EXPECT_EQ(search.effective(), r.effective);
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

// (RFC4821-06): when all is tried, not again for ten minutes; then up to the limit.
TEST(MtuSearch, SearchesAgain) {
  MtuSearch search;
  search.start(1400, 1400, 1500);
  Instant now = kStart;
  (void)run(search, 1420, now);
  EXPECT_EQ(search.next(now + MtuSearch::kSearchAgain - 2_s), 0u);
  now = now + MtuSearch::kSearchAgain;
  EXPECT_GT(search.next(now), search.effective());
  EXPECT_GT(run(search, 1500, now).effective, 1500 - MtuSearch::kFinest);
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

}  // namespace
}  // namespace sluice::tcp
