// sluice perf: throughput, TCP and UDP, in either direction or both. Speaks the protocol of iperf3
// (apps/perf_messages.h), so either end may be an iperf3.
#pragma once

#include "apps/commands.h"

namespace sluice::apps::perf {

int serve(const Common& common, const PerfOptions& options);
int measure(const Common& common, const PerfOptions& options, const wire::Address& host);

}  // namespace sluice::apps::perf
