// sluice arping: who has this address? One ARP request a second (RFC 826), as iputils does.
#include <stdio.h>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

struct Search {
  wire::Address host;
  Instant since;
  std::string mac;  // "": no answer since then
  Instant answered;
};

void look_up(Runtime& runtime, Search& search) {
  runtime.with_stack([&](Stack& stack) {
    stack.ip().visit_neighbors(
        [](void* arg, const ip::NeighborEntry& entry) {
          auto* s = static_cast<Search*>(arg);
          if (entry.address != s->host || entry.confirmed < s->since) return;
          s->mac = to_text(entry.mac).view();
          s->answered = entry.confirmed;
        },
        &search);
  });
}

bool ask(Runtime& runtime, const wire::Address& host) {
  bool asked = false;
  runtime.with_stack([&](Stack& stack) {
    const auto route = stack.ip().route(host);
    asked = route && stack.ip().probe_neighbor(route->interface, host);
  });
  return asked;
}

// False without an answer within a second.
bool await_reply(BlockingSession& session, const wire::Address& host, Instant start) {
  Search search{host, start, "", {}};
  while (!interrupted() && session.runtime().now() - start < 1_s) {
    look_up(session.runtime(), search);
    if (!search.mac.empty()) {
      printf("reply from %s [%s]  %.3f ms\n", to_text(host).c_str(), search.mac.c_str(),
             (search.answered - start).to_seconds() * 1e3);
      return true;
    }
    session.run_for(1_ms);
  }
  if (!interrupted()) printf("timeout\n");
  return false;
}

}  // namespace

int run_arping(const Common& common, const ArpingOptions& options) {
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  Runtime& runtime = (*session)->runtime();
  std::uint32_t requests = 0, replies = 0;
  while (!interrupted() && (options.count == 0 || requests < options.count) && !(options.first && replies > 0)) {
    const Instant start = runtime.now();
    if (!ask(runtime, host)) {
      fprintf(stderr, "arping: %s is not on a local Ethernet network\n", options.host.c_str());
      return kExitFailed;
    }
    ++requests;
    if (await_reply(**session, host, start)) ++replies;
    fflush(stdout);
    const bool last = requests == options.count || (options.first && replies > 0);
    while (!last && !interrupted() && runtime.now() - start <= 1_s) (*session)->run_for(5_ms);
  }
  printf("%u requests, %u replies\n", requests, replies);
  return replies > 0 ? kExitOk : kExitFailed;
}

}  // namespace sluice::apps
