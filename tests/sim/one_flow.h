// What became of the one flow of a scenario.
#pragma once

#include <gtest/gtest.h>

#include "sluice/simulation.hpp"

namespace sluice::test {

inline sim::FlowReport run_one_flow(const sim::Scenario& scenario) {
  const auto report = sim::simulate(scenario);
  EXPECT_TRUE(report.has_value());
  if (!report) return {};
  EXPECT_TRUE(report->flows[0].intact);
  return report->flows[0];
}

}  // namespace sluice::test
