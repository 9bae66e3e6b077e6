#include "stack/ip/error_queue.h"

#include <utility>

namespace sluice::ip {

using Origin = ReceivedError::Origin;

void ErrorQueue::push(ReceivedError error) {
  if (errors_.size() < kMost) errors_.push(std::move(error));
}

void ErrorQueue::push(const IcmpError& e, const Endpoint& destination, Bytes payload) {
  push({.origin = Origin::kIcmp,
        .error = errno_of(e.kind),
        .type = e.type,
        .code = e.code,
        .ttl = e.ttl,
        .tos = e.tos,
        .interface = e.interface,
        .reporter = e.reporter,
        .destination = destination,
        .mtu = e.mtu,
        .payload = {payload.begin(), payload.end()}});
}

void ErrorQueue::push_too_big(const Endpoint& destination, std::uint32_t mtu) {
  push({.origin = Origin::kLocal, .error = Errno::kMessageSize, .destination = destination, .mtu = mtu});
}

Result<ReceivedError> ErrorQueue::take(Errno& pending) {
  if (errors_.empty()) return fail(Errno::kAgain);
  ReceivedError taken = errors_.pop();
  const bool more = !errors_.empty() && errors_.front().origin == Origin::kIcmp;
  if (more) pending = errors_.front().error;
  if (!more && taken.origin == Origin::kIcmp) pending = Errno::kOk;
  return taken;
}

}  // namespace sluice::ip
