// sluice stat: all counters and drop reasons there are, with their meaning. With --stats every command prints those of its
// own run that are not zero.
#include <stdio.h>

#include "apps/commands.h"

namespace sluice::apps {

int run_stat(const Common&) {
  printf("counters (shown by --stats at the end of any command, and on SIGUSR1 by servers)\n");
  for (std::size_t i = 0; i < kCounterCount; ++i) printf("  %s\n", name_of(static_cast<Counter>(i)));
  printf("\ndrop reasons\n");
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto d = static_cast<Drop>(i);
    printf("  %-24s %s\n", name_of(d), meaning_of(d));
  }
  return kExitOk;
}

}  // namespace sluice::apps
