#include "stack/tcp/time_wait.h"

namespace sluice::tcp {

TimeWaitVerdict judge(const TimeWait& record, const Arriving& s) {
  const wire::tcp::Flags flags = s.header.flags;
  if (flags.rst()) return TimeWaitVerdict::kIgnore;  // assassination (RFC 1337 §3)
  const bool newer_time = record.timestamps && s.options.has_timestamps &&
                          static_cast<std::int32_t>(s.options.timestamps.value - record.ts_recent) > 0;
  if (flags.syn()) {  // any other than one that may open something is challenged (RFC5961-06)
    const bool newer = newer_time || (!record.timestamps && s.seq > record.rcv_nxt);
    return newer && !flags.ack() && !flags.fin() ? TimeWaitVerdict::kReopen : TimeWaitVerdict::kAck;
  }
  if (!flags.ack()) return s.seq == record.rcv_nxt ? TimeWaitVerdict::kIgnore : TimeWaitVerdict::kAck;
  const bool last_fin = flags.fin() && s.seq + s.length() == record.rcv_nxt;
  if (last_fin) return TimeWaitVerdict::kRestart;
  return s.length() > 0 || s.seq != record.rcv_nxt ? TimeWaitVerdict::kAck : TimeWaitVerdict::kIgnore;
}

}  // namespace sluice::tcp
