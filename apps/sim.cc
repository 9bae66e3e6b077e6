// sluice sim: whole stacks in virtual time over a described link, through sluice/simulation.hpp.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/sim_scenario.h"

namespace sluice::apps {

namespace {

using Json = nlohmann::ordered_json;

double mbit(double bits) {
  return bits / 1e6;
}
double millis(Duration d) {
  return d.to_seconds() * 1e3;
}

void print_text(const sim::Scenario& scenario, const sim::Report& report) {
  printf(
      "flow  cc          rtt ms  goodput Mbit/s  retransmits  timeouts  dropped   marked     lost  srtt ms  done s\n");
  for (std::size_t i = 0; i < report.flows.size(); ++i) {
    const sim::FlowReport& f = report.flows[i];
    printf("%4zu  %-10s %7.1f %15.3f %12u %9u %8llu %8llu %8llu %8.1f", i, f.congestion.c_str(),
           millis(scenario.flows[i].round_trip), mbit(f.goodput), f.retransmits, f.timeouts,
           static_cast<unsigned long long>(f.dropped), static_cast<unsigned long long>(f.marked),
           static_cast<unsigned long long>(f.lost), millis(f.srtt));
    f.completed_after > Duration() ? printf(" %7.3f\n", f.completed_after.to_seconds()) : printf("       -\n");
    if (f.error != Errno::kOk) printf("      failed: %s\n", describe(f.error).c_str());
  }
  const sim::DirectionReport& d = report.data;
  printf("\ntotal %.3f Mbit/s in %.3f s, fairness %.4f\n", mbit(report.goodput), report.time.to_seconds(),
         report.fairness);
  printf(
      "link  %.1f %% of %.3f Mbit/s, queue delay %.2f ms (mean) %.2f ms (p99) %.2f ms (max), %llu dropped, %llu "
      "marked\n",
      d.utilization * 100, mbit(static_cast<double>(scenario.link.rate)), millis(d.queue_delay_mean),
      millis(d.queue_delay_p99), millis(d.queue_delay_max), static_cast<unsigned long long>(d.dropped),
      static_cast<unsigned long long>(d.marked));
}

Json to_json(const sim::DirectionReport& d) {
  return {{"utilization", d.utilization},
          {"packets", d.packets},
          {"dropped", d.dropped},
          {"marked", d.marked},
          {"queue_delay_mean_ms", millis(d.queue_delay_mean)},
          {"queue_delay_p99_ms", millis(d.queue_delay_p99)},
          {"queue_delay_max_ms", millis(d.queue_delay_max)}};
}

Json to_json(const sim::Flow& flow, const sim::FlowReport& f) {
  Json j{{"cc", f.congestion},
         {"rtt_ms", millis(flow.round_trip)},
         {"start_s", flow.start.to_seconds()},
         {"bytes", f.bytes},
         {"goodput_bps", f.goodput},
         {"retransmits", f.retransmits},
         {"timeouts", f.timeouts},
         {"dropped", f.dropped},
         {"marked", f.marked},
         {"lost", f.lost},
         {"srtt_ms", millis(f.srtt)}};
  if (f.completed_after > Duration()) j["completed_after_s"] = f.completed_after.to_seconds();
  if (f.error != Errno::kOk) j["error"] = describe(f.error);
  return j;
}

void print_json(const sim::Scenario& scenario, const sim::Report& report) {
  Json flows = Json::array();
  for (std::size_t i = 0; i < report.flows.size(); ++i) flows.push_back(to_json(scenario.flows[i], report.flows[i]));
  const Json all{{"seed", scenario.seed},
                 {"rate_bps", scenario.link.rate},
                 {"queue_bytes", scenario.link.queue},
                 {"time_s", report.time.to_seconds()},
                 {"goodput_bps", report.goodput},
                 {"fairness", report.fairness},
                 {"data", to_json(report.data)},
                 {"acks", to_json(report.acks)},
                 {"flows", flows}};
  printf("%s\n", all.dump(2).c_str());
}

void write_csv(FILE* file, const std::vector<sim::Sample>& samples) {
  fprintf(file, "time_s,flow,cwnd,ssthresh,flight,srtt_ms,goodput_bps,retransmits,queue_bytes,queue_packets\n");
  for (const sim::Sample& s : samples) {
    fprintf(file, "%.6f,%u,%u,", s.at.to_seconds(), s.flow, s.cwnd);
    if (s.ssthresh != UINT32_MAX) fprintf(file, "%u", s.ssthresh);
    fprintf(file, ",%u,%.3f,%.0f,%u,%zu,%zu\n", s.flight, millis(s.srtt), s.goodput, s.retransmits, s.queue_bytes,
            s.queue_packets);
  }
}

}  // namespace

int run_sim(const Common& common, const SimOptions& options) {
  std::unique_ptr<FILE, int (*)(FILE*)> csv(nullptr, fclose);
  if (!options.csv.empty()) {
    csv.reset(fopen(options.csv.c_str(), "w"));
    if (csv == nullptr) {
      fprintf(stderr, "sim: --csv %s: %s\n", options.csv.c_str(), strerror(errno));
      return kExitUsage;
    }
  }
  const auto scenario = sim_scenario(options, common.runtime.tcp);
  const auto report = scenario ? sim::simulate(*scenario) : Result<sim::Report, Failure>(fail(scenario.error()));
  if (!report) {
    fprintf(stderr, "sim: %s\nTry: sluice sim --help\n", report.error().message.c_str());
    return kExitUsage;
  }
  common.json ? print_json(*scenario, *report) : print_text(*scenario, *report);
  if (csv != nullptr) write_csv(csv.get(), report->samples);
  for (const sim::FlowReport& flow : report->flows) {
    if (flow.intact) continue;
    fprintf(stderr, "sim: a flow has received other bytes than were sent; this is a bug in the stack\n");
    return kExitFailed;
  }
  return kExitOk;
}

}  // namespace sluice::apps
