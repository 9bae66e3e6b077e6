// From the words of `sluice sim` to a description of the simulation.
#pragma once

#include "apps/commands.h"
#include "sluice/simulation.hpp"

namespace sluice::apps {

// `tcp` is what the flows have in common. The failure names the word that is wrong, and what would be right.
Result<sim::Scenario, Failure> sim_scenario(const SimOptions& options, const tcp::TcpConfig& tcp);

}  // namespace sluice::apps
