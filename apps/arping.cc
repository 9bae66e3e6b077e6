// sluice arping: who has this address? One ARP request a second (RFC 826).
#include <stdio.h>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

struct Search {
  wire::Address host;
  std::string mac;
};

// The MAC of the host, "" while it is not known.
std::string look_up(Runtime& runtime, const wire::Address& host) {
  Search search{host, ""};
  runtime.with_stack([&](Stack& stack) {
    stack.ip().visit_neighbors(
        [](void* arg, const ip::NeighborEntry& entry) {
          auto* s = static_cast<Search*>(arg);
          const bool known = std::string_view(entry.state) != "incomplete";
          if (known && entry.address == s->host) s->mac = to_text(entry.mac).view();
        },
        &search);
  });
  return search.mac;
}

bool ask(Runtime& runtime, const wire::Address& host) {
  bool asked = false;
  runtime.with_stack([&](Stack& stack) {
    const auto route = stack.ip().route(host);
    asked = route && stack.ip().probe_neighbor(route->interface, host);
  });
  return asked;
}

// Waits a second at most; false without an answer.
bool await_reply(BlockingSession& session, const wire::Address& host) {
  Runtime& runtime = session.runtime();
  const Instant start = runtime.now();
  while (!interrupted() && runtime.now() - start < 1_s) {
    const std::string mac = look_up(runtime, host);
    if (!mac.empty()) {
      printf("reply from %s [%s]  %.3f ms\n", to_text(host).c_str(), mac.c_str(),
             (runtime.now() - start).to_seconds() * 1e3);
      return true;
    }
    session.run_for(1_ms);
  }
  printf("timeout\n");
  fflush(stdout);
  return false;
}

}  // namespace

int run_arping(const Common& common, const ArpingOptions& options) {
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  for (std::uint32_t i = 0; i < options.count && !interrupted(); ++i) {
    if (!ask((*session)->runtime(), host)) {
      fprintf(stderr, "arping: %s is not on a local Ethernet network\n", options.host.c_str());
      return kExitFailed;
    }
    if (await_reply(**session, host)) return kExitOk;
  }
  return kExitFailed;
}

}  // namespace sluice::apps
