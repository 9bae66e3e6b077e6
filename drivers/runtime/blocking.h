// How a call waits: what the files with the BSD calls share. Private to drivers/runtime.
#pragma once

#include "drivers/runtime/impl.h"

namespace sluice {

inline constexpr Instant kNoWait = Instant::past();

// Until when a call waits that has this timeout (0: none). Measured once a call, however often the call has to wait.
Instant deadline_of(Call& call, Duration timeout, int flags);

// Waits for `done`. kBadFile when the descriptor is closed meanwhile, kIntr on a signal, kAgain on a timeout.
Status wait_for(Call& call, Instant deadline, const std::function<bool()>& done);

// Waits until a receive finds `least` bytes, or a reason to return fewer; when the time is over, or a signal comes, it
// takes what there is.
Status wait_for_bytes(Call& call, Instant deadline, std::size_t least);
// What a receive that may wait waits for (SO_RCVLOWAT).
std::size_t low_water(const Call& call);

// Tries `attempt` until it gives something else than kAgain. Between tries waits for `done`, unless the call does not
// block; errors as wait_for().
template <typename Done, typename Attempt>
auto blocking_until(Call& call, Instant deadline, Done&& done, Attempt&& attempt) -> decltype(attempt()) {
  for (;;) {
    auto result = attempt();
    if (result || result.error() != Errno::kAgain || deadline == kNoWait) {
      call.runtime().after_call();
      return result;
    }
    const Status waited = wait_for(call, deadline, done);
    if (!waited) return fail(waited.error());
  }
}
// The same, for a socket that becomes ready.
template <typename Attempt>
auto blocking(Call& call, socket::Ready wanted, Instant deadline, Attempt&& attempt) -> decltype(attempt()) {
  using socket::Ready;
  const Ready news = wanted | Ready::kError | Ready::kHangup;
  return blocking_until(
      call, deadline, [&] { return any(call.sockets().ready(call.handle()) & news); }, attempt);
}

}  // namespace sluice
