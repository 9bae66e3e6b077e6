#include "stack/tcp/time_wait.h"

namespace sluice::tcp {
namespace {

// RFC 6191 §2: a SYN may begin a new connection when its timestamp is newer than any of the old one (RFC6191-01), or
// when timestamps do not tell and its sequence number is (RFC6191-02, -03); also when only the new one has timestamps
// (RFC6191-05, RFC9293-SHLD-4).
bool may_reopen(const TimeWait& record, const Arriving& s) {
  if (!s.options.has_timestamps || !record.timestamps) return s.options.has_timestamps || s.seq > record.rcv_nxt;
  const auto newer = static_cast<std::int32_t>(s.options.timestamps.value - record.ts_recent);
  return newer > 0 || (newer == 0 && s.seq > record.rcv_nxt);
}

}  // namespace

TimeWaitVerdict judge(const TimeWait& record, const Arriving& s) {
  const wire::tcp::Flags flags = s.header.flags;
  if (flags.rst()) return TimeWaitVerdict::kIgnore;  // assassination: RFC 1337 §3 (RFC1337-01)
  // DEVIATION(RFC6191-04): a SYN that may not open is not dropped in silence but challenged, as by other hosts
  // (RFC5961-06).
  if (flags.syn()) {
    return may_reopen(record, s) && !flags.ack() && !flags.fin() ? TimeWaitVerdict::kReopen : TimeWaitVerdict::kAck;
  }
  if (!flags.ack()) return s.seq == record.rcv_nxt ? TimeWaitVerdict::kIgnore : TimeWaitVerdict::kAck;
  const bool last_fin = flags.fin() && s.seq + s.length() == record.rcv_nxt;
  if (last_fin) return TimeWaitVerdict::kRestart;
  return s.length() > 0 || s.seq != record.rcv_nxt ? TimeWaitVerdict::kAck : TimeWaitVerdict::kIgnore;
}

}  // namespace sluice::tcp
