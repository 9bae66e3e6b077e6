// What each mechanism of loss recovery buys, in virtual time: one turned off after the other over random, burst and
// tail loss and over reordering. tests/sim/recovery.txt has the numbers, to the last digit.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <tuple>

#include "stack/tcp/cc/registry.h"
#include "tests/sim/one_flow.h"

namespace sluice::test {
namespace {

using sim::Scenario;
using tcp::Switch;
using tcp::TcpConfig;

// One flow at 100 Mbit/s over 40 ms, with a queue of one bandwidth-delay product.
Scenario clean(Duration time = 10_s) {
  Scenario s;
  s.link.rate = 100'000'000;
  s.link.queue = 500'000;
  s.flows.resize(1);
  s.flows[0].round_trip = 40_ms;
  s.flows[0].tcp.congestion = tcp::cc::index_of("cubic");
  s.time = time;
  return s;
}

// 5 % of the packets 10 ms late: at least nine tenths of the clean link's goodput, from the beginning.
TEST(Recovery, ReorderingCostsLittle) {
  Scenario reordered = clean(30_s);
  const double whole = run_one_flow(reordered).goodput;
  reordered.link.data_faults.reorder = 0.05;
  reordered.link.data_faults.reorder_delay = 10_ms;
  for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
    reordered.seed = seed;
    EXPECT_GE(run_one_flow(reordered).goodput, 0.9 * whole);
  }
  reordered.flows[0].tcp.rack = Switch::kOff;
  EXPECT_LT(run_one_flow(reordered).goodput, 0.5 * whole);
}

// A model of the path loses nothing by losses, while recovery, which one follows upon the other, lasts for ever: what
// the ACKs of a recovery teach reaches the pacer too.
TEST(Recovery, ModelsFillALossyLink) {
  for (const auto& [name, rtt, rate, share] :
       {std::tuple{"bbr", 40_ms, 100'000'000u, 0.9}, std::tuple{"bbr", 10_ms, 1'000'000'000u, 0.85},
        std::tuple{"bbr3", 10_ms, 1'000'000'000u, 0.75}}) {
    Scenario lossy = clean();
    lossy.flows[0].tcp.congestion = tcp::cc::index_of(name);
    lossy.flows[0].round_trip = rtt;
    lossy.link.rate = rate;
    lossy.link.queue = 1'250'000;
    lossy.link.data_faults.loss = 0.01;
    EXPECT_GE(run_one_flow(lossy).goodput, share * rate) << name << " at " << rate;
  }
}

// Writes of 50 kB with a pause after each, and the last packet of each is lost: no timeout with the probe, some
// without.
TEST(Recovery, ALostTailCostsNoTimeout) {
  Scenario tails = clean(30_s);
  tails.flows[0].bytes = 500'000;
  tails.flows[0].write = 50'000;
  tails.flows[0].write_every = 500_ms;
  tails.flows[0].lose_tails = true;
  const sim::FlowReport probed = run_one_flow(tails);
  EXPECT_GE(probed.lost, 10u);
  EXPECT_EQ(probed.bytes, 500'000u);
  EXPECT_EQ(probed.timeouts, 0u);
  tails.flows[0].tcp.tail_probe = Switch::kOff;
  EXPECT_GE(run_one_flow(tails).timeouts, 3u);
}

struct Row {
  const char* name;
  Switch TcpConfig::*off;  // null: all on
};

constexpr Row kMechanisms[] = {
    {"all", nullptr},         {"sack", &TcpConfig::sack}, {"rack", &TcpConfig::rack}, {"tlp", &TcpConfig::tail_probe},
    {"prr", &TcpConfig::prr}, {"frto", &TcpConfig::frto}, {"undo", &TcpConfig::undo},
};

// kbit/s and timeouts, a mean of some seeds.
std::string cell(Scenario scenario, const Row& mechanism) {
  constexpr int kSeeds = 3;
  std::uint64_t kbits = 0;
  std::uint64_t timeouts = 0;
  if (mechanism.off != nullptr) scenario.flows[0].tcp.*mechanism.off = Switch::kOff;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    scenario.seed = static_cast<std::uint64_t>(seed);
    const sim::FlowReport f = run_one_flow(scenario);
    const Duration time = f.completed_after != Duration() ? f.completed_after : scenario.time;
    kbits += f.bytes * 8'000 / static_cast<std::uint64_t>(time.to_micros());
    timeouts += f.timeouts;
  }
  std::ostringstream out;
  out << std::setw(7) << kbits / kSeeds << std::setw(4) << timeouts;
  return out.str();
}

std::string table() {
  struct Link {
    const char* name;
    Scenario scenario;
  };
  std::vector<Link> links = {{"clean", clean()},  {"random 0.1 %", clean()}, {"random 1 %", clean()},
                             {"bursts", clean()}, {"reordering", clean()},   {"tails", clean(60_s)},
                             {"jitter", clean()}};
  links[1].scenario.link.data_faults.loss = 0.001;
  links[2].scenario.link.data_faults.loss = 0.01;
  links[3].scenario.link.data_faults.burst_enter = 0.0005;
  links[3].scenario.link.data_faults.burst_leave = 0.1;
  links[4].scenario.link.data_faults.reorder = 0.05;
  links[4].scenario.link.data_faults.reorder_delay = 10_ms;
  links[5].scenario.flows[0].bytes = 1'000'000;
  links[5].scenario.flows[0].write = 50'000;
  links[5].scenario.flows[0].write_every = 200_ms;
  links[5].scenario.flows[0].lose_tails = true;
  links[6].scenario.link.data_faults.jitter = 20_ms;
  std::ostringstream out;
  out << "goodput in kbit/s and timeouts, with one mechanism off\n" << std::setw(14) << "";
  for (const Row& m : kMechanisms) out << std::setw(11) << m.name;
  for (const Link& link : links) {
    out << "\n" << std::left << std::setw(14) << link.name << std::right;
    for (const Row& m : kMechanisms) out << cell(link.scenario, m);
  }
  out << "\n";
  return out.str();
}

// Virtual time repeats exactly: whatever changes a number here has changed loss recovery, and shall be meant.
TEST(Recovery, Table) {
  const std::string now = table();
  if (const char* file = std::getenv("SLUICE_WRITE_RECOVERY")) {
    ASSERT_TRUE(std::ofstream(file) << now);
    GTEST_SKIP() << "written to " << file;
  }
  std::ifstream file(SLUICE_RECOVERY_FILE);
  std::ostringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(now, golden.str());
}

}  // namespace
}  // namespace sluice::test
