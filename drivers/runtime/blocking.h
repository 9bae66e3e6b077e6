// How a call waits: what the files with the BSD calls share. Private to drivers/runtime.
#pragma once

#include "drivers/runtime/impl.h"

namespace sluice {

inline constexpr Instant kNoWait = Instant::past();

// Until when a call waits that has this timeout (0: none). Measured once a call, however often the call has to wait.
Instant deadline_of(Call& call, Duration timeout, int flags);

// Waits for `done`. kBadFile when the descriptor is closed meanwhile, kIntr on a signal, kAgain on a timeout.
Status wait_for(Call& call, Instant deadline, const std::function<bool()>& done);

// Tries `attempt` until it gives something else than kAgain. Between tries waits for `wanted`, unless the call does not
// block; errors as wait_for().
template <typename Attempt>
auto blocking(Call& call, socket::Ready wanted, Instant deadline, Attempt&& attempt) -> decltype(attempt()) {
  using socket::Ready;
  for (;;) {
    auto result = attempt();
    if (result || result.error() != Errno::kAgain || deadline == kNoWait) {
      call.runtime().after_call();
      return result;
    }
    const Ready news = wanted | Ready::kError | Ready::kHangup;
    const Status waited = wait_for(call, deadline, [&] { return any(call.sockets().ready(call.handle()) & news); });
    if (!waited) return fail(waited.error());
  }
}

}  // namespace sluice
