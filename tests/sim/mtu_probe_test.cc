// Links that swallow large packets, and no router says so, in virtual time: RFC 4821.
#include <gtest/gtest.h>

#include "stack/tcp/cc/registry.h"
#include "tests/sim/one_flow.h"

namespace sluice::test {
namespace {

using sim::Scenario;
using tcp::MtuProbing;

Scenario scenario(const char* controller, MtuProbing when, std::size_t swallow) {
  Scenario s;
  s.link.rate = 4'000'000;
  s.link.queue = 20'000;
  s.link.data_faults.swallow = swallow;
  s.time = 40_s;
  s.flows.resize(1);
  s.flows[0].round_trip = 20_ms;
  s.flows[0].tcp.congestion = tcp::cc::index_of(controller);
  s.flows[0].tcp.mtu_probing = when;
  return s;
}

TEST(BlackHole, WithoutProbingNothingArrives) {
  EXPECT_EQ(run_one_flow(scenario("newreno", MtuProbing::kOff, 1400)).bytes, 0u);
}

// (RFC4821-07, -02): close to a link whose MTU is what the other one lets pass, also while others are lost at random.
TEST(BlackHole, GoodputIsThatOfTheSmallerLink) {
  for (const char* controller : {"newreno", "cubic", "bbr", "bbr3", "dctcp"}) {
    for (const std::size_t passes : {1400u, 600u}) {
      SCOPED_TRACE(std::string(controller) + " " + std::to_string(passes));
      Scenario smaller = scenario(controller, MtuProbing::kOff, 0);
      smaller.link.mtu = static_cast<std::uint32_t>(passes);
      const double best = run_one_flow(smaller).goodput;
      const sim::FlowReport hole = run_one_flow(scenario(controller, MtuProbing::kBlackHole, passes));
      EXPECT_GT(hole.goodput, 0.85 * best);
      EXPECT_LE(hole.timeouts, passes > 1064 ? 4u : 5u);
      const sim::FlowReport always = run_one_flow(scenario(controller, MtuProbing::kAlways, passes));
      EXPECT_GT(always.goodput, 0.85 * best);
      EXPECT_LE(always.timeouts, passes > 1064 ? 0u : 5u);
    }
  }
}

// Where nothing is swallowed probing from small segments costs a moment at the beginning.
TEST(BlackHole, AlwaysProbingFindsFullSegments) {
  const double whole = run_one_flow(scenario("cubic", MtuProbing::kOff, 0)).goodput;
  EXPECT_GT(run_one_flow(scenario("cubic", MtuProbing::kAlways, 0)).goodput, 0.98 * whole);
  EXPECT_EQ(run_one_flow(scenario("cubic", MtuProbing::kBlackHole, 0)).goodput, whole);
}

// Random loss and outages are no black hole for long.
TEST(BlackHole, OutagesDoNotLeaveSmallSegments) {
  Scenario s = scenario("cubic", MtuProbing::kOff, 0);
  s.link.data_faults.down_every = 20_s;
  s.link.data_faults.down_for = 3_s;
  s.link.data_faults.loss = 0.001;
  const double without = run_one_flow(s).goodput;
  s.flows[0].tcp.mtu_probing = MtuProbing::kBlackHole;
  EXPECT_GT(run_one_flow(s).goodput, 0.95 * without);
}

}  // namespace
}  // namespace sluice::test
