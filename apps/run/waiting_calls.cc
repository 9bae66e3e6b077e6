#include "apps/run/waiting_calls.h"

#include <errno.h>

namespace sluice::apps::run {

void WaitingCalls::add(Call call, Duration limit, int error) {
  const Place place = calls_.emplace(calls_.end(), Waiting{std::move(call)});
  if (limit == Duration()) return;
  place->timer = loop_.after(limit, [this, place, error] {
    (void)place->call.fail(error);
    calls_.erase(place);
  });
}

void WaitingCalls::remove(Place place) {
  loop_.cancel(place->timer);
  calls_.erase(place);
}

void WaitingCalls::fail_all(int error) {
  while (!calls_.empty()) {
    (void)first().fail(error);
    remove(calls_.begin());
  }
}

void WaitingCalls::answer_all(int value) {
  while (!calls_.empty()) {
    (void)first().answer(value);
    remove(calls_.begin());
  }
}

}  // namespace sluice::apps::run
