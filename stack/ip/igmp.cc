#include "stack/ip/igmp.h"

#include <algorithm>
#include <utility>

namespace sluice::ip {

namespace igmp = wire::igmp;
using wire::Ipv4Address;

namespace {
constexpr Ipv4Address kAllHosts = Ipv4Address::of(224, 0, 0, 1);  // everybody is a member: never reported
constexpr Ipv4Address kAllRouters = Ipv4Address::of(224, 0, 0, 2);
// RFC 2236 §8.
constexpr int kUnaskedReports = 2;  // the robustness variable
constexpr Duration kUnaskedInterval = 10_s;
constexpr Duration kVersion1Response = 10_s;
constexpr Duration kVersion1Patience = 400_s;
}  // namespace

Igmp::Igmp(Context& context, IgmpUser& user, InterfaceId interface)
    : context_(context),
      user_(user),
      interface_(interface),
      timer_([](void* self) { static_cast<Igmp*>(self)->on_timer(); }, this) {}

Igmp::Member* Igmp::find(Ipv4Address group) {
  const auto at = std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.group == group; });
  return at != members_.end() ? &*at : nullptr;
}

void Igmp::join(Ipv4Address group) {
  Member* free = find(Ipv4Address::any());
  if (group == kAllHosts || free == nullptr) return;
  *free = {.group = group};
  if (link_ == link::LinkState::kUp) announce(*free);
  arm();
}

void Igmp::announce(Member& m) {
  m.unasked_left = kUnaskedReports;
  report(m);
}

// As on Linux: a link that comes up is joined anew; on one that is down nothing is said, or left to be said.
void Igmp::on_link_state(link::LinkState state) {
  if (std::exchange(link_, state) == state) return;
  for (Member& m : members_) {
    if (m.group.is_any()) continue;
    m = {.group = m.group};
    if (state == link::LinkState::kUp) announce(m);
  }
  arm();
}

void Igmp::leave(Ipv4Address group) {
  Member* member = find(group);
  if (member == nullptr) return;
  const bool last = member->is_last_reporter;
  *member = {};
  if (last && !speaks_version_1()) user_.send_igmp(interface_, kAllRouters, {igmp::kLeave, 0, group});  // (RFC2236-01)
}

void Igmp::on_message(const igmp::Message& message) {
  if (message.type == igmp::kReportV1 || message.type == igmp::kReportV2) {  // somebody else has said it (RFC2236-02)
    Member* member = find(message.group);
    if (member == nullptr || message.group.is_any()) return;
    *member = {.group = message.group};
  }
  if (message.type != igmp::kQuery) return;  // (RFC3376-01)
  const bool version_1 = message.max_response == 0;
  if (version_1) version_1_until_ = context_.now + kVersion1Patience;  // (RFC2236-04)
  const Duration longest = version_1 ? kVersion1Response : Duration::millis(100 * message.max_response);
  for (Member& m : members_) {
    if (!m.group.is_any() && (message.group.is_any() || message.group == m.group)) asked(m, longest);
  }
  arm();
}

// A report that is to be sent soon enough stays where it is.
void Igmp::asked(Member& m, Duration longest) {
  if (m.report_at > context_.now + longest) m.report_at = at_random(longest);
}

Instant Igmp::at_random(Duration longest) {  // (RFC2236-02)
  return context_.now + Duration::micros(1 + context_.rng.below(static_cast<std::uint32_t>(longest.to_micros())));
}

void Igmp::report(Member& m) {
  m.is_last_reporter = true;
  m.unasked_left = std::max(m.unasked_left - 1, 0);
  m.report_at = m.unasked_left > 0 ? at_random(kUnaskedInterval) : Instant::never();
  user_.send_igmp(interface_, m.group, {speaks_version_1() ? igmp::kReportV1 : igmp::kReportV2, 0, m.group});
}

void Igmp::on_timer() {
  for (Member& m : members_) {
    if (m.report_at <= context_.now) report(m);
  }
  arm();
}

void Igmp::arm() {
  Instant next = Instant::never();
  for (const Member& m : members_) next = std::min(next, m.report_at);
  context_.timers.schedule(timer_, next);
}

}  // namespace sluice::ip
