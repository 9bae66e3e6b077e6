// From the words of `sluice sim` to a description of the simulation, and the switches of TCP.
#include "apps/sim_scenario.h"

#include <gtest/gtest.h>

#include "apps/tcp_switches.h"

namespace sluice::apps {
namespace {

sim::Scenario scenario(const SimOptions& options, const tcp::TcpConfig& tcp = {}) {
  const auto s = sim_scenario(options, tcp);
  EXPECT_TRUE(s.has_value()) << s.error().message;
  return s ? *s : sim::Scenario();
}

TEST(SimScenario, Defaults) {
  const sim::Scenario s = scenario({});
  EXPECT_EQ(s.link.rate, 100'000'000u);
  EXPECT_EQ(s.link.queue, 500'000u);  // one bandwidth-delay product
  EXPECT_EQ(s.time, 30_s);
  EXPECT_EQ(s.sample_every, Duration());  // nobody would read them
  ASSERT_EQ(s.flows.size(), 1u);
  EXPECT_EQ(s.flows[0].round_trip, 40_ms);
}

TEST(SimScenario, SizesOfTheQueue) {
  struct Row {
    const char* text;
    std::size_t bytes;
  };
  for (const Row& row : {Row{"3000", 3000}, Row{"256k", 262'144}, Row{"100p", 150'000}, Row{"2bdp", 1'000'000},
                         Row{"0.5bdp", 250'000}}) {
    SimOptions o;
    o.queue = o.ecn_threshold = row.text;
    EXPECT_EQ(scenario(o).link.queue, row.bytes) << row.text;
    EXPECT_EQ(scenario(o).link.ecn_threshold, row.bytes) << row.text;
  }
  for (const char* bad : {"bdp", "p", "xbdp", "-1p", "1.5x"}) {
    SimOptions o;
    o.queue = bad;
    EXPECT_FALSE(sim_scenario(o, {}).has_value()) << bad;
  }
}

TEST(SimScenario, Faults) {
  SimOptions o;
  o.loss = "1%";
  o.ack_loss = "2%";
  o.burst = "0.1%:20%";
  o.reorder = "5%:10ms";
  o.jitter = "2ms";
  o.down = "10s:500ms";
  o.swallow = "1400";
  const sim::Link link = scenario(o).link;
  EXPECT_DOUBLE_EQ(link.data_faults.loss, 0.01);
  EXPECT_DOUBLE_EQ(link.ack_faults.loss, 0.02);
  EXPECT_DOUBLE_EQ(link.data_faults.burst_enter, 0.001);
  EXPECT_DOUBLE_EQ(link.data_faults.burst_leave, 0.2);
  EXPECT_DOUBLE_EQ(link.data_faults.reorder, 0.05);
  EXPECT_EQ(link.data_faults.reorder_delay, 10_ms);
  EXPECT_EQ(link.data_faults.jitter, 2_ms);
  EXPECT_EQ(link.data_faults.down_for, 500_ms);
  EXPECT_EQ(link.data_faults.swallow, 1400u);
  EXPECT_EQ(link.ack_faults.swallow, 0u);
  EXPECT_EQ(link.ack_faults.jitter, Duration());
}

TEST(SimScenario, FlowsHaveWhatAllHaveAndTheirOwn) {
  SimOptions o;
  o.count = 2;
  o.flows = {"n=3,rtt=10ms,start=1s,bytes=1m,no-delayed-ack", "write=64k:100ms,tail,timestamps"};
  tcp::TcpConfig common;
  common.timestamps = tcp::Switch::kOff;
  const sim::Scenario s = scenario(o, common);
  ASSERT_EQ(s.flows.size(), 6u);
  EXPECT_EQ(s.flows[1].round_trip, 40_ms);
  EXPECT_EQ(s.flows[1].tcp.timestamps, tcp::Switch::kOff);
  for (std::size_t i = 2; i < 5; ++i) {
    EXPECT_EQ(s.flows[i].round_trip, 10_ms);
    EXPECT_EQ(s.flows[i].start, 1_s);
    EXPECT_EQ(s.flows[i].bytes, 1u << 20);
    EXPECT_EQ(s.flows[i].tcp.delayed_ack, tcp::Switch::kOff);
    EXPECT_EQ(s.flows[i].tcp.timestamps, tcp::Switch::kOff);
    EXPECT_FALSE(s.flows[i].lose_tails);
  }
  EXPECT_EQ(s.flows[5].write, 65'536u);
  EXPECT_EQ(s.flows[5].write_every, 100_ms);
  EXPECT_TRUE(s.flows[5].lose_tails);
  EXPECT_EQ(s.flows[5].tcp.timestamps, tcp::Switch::kOn);
  EXPECT_EQ(s.flows[5].tcp.delayed_ack, tcp::Switch::kOn);
}

TEST(TcpSwitches, EachNameTurnsItsOwnMember) {
  for (const TcpSwitch& s : tcp_switches()) {
    tcp::TcpConfig config;
    config.*s.member = tcp::Switch::kOff;
    EXPECT_TRUE(set_tcp_switch(s.name, config)) << s.name;
    EXPECT_EQ(config.*s.member, tcp::Switch::kOn) << s.name;
    EXPECT_TRUE(set_tcp_switch("no-" + std::string(s.name), config)) << s.name;
    EXPECT_EQ(config.*s.member, tcp::Switch::kOff) << s.name;
    for (const TcpSwitch& other : tcp_switches()) EXPECT_EQ(s.member == other.member, &s == &other);
  }
  tcp::TcpConfig config;
  for (const char* bad : {"", "no-", "nothing", "no-no-timestamps"}) EXPECT_FALSE(set_tcp_switch(bad, config)) << bad;
}

TEST(TcpSwitches, ChoicesAreMadeByWord) {
  tcp::TcpConfig config;
  for (const auto& [word, wanted] :
       {std::pair{"always", tcp::MtuProbing::kAlways}, std::pair{"off", tcp::MtuProbing::kOff},
        std::pair{"black-hole", tcp::MtuProbing::kBlackHole}}) {
    EXPECT_TRUE(set_tcp_choice("mtu-probing", word, config));
    EXPECT_EQ(config.mtu_probing, wanted) << word;
  }
  EXPECT_FALSE(set_tcp_choice("mtu-probing", "never", config));
  EXPECT_FALSE(set_tcp_choice("probing", "off", config));
  EXPECT_EQ(config.mtu_probing, tcp::MtuProbing::kBlackHole);
  SimOptions o;
  o.flows = {"mtu-probing=always"};
  EXPECT_EQ(scenario(o).flows[0].tcp.mtu_probing, tcp::MtuProbing::kAlways);
}

}  // namespace
}  // namespace sluice::apps
