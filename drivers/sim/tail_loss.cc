#include "drivers/sim/tail_loss.h"

#include <algorithm>

#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"

namespace sluice::sim {

void TailLoss::find_next_end() {
  const std::uint64_t after = end_;
  end_ = write_ != 0 ? after + write_ : total_;
  if (total_ != 0) end_ = std::min(end_, total_);
  if (end_ == after) end_ = 0;
}

bool TailLoss::loses(Bytes packet) {
  using wire::ChecksumPolicy;
  const auto ip = wire::ipv4::parse(packet, ChecksumPolicy::kTrust);
  if (!ip) return false;
  const auto tcp = wire::tcp::parse(ip->payload, ip->header.source, ip->header.destination, ChecksumPolicy::kTrust);
  if (!tcp) return false;
  if (tcp->header.flags.syn()) first_ = tcp->header.seq + 1;
  if (tcp->payload.empty() || end_ == 0) return false;
  const auto ahead = static_cast<std::int32_t>(tcp->header.seq - first_ - static_cast<std::uint32_t>(highest_));
  const std::uint64_t from = highest_ + static_cast<std::uint64_t>(std::int64_t{ahead});
  const std::uint64_t to = from + tcp->payload.size();
  highest_ = std::max(highest_, to);
  if (from >= end_ || to < end_) return false;
  while (end_ != 0 && end_ <= to) find_next_end();
  return true;
}

}  // namespace sluice::sim
