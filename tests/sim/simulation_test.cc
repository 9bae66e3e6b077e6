// Whole simulations through the public interface: a table that repeats to the last digit, and what must be true of any.
#include "sluice/simulation.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <map>
#include <sstream>

#include <unistd.h>

#include "drivers/pcap_file.h"
#include "stack/tcp/cc/registry.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using sim::Discipline;
using sim::Flow;
using sim::Report;
using sim::Scenario;

Flow flow(Duration round_trip, std::uint64_t bytes = 0) {
  Flow f;
  f.round_trip = round_trip;
  f.bytes = bytes;
  return f;
}

Scenario dumbbell(std::vector<Flow> flows, Duration time = 10_s) {
  Scenario scenario;
  scenario.link.rate = 20'000'000;
  scenario.link.queue = 100'000;  // one bandwidth-delay product at 40 ms
  scenario.flows = std::move(flows);
  scenario.time = time;
  return scenario;
}

Report run(const Scenario& scenario) {
  const auto report = sim::simulate(scenario);
  EXPECT_TRUE(report.has_value()) << report.error().message;
  if (!report) return {};
  for (const sim::FlowReport& f : report->flows) {
    EXPECT_TRUE(f.intact);
    EXPECT_EQ(f.error, Errno::kOk);
  }
  return *report;
}

std::string text_of(const Report& report) {
  std::ostringstream out;
  for (const sim::FlowReport& f : report.flows) {
    out << std::setw(9) << static_cast<std::int64_t>(f.goodput / 1000) << std::setw(6) << f.retransmits << std::setw(4)
        << f.timeouts << std::setw(6) << f.dropped << std::setw(6) << f.marked << std::setw(6) << f.lost << std::setw(9)
        << f.completed_after.to_micros() << "\n";
  }
  out << "  queue" << std::setw(8) << report.data.queue_delay_mean.to_micros() << std::setw(8)
      << report.data.queue_delay_p99.to_micros() << " us, packets" << std::setw(8) << report.data.packets
      << std::setw(8) << report.acks.packets << "\n";
  return out.str();
}

struct Case {
  const char* name;
  Scenario scenario;
};

std::vector<Case> cases() {
  std::vector<Case> all = {{"one flow", dumbbell({flow(40_ms)})},
                           {"two round trips", dumbbell({flow(20_ms), flow(80_ms)})},
                           {"codel", dumbbell({flow(20_ms), flow(80_ms)})},
                           {"fq_codel", dumbbell({flow(20_ms), flow(80_ms)})},
                           {"random loss", dumbbell({flow(40_ms)})},
                           {"bursts", dumbbell({flow(40_ms)})},
                           {"reordering", dumbbell({flow(40_ms)})},
                           {"jitter, lost ACKs", dumbbell({flow(40_ms)})},
                           {"tail loss", dumbbell({flow(40_ms, 500'000)}, 60_s)},
                           {"lost write ends", dumbbell({flow(40_ms, 500'000)}, 60_s)},
                           {"no mechanisms", dumbbell({flow(40_ms)})}};
  all[2].scenario.link.discipline = Discipline::kCodel;
  all[3].scenario.link.discipline = Discipline::kFqCodel;
  all[4].scenario.link.data_faults.loss = 0.01;
  all[5].scenario.link.data_faults.burst_enter = 0.002;
  all[5].scenario.link.data_faults.burst_leave = 0.3;
  all[6].scenario.link.data_faults.reorder = 0.05;
  all[6].scenario.link.data_faults.reorder_delay = 5_ms;
  all[7].scenario.link.data_faults.jitter = 2_ms;
  all[7].scenario.link.ack_faults.loss = 0.1;
  all[8].scenario.flows[0].lose_tails = true;
  all[9].scenario.flows[0].lose_tails = true;
  all[9].scenario.flows[0].write = 50'000;
  all[9].scenario.flows[0].write_every = 200_ms;
  tcp::TcpConfig& bare = all[10].scenario.flows[0].tcp;
  bare.timestamps = bare.window_scaling = bare.delayed_ack = bare.limited_transmit = bare.initial_window_10 =
      bare.receive_tuning = bare.send_tuning = tcp::Switch::kOff;
  return all;
}

// Virtual time repeats exactly: whatever changes a number here has changed how TCP or the link behaves, and shall be
// meant.
TEST(Simulation, Table) {
  std::string table = "goodput kbit/s, retransmits, timeouts, dropped, marked, lost, completed after us\n";
  for (const Case& s : cases()) table += std::string(s.name) + "\n" + text_of(run(s.scenario));
  if (const char* file = std::getenv("SLUICE_WRITE_DUMBBELL")) {
    ASSERT_TRUE(std::ofstream(file) << table);
    GTEST_SKIP() << "written to " << file;
  }
  std::ifstream file(SLUICE_DUMBBELL_FILE);
  std::ostringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(table, golden.str());
}

TEST(Simulation, TheSameSeedGivesTheSameRun) {
  Scenario scenario = dumbbell({flow(40_ms), flow(20_ms)}, 5_s);
  scenario.link.data_faults.loss = 0.01;
  scenario.link.discipline = Discipline::kFqCodel;
  const std::string first = text_of(run(scenario));
  EXPECT_EQ(text_of(run(scenario)), first);
  scenario.seed = 2;
  EXPECT_NE(text_of(run(scenario)), first);
}

// A clean link that is long enough to fill: what TCP sends fits the rate, and the queue's delay what the queue holds.
TEST(Simulation, TheLinkBoundsWhatFlowsDo) {
  Scenario scenario = dumbbell({flow(10_ms), flow(10_ms)});
  scenario.warm_up = 2_s;
  const Report report = run(scenario);
  constexpr double kPayloadRate = 20e6 * 1448 / 1500;
  EXPECT_LE(report.goodput, kPayloadRate * 1.001);
  EXPECT_GE(report.goodput, kPayloadRate * 0.95);
  EXPECT_LE(report.data.utilization, 1.0001);
  EXPECT_GE(report.data.utilization, 0.97);
  EXPECT_LE(report.data.queue_delay_max, 40_ms);  // 100,000 bytes
  EXPECT_GE(report.data.queue_delay_mean, 5_ms);
  EXPECT_GE(report.fairness, 0.9);
}

TEST(Simulation, CodelKeepsTheQueueShort) {
  Scenario scenario = dumbbell({flow(40_ms), flow(40_ms)}, 20_s);
  scenario.warm_up = 5_s;
  const Report tail = run(scenario);
  scenario.link.discipline = Discipline::kCodel;
  const Report codel = run(scenario);
  EXPECT_LT(codel.data.queue_delay_mean, 10_ms);
  EXPECT_LT(codel.data.queue_delay_mean * 2, tail.data.queue_delay_mean);
}

// One flow that asks for marks, over a link that marks above 20 packets.
Scenario marking_link(const char* controller) {
  Scenario scenario = dumbbell({flow(10_ms)}, 20_s);
  scenario.link.rate = 100'000'000;
  scenario.link.queue = 150'000;
  scenario.link.ecn_threshold = 30'000;
  scenario.warm_up = 5_s;
  scenario.flows[0].tcp.congestion = tcp::cc::index_of(controller);
  scenario.flows[0].tcp.ecn = tcp::EcnUse::kClassic;
  return scenario;
}

// Nothing is lost, and DCTCP keeps the link full with a queue no longer than that.
TEST(Simulation, MarksInsteadOfLosses) {
  for (const char* controller : {"newreno", "cubic", "dctcp"}) {
    SCOPED_TRACE(controller);
    Scenario scenario = marking_link(controller);
    const Report report = run(scenario);
    EXPECT_EQ(report.flows[0].retransmits, 0u);
    EXPECT_GT(report.flows[0].marked, 0u);
    EXPECT_GT(report.flows[0].goodput, std::string(controller) == "newreno" ? 80e6 : 90e6);
    EXPECT_LT(report.data.queue_delay_max, 5_ms);
  }
}

// The same with counts instead of one bit: as full, as short a queue, and no worse for a sender that hears every mark,
// also where half of the ACKs are lost.
TEST(Simulation, CountedMarks) {
  for (const char* controller : {"newreno", "cubic", "dctcp"}) {
    SCOPED_TRACE(controller);
    Scenario scenario = marking_link(controller);
    const Report classic = run(scenario);
    scenario.flows[0].tcp.ecn = scenario.flows[0].tcp.ecn_answer = tcp::EcnUse::kAccurate;
    const Report accurate = run(scenario);
    EXPECT_EQ(accurate.flows[0].retransmits, 0u);
    EXPECT_GT(accurate.flows[0].marked, 0u);
    EXPECT_GT(accurate.flows[0].goodput, 0.97 * classic.flows[0].goodput);
    EXPECT_LT(accurate.data.queue_delay_max, 5_ms);
    scenario.link.ack_faults.loss = 0.5;
    const Report lossy = run(scenario);
    scenario.flows[0].tcp.ecn = scenario.flows[0].tcp.ecn_answer = tcp::EcnUse::kClassic;
    EXPECT_GT(lossy.flows[0].goodput, 0.97 * run(scenario).flows[0].goodput);
  }
}

// A flow with a long round trip beside one with a short one.
TEST(Simulation, FlowQueuesAreFairWhereOneQueueIsNot) {
  Scenario scenario = dumbbell({flow(10_ms), flow(80_ms)}, 20_s);
  scenario.link.queue = 200'000;
  scenario.warm_up = 5_s;
  scenario.link.discipline = Discipline::kCodel;
  const Report one = run(scenario);
  scenario.link.discipline = Discipline::kFqCodel;
  const Report each = run(scenario);
  EXPECT_GT(each.fairness, one.fairness);
  EXPECT_GT(each.fairness, 0.8);
}

TEST(Simulation, EachTailIsLostOnce) {
  Scenario scenario = dumbbell({flow(40_ms, 300'000)}, 60_s);
  scenario.flows[0].lose_tails = true;
  const Report whole = run(scenario);
  EXPECT_EQ(whole.flows[0].lost, 1u);
  EXPECT_EQ(whole.flows[0].bytes, 300'000u);
  EXPECT_GT(whole.flows[0].completed_after, 100_ms);
  scenario.flows[0].write = 40'000;
  scenario.flows[0].write_every = 500_ms;
  const Report writes = run(scenario);
  EXPECT_EQ(writes.flows[0].lost, 8u);  // seven writes and a half
  EXPECT_EQ(writes.flows[0].bytes, 300'000u);
  EXPECT_GT(writes.flows[0].completed_after, 3'500_ms);
}

TEST(Simulation, StartsAndEndsWhenDescribed) {
  Scenario scenario = dumbbell({flow(40_ms, 100'000), flow(40_ms, 100'000)}, 60_s);
  scenario.flows[1].start = 3_s;
  scenario.sample_every = 500_ms;
  const Report report = run(scenario);
  EXPECT_EQ(report.flows[0].completed_after, report.flows[1].completed_after);  // they never meet
  EXPECT_LT(report.flows[0].completed_after, 1_s);
  EXPECT_GT(report.time, 3_s);
  EXPECT_LT(report.time, 4_s);  // all is done
  ASSERT_GE(report.samples.size(), 12u);
  double second_before = 0, second_after = 0;
  for (const sim::Sample& s : report.samples) {
    if (s.flow == 1) (s.at <= 3_s ? second_before : second_after) += s.goodput;
  }
  EXPECT_EQ(second_before, 0);
  EXPECT_GT(second_after, 0);
}

// What the file shows is a whole connection, with checksums that are right.
TEST(Simulation, CaptureAtTheFirstSender) {
  const fs::path path = fs::temp_directory_path() / ("simulation" + std::to_string(::getpid()));
  Scenario scenario = dumbbell({flow(40_ms, 100'000), flow(40_ms, 100'000)});
  scenario.capture = path.string();
  const Report report = run(scenario);
  auto file = drivers::CaptureReader::open(path.string());
  fs::remove(path);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  std::map<std::string, std::size_t> payload;  // by source
  drivers::CaptureFrame frame;
  while ((*file)->next(frame)) {
    const auto ip = wire::ipv4::parse(frame.bytes);
    ASSERT_TRUE(ip.has_value());
    const auto tcp =
        wire::tcp::parse(ip->payload, ip->header.source, ip->header.destination, wire::ChecksumPolicy::kVerify);
    ASSERT_TRUE(tcp.has_value());
    payload[std::string(to_text(ip->header.source).view())] += tcp->payload.size();
  }
  EXPECT_EQ(payload, (std::map<std::string, std::size_t>{{"10.1.0.1", 100'000}, {"10.2.0.1", 0}}));
}

TEST(Simulation, JainIndex) {
  EXPECT_DOUBLE_EQ(sim::jain_index({5, 5, 5, 5}), 1);
  EXPECT_DOUBLE_EQ(sim::jain_index({1, 0, 0, 0}), 0.25);
  EXPECT_DOUBLE_EQ(sim::jain_index({1, 3}), 0.8);
  EXPECT_DOUBLE_EQ(sim::jain_index({0, 0}), 1);
}

TEST(Simulation, NonsenseIsNamed) {
  struct Row {
    const char* word;
    std::function<void(Scenario&)> spoil;
  };
  const Row rows[] = {
      {"no flow", [](Scenario& s) { s.flows.clear(); }},
      {"time", [](Scenario& s) { s.time = 0_ms; }},
      {"warm-up", [](Scenario& s) { s.warm_up = s.time; }},
      {"samples", [](Scenario& s) { s.sample_every = -1_ms; }},
      {"MTU", [](Scenario& s) { s.link.mtu = 100; }},
      {"rate", [](Scenario& s) { s.link.rate = 0; }},
      {"queue", [](Scenario& s) { s.link.queue = 1499; }},
      {"interval", [](Scenario& s) { s.link.codel_interval = 5_ms; }},
      {"round trip", [](Scenario& s) { s.flows[0].round_trip = -1_ms; }},
      {"start", [](Scenario& s) { s.flows[0].start = s.time; }},
      {"writes", [](Scenario& s) { s.flows[0].write = 1; }},
      {"tail", [](Scenario& s) { s.flows[0].lose_tails = true; }},
  };
  for (const Row& row : rows) {
    Scenario scenario = dumbbell({flow(40_ms)});
    row.spoil(scenario);
    const auto report = sim::simulate(scenario);
    ASSERT_FALSE(report.has_value()) << row.word;
    EXPECT_NE(report.error().message.find(row.word), std::string::npos) << report.error().message;
  }
}

}  // namespace
}  // namespace sluice::test
