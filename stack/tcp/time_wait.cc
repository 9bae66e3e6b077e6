#include "stack/tcp/time_wait.h"

namespace sluice::tcp {

TimeWaitVerdict judge(const TimeWait& record, const Arriving& s) {
  const wire::tcp::Flags flags = s.header.flags;
  if (flags.rst()) return TimeWaitVerdict::kIgnore;  // assassination (RFC 1337 §3)
  const bool newer_time = record.timestamps && s.options.has_timestamps &&
                          static_cast<std::int32_t>(s.options.timestamps.value - record.ts_recent) > 0;
  if (flags.syn() && flags.fin()) return TimeWaitVerdict::kIgnore;  // no such segment opens anything
  if (flags.syn() && !flags.ack()) {
    const bool newer_number = s.seq > record.rcv_nxt;
    return newer_time || (!record.timestamps && newer_number) ? TimeWaitVerdict::kReopen : TimeWaitVerdict::kAck;
  }
  if (flags.syn() || !flags.ack()) return TimeWaitVerdict::kIgnore;
  const bool last_fin = flags.fin() && s.seq + s.length() == record.rcv_nxt;
  if (last_fin) return TimeWaitVerdict::kRestart;
  return s.length() > 0 || s.seq != record.rcv_nxt ? TimeWaitVerdict::kAck : TimeWaitVerdict::kIgnore;
}

}  // namespace sluice::tcp
